//! A broker that answers what no broker should: an agent's call fails with what came instead, an inbox ends
//! with the reason, and nothing is asked again in a loop.

mod support;

use std::sync::{Arc, Mutex};

use agentchat_core::{Address, Agent, Body, CallRequest, ErrorKind, Query, Reached, ServeOptions};
use mq9_client::{Client, ConsumerOptions, Message};
use support::scripted::{Answer, Asked, Scripted};
use support::{MS, SECOND, mailbox, notes, text, until, within};
use transport_mq9::Mq9Connector;

/// What an agent needs to start, and an empty inbox.
fn sane(asked: &Asked) -> Answer {
    let verb = |part: &str| asked.subject.contains(part);
    if verb("MAILBOX.CREATE") {
        let body = String::from_utf8_lossy(&asked.payload).into_owned();
        let name = body.split("\"name\":\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or("made");
        Answer::reply(format!(r#"{{"error":"","mail_address":"{name}"}}"#))
    } else if verb("AGENT.DISCOVER") {
        Answer::reply(r#"{"error":"agent search is not enabled in this build"}"#)
    } else if verb("MSG.FETCH") {
        Answer::reply(r#"{"error":"","messages":[]}"#)
    } else {
        Answer::reply(r#"{"error":""}"#)
    }
}

/// A server that answers `command` with whatever is told, and all else as it should.
async fn told(command: &'static str) -> (Scripted, Arc<Mutex<String>>) {
    let reply = Arc::new(Mutex::new(String::new()));
    let said = Arc::clone(&reply);
    let server = Scripted::start(move |asked| match asked.subject.contains(command) {
        true => Answer::reply(said.lock().expect("unpoisoned").clone()),
        false => sane(asked),
    })
    .await;
    (server, reply)
}

fn tell(reply: &Mutex<String>, text: &str) {
    text.clone_into(&mut reply.lock().expect("unpoisoned"));
}

async fn agent(server: &Scripted) -> Agent {
    let connector = Mq9Connector::builder(server.url()).generated_inbox("agent").build().expect("valid");
    within(10, "starting", Agent::builder(connector).start()).await.expect("the agent starts")
}

const NONSENSE: [&str; 9] = [
    "not json",
    "",
    "[]",
    "{}",
    r#"{"msg_id":1,"messages":[]}"#,
    r#"{"error":7}"#,
    r#"{"error":null}"#,
    r#"{"error":"","msg_id":"1","messages":{}}"#,
    r#"{"error":"","msg_id":-7,"messages":[{"msg_id":-7}]}"#,
];

#[tokio::test]
async fn a_send_answered_with_nonsense_says_what_came_and_that_it_may_be_stored() {
    let (server, reply) = told("MSG.SEND").await;
    let agent = agent(&server).await;
    for nonsense in NONSENSE {
        tell(&reply, nonsense);
        let before = server.asked_for("MSG.SEND").len();
        let sent = within(5, "sending", agent.send(&text(agent.address(), "x"))).await;
        let error = sent.expect_err(nonsense);
        assert_eq!((error.kind(), error.reached()), (ErrorKind::Protocol, Reached::Unknown), "{error}");
        assert!(error.to_string().starts_with("send: MSG.SEND: "), "{error}");
        assert_eq!(error.code(), Some(nonsense), "the server's own words");
        assert_eq!(error.to_string().matches(nonsense).count().min(1), 1, "{error}");
        assert!(!error.is_retryable());
        assert_eq!(server.asked_for("MSG.SEND").len(), before + 1, "one attempt");
    }
}

#[tokio::test]
async fn an_inbox_answered_with_nonsense_ends_with_the_reason_and_is_not_asked_in_a_loop() {
    for nonsense in NONSENSE {
        let (server, reply) = told("MSG.FETCH").await;
        tell(&reply, r#"{"error":"","messages":[]}"#);
        let agent = agent(&server).await;
        let (handler, _heard) = notes();
        let serving = agent.serve(handler, ServeOptions::default()).await.expect("begun");
        until("polling", async || server.asked_for("MSG.FETCH").len() > 3).await;
        let before = server.asked_for("MSG.FETCH").len();
        tell(&reply, nonsense);
        let served = within(5, "serving", serving.wait()).await;
        let error = served.error.expect("a reason");
        assert_eq!(error.kind(), ErrorKind::Protocol, "{nonsense}: {error}");
        assert!(error.to_string().starts_with("subscribe: MSG.FETCH: "), "{error}");
        assert!(server.asked_for("MSG.FETCH").len() <= before + 3, "asked again and again");
    }
}

#[tokio::test]
async fn a_call_whose_reply_inbox_shows_nonsense_ends_before_its_deadline() {
    let (server, reply) = told("MSG.FETCH").await;
    tell(&reply, r#"{"error":"","messages":[]}"#);
    let agent = agent(&server).await;
    let peer = Address::parse(format!("{}/peer", server.url())).expect("valid");
    tell(&reply, "garbage");
    let asked = CallRequest::new(Body::text("anyone?")).with_timeout(60 * SECOND);
    let error = within(5, "the call", async {
        match agent.call(&peer, asked).await {
            Ok(call) => call.response().await.expect_err("no reply can come"),
            Err(error) => error,
        }
    })
    .await;
    assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
}

#[tokio::test]
async fn a_directory_answered_with_nonsense_is_a_protocol_error() {
    let (server, reply) = told("AGENT.DISCOVER").await;
    tell(&reply, r#"{"error":"agent search is not enabled in this build"}"#);
    let agent = agent(&server).await;
    for nonsense in ["not json", "{}", r#"{"error":"","agents":7}"#, r#"{"error":"","agents":[1]}"#] {
        tell(&reply, nonsense);
        let error = within(5, "asking", agent.discover(&Query::all())).await.expect_err(nonsense);
        assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
        assert!(error.to_string().starts_with("discover: AGENT.DISCOVER: "), "{error}");
    }
}

#[tokio::test]
async fn numbers_beyond_all_sense_in_a_reply_end_the_consumer_or_are_taken_and_never_panic() {
    let row = |id: u64, time: u64| {
        format!(r#"{{"msg_id":{id},"payload":"x","priority":"normal","header":null,"create_time":{time}}}"#)
    };
    for rows in [row(u64::MAX, 1), row(u64::MAX - 1, u64::MAX), row(i64::MAX as u64, 1), row(0, u64::MAX)] {
        let (server, reply) = told("MSG.FETCH").await;
        tell(&reply, &format!(r#"{{"error":"","messages":[{rows}]}}"#));
        let client = Client::connect(&server.url()).await.expect("connects");
        let mut consumer = client.consume(&mailbox("a"), ConsumerOptions::new("g")).await.expect("begun");
        let first = within(5, "something", consumer.next()).await.expect("an item");
        match first {
            Ok(delivered) => {
                consumer.acker().settle(delivered.id());
                let closed = within(5, "closing", consumer.close(500 * MS)).await;
                assert!(closed.unsettled.is_empty(), "{rows}: {closed:?}");
            }
            Err(error) => {
                assert_eq!(error.kind(), mq9_client::ErrorKind::Protocol, "{rows}: {error}");
            }
        }
        client.send(&mailbox("a"), &Message::new("x")).await.expect_err("the client itself lives on");
    }
}
