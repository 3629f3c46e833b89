//! Finding agents in a registry where anybody may have written anything.

use agentchat_core::{AgentCard, CloseMode, Connector, Query};
use mq9_client::testing::{Broker, Command, Outcome};
use transport_mq9::Mq9Connector;

fn register(broker: &Broker, name: &str) {
    let pair = serde_json::json!({"name": name, "payload": "somebody who writes programs"}).to_string();
    let command = Command { subject: "$mq9.AI.AGENT.REGISTER", header: None, payload: pair.as_bytes() };
    let outcome = broker.host().submit(command);
    assert!(matches!(outcome, Outcome::Reply(_)), "{outcome:?}");
}

#[tokio::test]
async fn an_entry_that_can_have_no_status_does_not_hide_the_others() {
    let broker = Broker::builder().max_payload(256 * 1024).start().await.expect("a broker");
    let connector = Mq9Connector::builder(broker.url()).build().expect("valid");
    let agent = connector.connect().await.expect("attached");
    agent.register(&AgentCard::new("coder", "writes programs").expect("valid")).await.expect("registered");
    register(&broker, "");
    register(&broker, &"n".repeat(200 * 1024));

    for query in [Query::all(), Query::text("writes programs"), Query::name("coder")] {
        let found = agent.discover(&query).await.expect("the others are found");
        let coder = found.agents.iter().find(|entry| entry.name == "coder").expect("found");
        assert_eq!(coder.address.as_ref(), Some(agent.address()));
    }
    agent.close(CloseMode::Retire).await.expect("closed");
}

#[tokio::test]
async fn a_limit_of_none_finds_nobody() {
    let broker = Broker::builder().start().await.expect("a broker");
    let agent =
        Mq9Connector::builder(broker.url()).build().expect("valid").connect().await.expect("attached");
    register(&broker, "coder");
    let found = agent.discover(&Query::all().with_limit(0)).await.expect("answered");
    assert!(found.agents.is_empty(), "{found:?}");
}
