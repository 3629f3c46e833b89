//! Callers of mq9 that know nothing of this library are answered as they asked, also by the worker after the
//! one that took their request.

#[path = "support/a2a/mod.rs"]
mod a2a;
mod support;

use std::sync::Arc;
use std::time::Duration;

use a2a::Kept;
use a2a_envelope::agent::TurnHandle;
use agentchat_core::Agent;
use mq9_client::testing::Broker;
use mq9_client::{Client, Consumer, ConsumerOptions, Message, Received};
use support::{connector, create, fast_client, mailbox, within};
use tokio::sync::Notify;

/// A caller with a mailbox of its own, and an agent that answers.
struct World {
    broker: Broker,
    client: Client,
    replies: Consumer,
}

impl World {
    async fn new() -> Self {
        let broker = support::broker().await;
        let client = fast_client(&broker.url()).await;
        let inbox = create(&client, "cb7f").await;
        let replies = client.consume(&inbox, ConsumerOptions::new("g")).await.expect("consumed");
        Self { broker, client, replies }
    }

    async fn agent(&self) -> Agent {
        support::start(&connector(&self.broker, "server")).await
    }

    async fn send(&self, agent: &Agent, body: &str, headers: &[(&str, &str)]) {
        let mut message = Message::new(body.to_owned());
        for (name, value) in headers {
            message = message.with_header(*name, *value);
        }
        self.client.send(&mailbox(agent.address().name()), &message).await.expect("sent");
    }

    async fn reply(&mut self) -> Received {
        let item = within(20, "a reply", self.replies.next()).await.expect("goes on").expect("no error");
        self.replies.acker().settle(item.id());
        item.message
    }
}

async fn hears(turn: TurnHandle) -> a2a_envelope::agent::TurnResult {
    turn.text("answer", &format!("heard: {}", turn.request_text())).await?;
    Ok(())
}

fn text(reply: &Received) -> String {
    String::from_utf8(reply.payload.to_vec()).expect("text")
}

const BARE: &str = r#"{"message":{"messageId":"m-1","role":"ROLE_USER","parts":[{"text":"hi"}]}}"#;

#[tokio::test]
async fn the_facade_gets_a_bare_event_with_its_class_name_and_the_last_flag() {
    let mut world = World::new().await;
    let agent = world.agent().await;
    let _serving = Kept::new().server(hears).serve(&agent).await.expect("serves");
    world.send(&agent, BARE, &[("mq9-reply-to", "cb7f")]).await;
    let reply = world.reply().await;
    assert_eq!(reply.headers.get("mq9-a2a-type"), Some("Task"));
    assert_eq!(reply.headers.get("mq9-a2a-last"), Some("true"));
    assert_eq!(reply.headers.get("amb-envelope"), None);
    let body = text(&reply);
    assert!(body.starts_with(r#"{"id":"#) && body.contains("heard: hi"), "{body}");
}

#[tokio::test]
async fn a_callback_in_the_body_is_followed_on_this_broker() {
    let mut world = World::new().await;
    let agent = world.agent().await;
    let _serving = Kept::new().server(hears).serve(&agent).await.expect("serves");
    let body = r#"{"jsonrpc":"2.0","id":7,"method":"tasks/send","params":{"id":"mine","message":{"role":"user","parts":[{"type":"text","text":"hi"}]},"pushNotification":{"url":"mq9://broker/cb7f"}}}"#;
    world.send(&agent, body, &[]).await;
    let body = text(&world.reply().await);
    assert!(body.starts_with(r#"{"jsonrpc":"2.0","id":7,"result":{"#), "{body}");
    assert!(body.contains(r#""state":"completed""#) && body.contains("heard: hi"), "{body}");
}

#[tokio::test]
async fn a_hermes_call_gets_one_reply_in_its_own_words() {
    let mut world = World::new().await;
    let agent = world.agent().await;
    let _serving = Kept::new().server(hears).serve(&agent).await.expect("serves");
    let body = r#"{"type":"mq9_call","from":"h","reply_to":"cb7f","correlation_id":"5d41402abc4b2a76b9719d911017c592","protocol":"a2a","payload":{"instruction":"hi"},"context":{"chat":1},"ts":1}"#;
    world.send(&agent, body, &[]).await;
    let body = text(&world.reply().await);
    assert!(body.starts_with(r#"{"type":"mq9_call_reply","ok":true"#), "{body}");
    for part in
        ["heard: hi", r#""correlation_id":"5d41402abc4b2a76b9719d911017c592""#, r#""context":{"chat":1}"#]
    {
        assert!(body.contains(part), "{part}: {body}");
    }
}

#[tokio::test]
async fn a_worker_that_takes_over_still_answers_in_the_dialect_that_asked() {
    let mut world = World::new().await;
    let place = connector(&world.broker, "server");
    let (kept, begun) = (Kept::new(), Arc::new(Notify::new()));
    let tell = Arc::clone(&begun);
    let dies = move |_turn: TurnHandle| {
        let tell = Arc::clone(&tell);
        async move {
            tell.notify_one();
            std::future::pending::<()>().await;
            Ok(())
        }
    };
    let agent = support::start(&place).await;
    let serving = kept.server(dies).serve(&agent).await.expect("serves");
    world.send(&agent, BARE, &[("mq9-reply-to", "cb7f")]).await;
    within(20, "the first worker", begun.notified()).await;
    drop(serving);
    drop(agent);
    let agent = support::start(&place).await;
    let _serving = kept.server(hears).serve(&agent).await.expect("serves");
    let reply = world.reply().await;
    assert_eq!(reply.headers.get("mq9-a2a-type"), Some("Task"));
    assert!(text(&reply).contains("heard: hi"), "{}", text(&reply));
    let more = tokio::time::timeout(Duration::from_millis(300), world.replies.next()).await;
    assert!(more.is_err(), "one answer");
}

#[tokio::test]
async fn an_answer_header_on_another_broker_is_not_followed() {
    let world = World::new().await;
    let agent = world.agent().await;
    let heard = a2a::Heard::default();
    let server = Kept::new().server(hears).with_observer(heard.clone());
    let _serving = server.serve(&agent).await.expect("serves");
    let headers = [
        ("mq9-reply-to", "mq9://evil.example/cb7f"),
        ("amb-envelope", "1"),
        ("mq9-a2a-method", "SendMessage"),
    ];
    world.send(&agent, BARE, &headers).await;
    within(20, "the end", async {
        while !heard.has("task.state") && !heard.has("request.rejected") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert!(!heard.has("reply.sent"), "nobody is answered");
}
