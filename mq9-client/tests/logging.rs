//! What is logged names no password, no whole mailbox address and no payload, whatever goes wrong. Alone in
//! its file: everything that is logged in its process is listened to.
#![cfg(feature = "test-broker")]

mod support;

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use mq9_client::testing::Broker;
use mq9_client::{
    ConnectOptions, ConsumerOptions, CreateMailbox, FetchOptions, MailAddress, Message, Pacing, Reconnect,
};
use support::scripted::{Answer, Scripted};
use support::{address, within};
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber, span};

#[tokio::test]
async fn no_password_address_or_payload_is_logged_whatever_goes_wrong() {
    tracing::subscriber::set_global_default(Listener).expect("nobody else listens");
    let secret = MailAddress::new("s3cret.box").expect("valid");

    // Good and bad credentials, a broker that is away and comes back, a consumer that lives through it, a
    // handler that fails and panics.
    let mut broker = Broker::builder().credentials("ada", "pa55word").start().await.expect("a broker");
    let wrong = ConnectOptions::new().with_user("ada", "wr0ngword");
    wrong.connect(&broker.url()).await.expect_err("refused");
    let quick = Reconnect::backoff(Duration::from_millis(5), Duration::from_millis(20));
    let options = ConnectOptions::new().with_user("ada", "pa55word").with_reconnect(quick);
    let client = options.connect(&broker.url()).await.expect("connects");
    client.create_mailbox(CreateMailbox::named(secret.clone())).await.expect("created");
    client.send(&secret, &Message::new("hunter2")).await.expect("sent");
    let pacing = Pacing::default().with_backoff(Duration::from_millis(5), Duration::from_millis(20));
    let reading = ConsumerOptions::new("workers").with_pacing(pacing);
    let consumer = client.consume(&secret, reading.clone()).await.expect("consumed");
    let failing = async |_: mq9_client::Delivered| Err("hunter2 is too short".to_owned());
    drop(tokio::time::timeout(Duration::from_millis(200), consumer.for_each(1, failing)).await);
    let mut consumer = client.consume(&secret, reading).await.expect("consumed");
    within(10, "the message", consumer.next()).await.expect("goes on").expect("no error");
    broker.down().await.expect("down");
    client.send(&secret, &Message::new("hunter2")).await.expect_err("down");
    tokio::time::sleep(Duration::from_millis(100)).await;
    broker.up().await.expect("up");
    within(10, "coming back", async {
        while client.send(&secret, &Message::new("hunter2")).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    within(10, "the next one", consumer.next()).await.expect("goes on").expect("no error");

    // Replies that are half sense.
    for reply in [
        r#"{"error":"","messages":[{"msg_id":7,"payload":7,"header":"mq9-reply-to: s3cret.box hunter2"}]}"#,
        r#"{"error":"mailbox s3cret.box: hunter2"}"#,
        "s3cret.box hunter2",
    ] {
        let server = Scripted::start(move |_| Answer::reply(reply)).await;
        let client = ConnectOptions::new().with_probe(false).connect(&server.url()).await.expect("connects");
        let _ = client.fetch(&address("s3cret.box"), &FetchOptions::stateless()).await;
    }

    let told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(told.contains("still down") && told.contains("connected"), "hardly anything was logged: {told}");
    for word in ["pa55word", "wr0ngword", "s3cret.box", "hunter2"] {
        assert!(!told.contains(word), "{word} was logged: {told}");
    }
}

static TOLD: Mutex<String> = Mutex::new(String::new());

struct Listener;

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // What the libraries below say is theirs.
        metadata.target().starts_with("mq9_client")
    }

    fn new_span(&self, span: &span::Attributes<'_>) -> span::Id {
        span.record(&mut Heard);
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, values: &span::Record<'_>) {
        values.record(&mut Heard);
    }

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut Heard);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

struct Heard;

impl Visit for Heard {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
        told.push_str(&format!("{field}: {value:?}\n"));
    }
}
