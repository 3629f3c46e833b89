//! What a server may send that it should not: each costs itself, no message around it, and tells no key.
#![cfg(feature = "test-server")]

mod connecting;
mod floods;
mod frames;
#[path = "../key_log/mod.rs"]
mod key_log;
#[path = "../scripted/mod.rs"]
mod scripted;
#[path = "../ws_support/mod.rs"]
mod ws_support;

use std::sync::Arc;
use std::time::Duration;

use agentchat_core::{Connector, Error, ErrorKind, EventStream, SubscribeOptions};
use key_log::no_key_is_told;
use scripted::{KEY, Line, Scripted, answer};
use ws_support::{Attached, ending, within};

const GRANTS: [&str; 2] = ["[\"ack\"]", "[]"];
const MILLI: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(20);

async fn attached(server: &Scripted) -> (Attached, EventStream) {
    no_key_is_told();
    let bob = within(server.connector().connect()).await.expect("attached");
    let options = SubscribeOptions::own().with_max_unsettled(100_000).with_max_unsettled_bytes(1 << 30);
    let events = bob.subscribe(options).await.expect("read").events;
    (bob, events)
}

fn told(error: &Error) -> String {
    let mut told = format!("{error} {error:?}");
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        told.push_str(&format!(" {cause} {cause:?}"));
        source = cause.source();
    }
    told
}

fn keeps_the_key(error: &Error) {
    assert!(!told(error).contains(KEY), "{}", told(error));
    no_key_is_told();
}

#[tokio::test]
async fn a_server_that_says_the_key_back_does_not_make_it_print() {
    let echo =
        format!(r#"{{"code":"NO_{KEY}","message":"the key {KEY} is bad","details":{{"key":"{KEY}"}}}}"#);
    let headers = format!("content-type: application/json\r\nx-request-id: {KEY}\r\n");
    for status in ["400 Bad Request", "401 Unauthorized", "500 Internal Server Error"] {
        let (echo, headers) = (echo.clone(), headers.clone());
        let rest = Arc::new(move |_: &str, _: &str| answer(status, &headers, &echo));
        let live = |_, line: Line| -> futures_util::future::BoxFuture<'static, ()> { Box::pin(line.close()) };
        let server = Scripted::start(rest, Arc::new(live)).await;
        let error = within(server.connector().connect()).await.expect_err("refused");
        keeps_the_key(&error);
        assert!(error.to_string().contains("***"), "the rest of it is there: {error}");
        assert!(!error.context().any(|(_, value)| value.contains(KEY)), "{error:?}");
        assert!(error.request_id().is_none_or(|id| !id.contains(KEY)));
    }
}

#[tokio::test]
async fn a_close_that_says_the_key_back_does_not_make_it_print() {
    let server = Scripted::live(|_, mut line| async move {
        line.greet("[\"ack\"]").await;
        let reason = format!("bad {KEY}");
        let length = u8::try_from(reason.len() + 2).expect("short");
        line.bytes(&[&[0x88, length, 0x0f, 0xa0][..], reason.as_bytes()].concat()).await;
        line.listen(LONG).await;
    })
    .await;
    let (_bob, mut events) = attached(&server).await;
    let error = ending(&mut events).await;
    assert_eq!(error.kind(), ErrorKind::Disconnected);
    keeps_the_key(&error);
    // The end of a socket is logged, so something is listened to.
    within(async {
        while !key_log::has_heard("ending") {
            tokio::time::sleep(5 * MILLI).await;
        }
    })
    .await;
}
