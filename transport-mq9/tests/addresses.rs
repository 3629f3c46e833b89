//! Which mailbox an address means: never one of the same name on another broker.

use std::time::Duration;

use agentchat_core::{Address, Agent, Body, ErrorKind, Event, Outbound, Reached, Request, ServeOptions};
use agentchat_core::{SubscribeOptions, Subscription};
use futures_util::StreamExt;
use mq9_client::testing::Broker;
use mq9_client::{Client, CreateMailbox, FetchOptions, MailAddress, Message};
use transport_mq9::Mq9Connector;

const SECOND: Duration = Duration::from_secs(1);

struct Rig {
    broker: Broker,
    agent: Agent,
    client: Client,
    /// A mailbox of this broker, for what must never arrive there.
    victim: MailAddress,
}

async fn rig() -> Rig {
    let broker = Broker::builder().start().await.expect("a broker");
    let connector = Mq9Connector::builder(broker.url())
        .inbox("agent.inbox")
        .alias("mq9.example.org:4222")
        .alias("backup.example.org")
        .build()
        .expect("valid");
    let agent = Agent::builder(connector).start().await.expect("started");
    let client = Client::connect(&broker.url()).await.expect("connects");
    let victim = MailAddress::new("victim").expect("valid");
    client.create_mailbox(CreateMailbox::named(victim.clone())).await.expect("created");
    Rig { broker, agent, client, victim }
}

fn message(to: &str) -> Outbound {
    Outbound::new(Address::parse(to).expect("an address"), Body::text("hello"))
}

async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(10 * SECOND, future).await.expect("it happens within 10 s")
}

impl Rig {
    async fn arrived(&self) -> usize {
        self.client.fetch(&self.victim, &FetchOptions::stateless()).await.expect("fetched").len()
    }
}

#[tokio::test]
async fn an_address_on_another_host_is_refused_and_not_sent_to_its_namesake_here() {
    let rig = rig().await;
    let own = rig.broker.port();
    for (to, host) in [
        ("mq9://otherhost/victim".to_owned(), "otherhost:4222"),
        (format!("mq9://otherhost:{own}/victim"), "otherhost"),
        // The same machine by another spelling is another host until an alias says otherwise.
        (format!("mq9://localhost:{own}/victim"), "localhost"),
        ("mq9://127.0.0.1:1/victim".to_owned(), "127.0.0.1:1"),
        ("mq9://mq9.example.org:4223/victim".to_owned(), "mq9.example.org:4223"),
    ] {
        let error = rig.agent.send(&message(&to)).await.expect_err(&to);
        assert_eq!((error.kind(), error.reached()), (ErrorKind::Invalid, Reached::No), "{to}");
        let text = error.to_string();
        assert!(text.contains(&format!("the address is on broker {host}")), "{text}");
        assert!(text.contains(&format!("connected to 127.0.0.1:{own}")), "{text}");
        assert!(!text.contains("victim"), "{text}");
    }
    assert_eq!(rig.arrived().await, 0);
    assert_eq!(rig.broker.host().counts().sends, 0, "nothing left this process");
}

#[tokio::test]
async fn the_brokers_own_name_its_aliases_and_the_word_broker_all_lead_there() {
    let rig = rig().await;
    let spellings = [
        format!("{}/victim", rig.broker.url()),
        format!("mq9://127.0.0.1:{}/victim", rig.broker.port()),
        "mq9://mq9.example.org:4222/victim".to_owned(),
        "mq9://mq9.example.org/victim".to_owned(),
        "mq9://MQ9.Example.org/victim".to_owned(),
        "mq9://backup.example.org/victim".to_owned(),
        "mq9://broker/victim".to_owned(),
    ];
    for to in &spellings {
        rig.agent.send(&message(to)).await.unwrap_or_else(|error| panic!("{to}: {error}"));
    }
    assert_eq!(rig.arrived().await, spellings.len());
    let other = rig.agent.send(&message("loopback://victim")).await.expect_err("another network");
    assert_eq!(other.kind(), ErrorKind::Invalid);
    assert!(other.to_string().contains(r#"not to "loopback""#), "{other}");
}

#[tokio::test]
async fn a_reply_address_on_another_host_is_refused_when_sent_and_never_answered_when_received() {
    let rig = rig().await;
    let asking = message(rig.agent.address().as_str())
        .with_reply_to(Address::parse("mq9://otherhost/victim").expect("an address"));
    let error = rig.agent.send(&asking).await.expect_err("nobody could answer there");
    assert_eq!((error.kind(), error.reached()), (ErrorKind::Invalid, Reached::No));

    // Others write what they like.
    let inbox = MailAddress::new("agent.inbox").expect("valid");
    for (reply_to, sender) in [
        ("mq9://otherhost/victim", "mq9://otherhost/victim"),
        ("mq9://otherhost:4222/victim", ""),
        ("https://otherhost/victim", "agentchat://victim"),
    ] {
        let mut asked = Message::new("an answer, please")
            .with_header("mq9-reply-to", reply_to)
            .with_header("amb-correlation-id", "c-1");
        if !sender.is_empty() {
            asked = asked.with_header("agentchat-from", sender);
        }
        rig.client.send(&inbox, &asked).await.expect("sent");
    }
    let (told, mut heard) = tokio::sync::mpsc::channel(8);
    let handler = move |request: Request| {
        let told = told.clone();
        async move {
            let answered = request.reply(Body::text("the answer")).await;
            told.send((request.delivery().reply_to.clone(), answered)).await?;
            Ok(())
        }
    };
    let serving = rig.agent.serve(handler, ServeOptions::default()).await.expect("served");
    for _ in 0..3 {
        let (reply_to, answered) = within(heard.recv()).await.expect("the handler lives");
        assert_eq!(reply_to, None, "it cannot be reached from here");
        assert_eq!(answered.expect_err("not answered").kind(), ErrorKind::Invalid);
    }
    assert_eq!(within(serving.stop(SECOND)).await.unsettled, 0);
    assert_eq!(rig.arrived().await, 0);
}

#[tokio::test]
async fn a_bare_name_or_another_spelling_as_reply_address_is_read_as_an_address_here() {
    let rig = rig().await;
    let inbox = MailAddress::new("agent.inbox").expect("valid");
    for reply_to in ["victim", "mq9://broker/victim", "mq9://mq9.example.org/victim"] {
        let asked = Message::new("an answer, please").with_header("mq9-reply-to", reply_to);
        rig.client.send(&inbox, &asked).await.expect("sent");
    }
    let opened = rig.agent.transport().subscribe(SubscribeOptions::own()).await.expect("opened");
    let Subscription { mut events, .. } = opened;
    let expected = Address::parse(format!("{}/victim", rig.broker.url())).expect("an address");
    for _ in 0..3 {
        let event = within(events.next()).await.expect("goes on").expect("no error");
        let Event::Message(delivery) = event else { panic!("{event:?}") };
        assert_eq!(delivery.reply_to.as_ref(), Some(&expected));
    }
}

#[test]
fn the_word_broker_is_refused_where_it_would_stand_for_every_host() {
    for builder in [
        Mq9Connector::builder("mq9://broker"),
        Mq9Connector::builder("mq9://one.example").alias("broker"),
        Mq9Connector::builder("mq9://one.example").alias("Broker:4222"),
    ] {
        assert_eq!(builder.build().expect_err("ambiguous").kind(), ErrorKind::Config);
    }
}

#[test]
fn a_broker_named_by_its_ipv6_address_has_inboxes_whose_addresses_can_be_read_back() {
    let connector = Mq9Connector::builder("mq9://[::1]:4300").inbox("coder").build().expect("valid");
    assert_eq!(connector.address().as_str(), "mq9://[::1]:4300/coder");
    let read = Address::parse(connector.address().as_str()).expect("an address");
    assert_eq!(&read, connector.address());
}

#[test]
fn neither_password_nor_inbox_shows_in_a_debug_form() {
    let builder = Mq9Connector::builder("mq9://ada:pa55word@one.example").inbox("s3cret.inbox");
    let shown = format!("{builder:?} {:?}", builder.clone().build().expect("valid"));
    assert!(!shown.contains("pa55word") && !shown.contains("s3cret.inbox"), "{shown}");
}
