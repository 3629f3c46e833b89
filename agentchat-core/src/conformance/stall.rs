//! A server that hangs.

use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use super::kit::{DAY, attach, inflict, next_message, pair, read_own, send, text, within, word};
use super::register::card;
use super::{Harness, Outcome};
use crate::directory::{Heartbeat, Query};
use crate::error::{ErrorKind, Reached, Result};
use crate::id::ConversationId;
use crate::message::Body;
use crate::options::{CloseMode, SubscribeOptions};
use crate::transport::ReplayRange;

/// While nothing answers, every call ends by its deadline, connecting and closing too; a send says that it
/// may have arrived. Afterwards a new attachment works.
pub async fn stall_ends_every_call_by_its_deadline(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = pair(harness).await;
    let to = bob.address().clone();
    let connector = harness.connector("carol").await;
    inflict!(harness, stall, Stall);
    let ended = Ended(harness.patience());
    let (card, conversation) = (card("stalled", "Waits"), ConversationId::new("c").expect("id"));
    let heartbeat = Heartbeat::new("online", DAY);
    let (query, message) = (Query::all(), text(&to, "x"));
    let sent = async {
        let error = ended.by_deadline("send", alice.send(&message)).await.expect_err("nothing answered");
        assert!(matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Disconnected), "{error:?}");
        assert!(error.reached() != Reached::Yes && error.is_retryable(), "{error:?}");
    };
    let connected = async {
        let error = ended.by_deadline("connect", connector.connect()).await.expect_err("nothing answered");
        assert!(error.is_retryable() && !error.is_fatal(), "{error:?}");
    };
    let directory = async {
        let register = ended.by_deadline("register", alice.register(&card));
        let report = ended.by_deadline("report", alice.report(&heartbeat));
        let _ = tokio::join!(
            register,
            report,
            ended.by_deadline("unregister", bob.unregister()),
            ended.by_deadline("discover", alice.discover(&query)),
        );
    };
    let inboxes = async {
        let _ = tokio::join!(
            ended.by_deadline("ack", bob.ack(&[])),
            ended.by_deadline("subscribe", bob.subscribe(SubscribeOptions::own())),
            ended.by_deadline("subscribe", bob.subscribe(SubscribeOptions::fresh(DAY))),
            ended.by_deadline("put", alice.put(&to, "key", Body::text("x"))),
            ended.by_deadline("get", alice.get(&to, "key")),
            ended.by_deadline("replay", bob.replay(&conversation, ReplayRange::new(0, 1))),
        );
    };
    tokio::join!(sent, connected, directory, inboxes);
    let _ = tokio::join!(
        ended.by_deadline("close", alice.close(CloseMode::Retire)),
        ended.by_deadline("close", bob.close(CloseMode::Detach)),
    );
    harness.heal().await;
    let (alice, bob) = pair(harness).await;
    let mut events = read_own(&bob).await;
    send(&alice, &text(&to, "after")).await;
    // What was sent into the stall may have arrived as well.
    while word(&next_message(&mut events).await) != "after" {}
    Outcome::Held
}

/// A stall that ends in time is only a delay: what was under way is answered, and reading goes on.
pub async fn stall_that_ends_is_a_delay(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = pair(harness).await;
    let mut events = read_own(&bob).await;
    inflict!(harness, stall, Stall);
    let message = text(bob.address(), "late");
    let healing = async {
        tokio::time::sleep(harness.patience().min(Duration::from_millis(300)) / 5).await;
        harness.heal().await;
    };
    let (sent, ()) = within(async { tokio::join!(alice.send(&message), healing) }).await;
    sent.expect("accepted once the server goes on");
    assert_eq!(word(&next_message(&mut events).await), "late");
    Outcome::Held
}

/// Closing ends the calls that are under way, with an error.
pub async fn close_ends_the_calls_under_way(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = pair(harness).await;
    inflict!(harness, stall, Stall);
    let ended = Ended(harness.patience());
    let message = text(bob.address(), "x");
    let closing = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let _ = ended.by_deadline("close", alice.close(CloseMode::Detach)).await;
    };
    let sending = ended.by_deadline("send", alice.send(&message));
    let getting = ended.by_deadline("get", alice.get(bob.address(), "key"));
    let (sent, got, ()) = tokio::join!(sending, getting, closing);
    for kind in [sent.expect_err("closed").kind(), got.expect_err("closed").kind()] {
        use ErrorKind::{Closed, Disconnected, Timeout, Unsupported};
        assert!(matches!(kind, Closed | Disconnected | Timeout | Unsupported), "{kind:?}");
    }
    harness.heal().await;
    let mut events = read_own(&bob).await;
    send(&attach(harness, "alice").await, &text(bob.address(), "after")).await;
    while word(&next_message(&mut events).await) != "after" {}
    Outcome::Held
}

/// What is under way may end this late.
struct Ended(Duration);

impl Ended {
    async fn by_deadline<T: Debug>(&self, verb: &str, call: impl Future<Output = Result<T>>) -> Result<T> {
        let ended = tokio::time::timeout(self.0, call).await;
        ended.unwrap_or_else(|_| panic!("{verb} did not end within {:?}", self.0))
    }
}
