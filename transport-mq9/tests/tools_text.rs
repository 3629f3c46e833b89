//! What a model writes goes out as it was written, and a callback of its own is not passed over.
#![cfg(feature = "tools")]

use std::time::Duration;

use agentchat_core::tools::{ToolContext, ToolSet};
use agentchat_core::{Agent, Event, EventStream, Query, SubscribeOptions};
use futures_util::StreamExt;
use mq9_client::testing::Broker;
use serde_json::Value;
use transport_mq9::Mq9Connector;
use transport_mq9::tools::tools;

/// What no reader of JSON may lose: the order of members, blanks, how numbers are written, a doubled name.
const TEXT: &str = r#"{ "z" : 1.50,"big":12345678901234567890123, "a":[1e2 , "\u00e9"],"z":0 }"#;

async fn start(broker: &Broker, inbox: &str) -> (Agent, ToolSet) {
    let connector = Mq9Connector::builder(broker.url()).inbox(inbox).build().expect("valid");
    let agent = Agent::builder(connector).start().await.expect("started");
    let tools = tools(&agent).expect("tools");
    (agent, tools)
}

async fn call(tools: &ToolSet, tool: &str, arguments: &str) -> Value {
    let context = ToolContext::new().with_deadline(Duration::from_secs(20));
    tools.call(tool, arguments, context).await.read().expect("JSON")
}

async fn inbox(agent: &Agent) -> EventStream {
    agent.transport().subscribe(SubscribeOptions::own()).await.expect("read").events
}

async fn next(events: &mut EventStream) -> String {
    loop {
        let event = tokio::time::timeout(Duration::from_secs(20), events.next()).await.expect("in time");
        if let Event::Message(delivery) = event.expect("open").expect("no error") {
            return delivery.body.as_str().expect("text").to_owned();
        }
    }
}

#[tokio::test]
async fn a_message_goes_out_as_it_was_written_but_for_the_address_of_the_answer() {
    let broker = Broker::builder().start().await.expect("a broker");
    let ((_asker, tools), (coder, _)) = (start(&broker, "asker").await, start(&broker, "coder").await);
    let mut events = inbox(&coder).await;
    let asked = format!(r#"{{"target_mailbox":"coder","message":{TEXT},"timeout_seconds":1}}"#);
    assert_eq!(call(&tools, "mq9_call", &asked).await["error"]["code"], "TIMEOUT", "nobody answers");
    let arrived = next(&mut events).await;
    let written = TEXT.strip_suffix(" }").expect("an object");
    // A peer that reads no headers finds the mailbox for its answer where the message has a place for one.
    let answers = a2a_envelope::callback_of(arrived.as_bytes()).expect("a callback");
    assert_eq!(arrived, format!(r#"{written},"pushNotification":{{"url":"{answers}"}} }}"#));
    assert!(answers.starts_with("mq9://") && answers != coder.address().as_str());
    let words = r#"{"target_mailbox":"coder","message":"{ \"a\" }","timeout_seconds":1}"#;
    call(&tools, "mq9_call", words).await;
    assert_eq!(next(&mut events).await, r#"{ "a" }"#, "a text is no JSON");
}

#[tokio::test]
async fn a_card_is_registered_as_it_was_written() {
    let broker = Broker::builder().start().await.expect("a broker");
    let (agent, tools) = start(&broker, "asker").await;
    let card = r#"{ "version":"1.0", "name":"asker","x-vendor":1.50,"description":"asks" }"#;
    let answer = call(&tools, "mq9_register", &format!(r#"{{"card":{card}}}"#)).await;
    assert_eq!(answer["ok"], true, "{answer}");
    let found = agent.discover(&Query::name("asker")).await.expect("asked").agents;
    assert_eq!(found[0].card, card);
}

#[tokio::test]
async fn a_callback_in_the_message_is_neither_overwritten_nor_passed_over() {
    let broker = Broker::builder().start().await.expect("a broker");
    let ((_asker, tools), (coder, _)) = (start(&broker, "asker").await, start(&broker, "coder").await);
    let mut events = inbox(&coder).await;
    let with = |named: &str, mailbox: &str| {
        let message = format!(r#"{{"pushNotification":{{"url":"{named}"}},"task":1}}"#);
        format!(r#"{{"target_mailbox":"coder","message":{message},"callback_mailbox":"{mailbox}"}}"#)
    };
    let refused = call(&tools, "mq9_call", &with("mq9://broker/mine", "yours")).await;
    assert_eq!(refused["error"]["code"], "VALIDATION_ERROR", "{refused}");
    assert!(refused["error"]["message"].as_str().is_some_and(|it| it.contains("another one")), "{refused}");
    // The same one is no contradiction.
    let own = coder.address().as_str().replace("/coder", "/mine");
    let sent = call(&tools, "mq9_call", &with(&own, "mine")).await;
    assert_eq!(sent["ok"], true, "{sent}");
    assert_eq!(next(&mut events).await, format!(r#"{{"pushNotification":{{"url":"{own}"}},"task":1}}"#));
}
