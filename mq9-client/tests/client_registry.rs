//! The registry and status messages against the double.

#![cfg(feature = "test-broker")]

mod support;

use std::time::Duration;

use mq9_client::testing::{Broker, EngineProfile, WireProfile};
use mq9_client::{
    AgentEntry, AgentStatus, Client, DiscoverQuery, ErrorKind, Message, Registration, STATUS_MAILBOX,
    SearchKind,
};
use support::address;

async fn rig(engine: EngineProfile, wire: WireProfile) -> (Broker, Client) {
    let broker = Broker::builder().engine(engine).wire(wire).start().await.expect("a broker");
    let client = Client::connect(&broker.url()).await.expect("connects");
    (broker, client)
}

async fn both() -> [(Broker, Client); 2] {
    [
        rig(EngineProfile::robustmq(), WireProfile::Standard).await,
        rig(EngineProfile::robustmq(), WireProfile::RobustMq).await,
    ]
}

fn card(name: &str, text: &str) -> Registration {
    Registration::card(name, text.to_owned()).expect("a card")
}

fn names(agents: &[AgentEntry]) -> Vec<&str> {
    agents.iter().map(|agent| agent.name.as_str()).collect()
}

const CODER: &str = r#"{ "name":"coder",  "description":"Writes Python programs", "version":1.50,
    "mailbox":"mq9://broker/coder.inbox", "x-unknown":[1], "skills":[{"id":"py","tags":["python"]}] }"#;
const TRANSLATOR: &str = r#"{"name":"translator","description":"Translates English and Chinese documents","skills":[{"tags":["Python","zh"]}],"metadata":{"mq9":{"mail_address":"translator.inbox"}}}"#;
const STRICT: &str = r#"{"version":"1.0","name":"strict","description":"Forecasts the weather","supportedInterfaces":[{"url":"mq9://broker/strict.inbox","protocolBinding":"MQ9","protocolVersion":"1.0"}],"skills":[{"id":"w","name":"Weather","description":"forecast","tags":["weather"]}]}"#;

#[tokio::test]
async fn cards_come_back_byte_for_byte_with_their_mailbox() {
    for (_broker, client) in both().await {
        for (name, text) in [("coder", CODER), ("translator", TRANSLATOR), ("strict", STRICT)] {
            client.register(&card(name, text)).await.expect("registered");
        }
        let free = Registration::text("free", "I am no card").expect("valid");
        client.register(&free).await.expect("registered");
        let found = client.discover(&DiscoverQuery::all()).await.expect("listed");
        assert_eq!(found.ran, SearchKind::List);
        assert_eq!(names(&found.agents), ["coder", "free", "strict", "translator"]);
        let infos: Vec<&[u8]> = found.agents.iter().map(|agent| agent.info.as_ref()).collect();
        assert_eq!(infos, [CODER.as_bytes(), b"I am no card", STRICT.as_bytes(), TRANSLATOR.as_bytes()]);
        let mailboxes: Vec<Option<String>> =
            found.agents.iter().map(|agent| agent.mailbox().map(|uri| uri.to_string())).collect();
        let expected = [
            Some("mq9://broker/coder.inbox"),
            None,
            Some("mq9://broker/strict.inbox"),
            Some("mq9://broker/translator.inbox"),
        ];
        assert_eq!(mailboxes, expected.map(|uri| uri.map(str::to_owned)));
    }
}

#[tokio::test]
async fn registering_again_replaces_what_was_there() {
    for (_broker, client) in both().await {
        client.register(&Registration::text("a", "first").expect("valid")).await.expect("registered");
        client.register(&Registration::text("a", "second").expect("valid")).await.expect("registered");
        let found = client.discover(&DiscoverQuery::name("a")).await.expect("found");
        assert_eq!((found.ran, found.agents.len()), (SearchKind::Name, 1));
        assert_eq!(found.agents[0].info, "second");
        client.unregister("a").await.expect("removed");
        client.unregister("a").await.expect("removed twice");
        assert!(client.discover(&DiscoverQuery::name("a")).await.expect("asked").agents.is_empty());
    }
}

#[tokio::test]
async fn tags_are_found_exactly_and_names_too() {
    for (_broker, client) in both().await {
        for (name, text) in [("coder", CODER), ("translator", TRANSLATOR)] {
            client.register(&card(name, text)).await.expect("registered");
        }
        for (tag, expected) in [("python", vec!["coder"]), ("Python", vec!["translator"]), ("pyth", vec![])] {
            let found = client.discover(&DiscoverQuery::tag(tag)).await.expect("asked");
            assert_eq!((names(&found.agents), found.ran), (expected, SearchKind::Tag));
        }
        assert!(client.discover(&DiscoverQuery::name("Coder")).await.expect("asked").agents.is_empty());
    }
}

#[tokio::test]
async fn without_search_in_the_broker_words_are_ranked_here() {
    for (broker, client) in both().await {
        for (name, text) in [("coder", CODER), ("translator", TRANSLATOR)] {
            client.register(&card(name, text)).await.expect("registered");
        }
        let before = broker.host().counts().discovers;
        for (query, first) in [
            (DiscoverQuery::semantic("find someone who writes Python"), "coder"),
            (DiscoverQuery::text("translation of documents"), "translator"),
        ] {
            let found = client.discover(&query).await.expect("ranked");
            assert_eq!(found.ran, SearchKind::LocalText);
            assert_eq!(names(&found.agents).first(), Some(&first), "{query:?}");
        }
        assert_eq!(broker.host().counts().discovers - before, 3, "that it cannot search is asked once");
        let nothing = client.discover(&DiscoverQuery::text("quantum chemistry")).await.expect("ranked");
        assert!(nothing.agents.is_empty());
    }
}

#[tokio::test]
async fn limit_and_page_hold_although_the_broker_ignores_them() {
    for (_broker, client) in both().await {
        for number in 0..25 {
            let name = format!("agent{number:02}");
            client
                .register(&Registration::text(&name, "same words").expect("valid"))
                .await
                .expect("registered");
        }
        let count = async |query: DiscoverQuery| client.discover(&query).await.expect("found").agents.len();
        assert_eq!(count(DiscoverQuery::all()).await, 20, "the documented default");
        assert_eq!(count(DiscoverQuery::all().with_page(2)).await, 5);
        assert_eq!(count(DiscoverQuery::text("words").with_limit(7)).await, 7);
        assert_eq!(count(DiscoverQuery::text("words").with_limit(7).with_page(4)).await, 4);
        let second = client.discover(&DiscoverQuery::all().with_limit(2).with_page(2)).await.expect("found");
        assert_eq!(names(&second.agents), ["agent02", "agent03"]);
    }
}

#[tokio::test]
async fn a_broker_that_searches_is_given_strict_cards_and_asked() {
    let (broker, client) = rig(EngineProfile::robustmq_with_search(), WireProfile::RobustMq).await;
    client.register(&card("strict", STRICT)).await.expect("registered");
    client.register(&card("coder", CODER)).await.expect("registered");
    // Known at the top, unknown further down: only the broker can tell, and then the pair must follow.
    let deep = r#"{"name":"deep","skills":[{"id":"a","name":"a","description":"d","unknown":1}]}"#;
    client.register(&card("deep", deep)).await.expect("registered");
    for (query, ran) in [
        (DiscoverQuery::semantic("weather forecast"), SearchKind::BrokerSemantic),
        (DiscoverQuery::text("weather forecast").with_limit(1), SearchKind::BrokerText),
    ] {
        let found = client.discover(&query).await.expect("searched");
        assert_eq!((names(&found.agents), found.ran), (vec!["strict"], ran));
        assert_eq!(
            found.agents[0].mailbox().map(|uri| uri.to_string()).as_deref(),
            Some("mq9://broker/strict.inbox")
        );
    }
    let all = client.discover(&DiscoverQuery::all()).await.expect("listed");
    assert_eq!(names(&all.agents), ["coder", "deep", "strict"]);
    assert_eq!(all.agents[0].info, CODER);
    assert_eq!(all.agents[1].info, deep);
    assert_eq!(broker.host().counts().registers, 4, "strict, pair, strict refused and its pair");
}

#[tokio::test]
async fn a_registry_with_documented_rules_is_read_as_well() {
    let (_broker, client) = rig(EngineProfile::documented(), WireProfile::Standard).await;
    for (name, text) in [("coder", CODER), ("strict", STRICT)] {
        client.register(&card(name, text)).await.expect("registered");
    }
    let found = client.discover(&DiscoverQuery::all()).await.expect("listed");
    assert_eq!(names(&found.agents), ["coder", "strict"]);
    assert_eq!(found.agents[0].info, CODER);
    assert_eq!(found.agents[1].info, STRICT);
}

#[tokio::test]
async fn nameless_agents_are_refused_here() {
    for (broker, client) in both().await {
        let before = broker.host().counts();
        assert_eq!(client.unregister("").await.expect_err("no name").kind(), ErrorKind::Invalid);
        assert_eq!(client.report("", "x").await.expect_err("no name").kind(), ErrorKind::Invalid);
        let status = AgentStatus::new("", "running", 0);
        assert_eq!(client.publish_status(&status).await.expect_err("no name").kind(), ErrorKind::Invalid);
        let counts = broker.host().counts();
        assert_eq!((before.unregisters, before.reports), (counts.unregisters, counts.reports));
    }
}

#[tokio::test]
async fn the_newest_status_of_each_agent_can_be_read_by_all() {
    for (broker, client) in both().await {
        assert_eq!(client.agent_status("ada").await.expect("asked"), None, "no mailbox yet");
        let status = |name: &str, word: &str| AgentStatus::new(name, word, 7).with_report_info("fine");
        client.publish_status(&status("ada", "starting")).await.expect("published");
        client.publish_status(&status("Bob / ü", "running")).await.expect("published");
        let exact = "{ \"name\":\"ada\", \"x\":1.50 }";
        let busy = status("ada", "busy")
            .with_interval(Duration::from_secs(60))
            .with_work(3, 0.75)
            .with_mailbox("ada.inbox")
            .with_card(exact);
        client.publish_status(&busy).await.expect("published");
        let other = Client::connect(&broker.url()).await.expect("connects");
        let read = other.agent_status("ada").await.expect("asked").expect("a status");
        assert_eq!((read.status.as_str(), read.active_tasks, read.load), ("busy", 3, 0.75));
        assert_eq!((read.mailbox.as_deref(), read.card.as_deref()), (Some("ada.inbox"), Some(exact)));
        let now = broker.host().now_ms() / 1_000;
        assert!(read.at.abs_diff(now) <= 2, "the broker's time, not the agent's");
        assert!(read.is_alive(now));
        let read = other.agent_status("Bob / ü").await.expect("asked").expect("a status");
        assert_eq!(read.status, "running");
        assert_eq!(other.agent_status("carol").await.expect("asked"), None);
        assert_eq!(broker.host().counts().reports - 2, 3, "each status was reported too");
        broker.host().advance(Duration::from_secs(3 * 86_400));
        assert!(other.agent_status("ada").await.expect("asked").is_some(), "it does not expire");
    }
}

#[tokio::test]
async fn garbage_in_the_status_mailbox_is_named() {
    for (_broker, client) in both().await {
        client.publish_status(&AgentStatus::new("ada", "running", 0)).await.expect("published");
        let garbage = Message::new("?").with_key("616461");
        let id = client.send(&address(STATUS_MAILBOX), &garbage).await.expect("sent").id();
        let error = client.agent_status("ada").await.expect_err("garbage");
        assert_eq!((error.kind(), error.message_id()), (ErrorKind::Protocol, id));
    }
}
