//! How the in-process broker ends a connection, and what a client says of it.

#![cfg(feature = "test-broker")]

mod raw;

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt;
use mq9_client::testing::{Broker, WireProfile};
use mq9_client::{ConnectOptions, ErrorKind, Reconnect};
use raw::{Raw, errors};

#[tokio::test]
async fn a_connection_that_is_ended_is_not_reset_under_a_client_that_still_writes() {
    for wire in [WireProfile::Standard, WireProfile::RobustMq] {
        let broker = Broker::builder().wire(wire).start().await.unwrap();
        let mut raw = Raw::connect(broker.port()).await;
        broker.faults().expire_logins(true);
        let heard = errors(&raw.until_closed().await);
        assert!(heard.iter().any(|error| error.contains("Authentication Expired")), "{heard:?}");
        // A client that fails to write may never look at what it was told.
        for _ in 0..3 {
            raw.say("PING\r\n").await;
        }
    }
}

#[tokio::test]
async fn a_client_whose_login_has_expired_says_so_from_the_first_call_that_finds_it_down() {
    for _ in 0..20 {
        let broker = Broker::builder().start().await.unwrap();
        let options = ConnectOptions::new().with_reconnect(Reconnect::Close);
        let client = options.connect(&broker.url()).await.expect("connects");
        broker.faults().expire_logins(true);
        // A task that asks in each of its turns, without a pause: one of them is between the end of the connection and
        // the turn of the task that watches it. A call that waits was begun before.
        let looking = tokio::spawn(poll_fn(move |cx| match client.report("a", "b").now_or_never() {
            Some(ended) => Poll::Ready(ended.expect_err("it is down")),
            None => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }));
        let error =
            tokio::time::timeout(Duration::from_secs(10), looking).await.expect("it ends").expect("no panic");
        assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error:?}");
    }
}
