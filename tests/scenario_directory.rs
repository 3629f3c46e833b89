//! The directory over time: registering twice, a name taken over, agents that report, and agents that die.

mod support;

use std::time::Duration;

use agentchat_core::{Agent, AgentCard, AgentEntry, CloseMode, ErrorKind, Heartbeat, Query};
use mq9_client::testing::{Broker, EngineProfile};
use support::{SECOND, broker, connector, fast_client, start, text, until, within};

async fn registered(broker: &Broker, inbox: &str, card: AgentCard, interval: Duration) -> Agent {
    let builder = Agent::builder(connector(broker, inbox)).card(card).heartbeat(interval);
    within(10, "starting", builder.start()).await.expect("the agent starts")
}

fn card(name: &str, description: &str) -> AgentCard {
    AgentCard::new(name, description).expect("a valid card")
}

async fn find(asker: &Agent, name: &str) -> Vec<AgentEntry> {
    within(10, "asking", asker.discover(&Query::name(name))).await.expect("an answer").agents
}

async fn brokers() -> [Broker; 2] {
    let searching = Broker::builder().engine(EngineProfile::robustmq_with_search()).start();
    [broker().await, searching.await.expect("a broker")]
}

#[tokio::test]
async fn an_agent_that_registers_again_is_in_the_directory_once_with_its_newest_card() {
    for broker in brokers().await {
        let asker = start(&connector(&broker, "asker")).await;
        let coder = registered(&broker, "coder", card("coder", "first"), 60 * SECOND).await;
        for description in ["second", "third"] {
            coder.transport().register(&card("coder", description)).await.expect("registered");
        }
        let found = find(&asker, "coder").await;
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].address.as_ref(), Some(coder.address()));
        assert!(String::from_utf8_lossy(&found[0].card).contains("third"));
    }
}

#[tokio::test]
async fn a_name_taken_over_leads_to_the_new_holder_whatever_the_old_one_still_says() {
    for broker in brokers().await {
        let asker = start(&connector(&broker, "asker")).await;
        let old = registered(&broker, "old", card("coder", "the old one"), 3_600 * SECOND).await;
        let new = registered(&broker, "new", card("coder", "the new one"), 3_600 * SECOND).await;
        let leads_to_the_new_one = async || {
            let found = find(&asker, "coder").await;
            assert_eq!(found.len(), 1);
            assert_eq!(found[0].address.as_ref(), Some(new.address()));
            assert!(String::from_utf8_lossy(&found[0].card).contains("the new one"));
        };
        leads_to_the_new_one().await;
        // The old one does not know that it was replaced and goes on reporting, until it is told.
        let heartbeat = Heartbeat::new("online", 60 * SECOND);
        until("the old one is told", async || {
            new.report(&heartbeat).await.expect("reported");
            let Err(error) = old.report(&heartbeat).await else { return false };
            assert_eq!(error.kind(), ErrorKind::Conflict);
            assert!(error.to_string().contains("another agent has registered this name since"), "{error}");
            true
        })
        .await;
        leads_to_the_new_one().await;
        // Its inbox is its own still, and its farewell does not take the new one along.
        asker.send(&text(old.address(), "are you there?")).await.expect("the old inbox collects");
        within(10, "closing", old.close(CloseMode::Retire, SECOND)).await.expect("closed");
        leads_to_the_new_one().await;
        new.report(&heartbeat).await.expect("reported");
        assert!(find(&asker, "coder").await[0].status.as_ref().is_some_and(|status| status.alive));
        within(10, "closing", new.close(CloseMode::Retire, SECOND)).await.expect("closed");
        assert!(find(&asker, "coder").await.is_empty());
    }
}

#[tokio::test]
async fn a_heartbeat_is_read_by_others_and_an_agent_that_dies_in_silence_soon_counts_as_dead() {
    let broker = broker().await;
    let asker = start(&connector(&broker, "asker")).await;
    let doomed = registered(&broker, "doomed", card("doomed", "Dies"), SECOND).await;
    let _steady = registered(&broker, "steady", card("steady", "Lives"), SECOND).await;
    let alive = async |name: &str| {
        let query = Query::name(name).alive_only();
        !asker.discover(&query).await.expect("an answer").agents.is_empty()
    };
    until("both are alive", async || alive("doomed").await && alive("steady").await).await;
    let found = find(&asker, "doomed").await;
    let status = found[0].status.as_ref().expect("a status");
    assert_eq!((status.status.as_str(), status.active_tasks), ("online", 0));

    // Neither unregistered nor closed: its tasks and connections are gone at once.
    drop(doomed);
    until("three of its intervals have passed", async || !alive("doomed").await).await;
    assert!(alive("steady").await, "who reports is alive");
    let found = find(&asker, "doomed").await;
    assert_eq!(found.len(), 1, "it is still registered, and its inbox still there");
    let address = found[0].address.clone().expect("an inbox");
    asker.send(&text(&address, "for when you are back")).await.expect("stored");
}

#[tokio::test]
async fn a_day_without_a_word_is_told_by_the_brokers_clock_and_not_by_the_agents() {
    let broker = broker().await;
    let asker = start(&connector(&broker, "asker")).await;
    let client = fast_client(&broker.url()).await;
    let agent = registered(&broker, "agent", card("agent", "Has a wrong clock"), 3_600 * SECOND).await;
    // A clock that is years ahead, or behind, changes nothing.
    for at in [0, u64::MAX] {
        let status = mq9_client::AgentStatus::new("agent", "online", at)
            .with_interval(Duration::from_secs(60))
            .with_mailbox(agent.address().as_str());
        client.publish_status(&status).await.expect("published");
        let found = find(&asker, "agent").await;
        let status = found[0].status.as_ref().expect("a status");
        assert!(status.alive && status.age < 10 * SECOND, "{status:?}");
    }
}
