//! How a session ends: what closing sends, acknowledges and reports, and what dropping stops.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use agentchat_core::{
    Advice, AgentCard, CloseMode, CloseReason, Connector, ErrorKind, Event, EventStream, Loopback,
    LoopbackConnector, Query, Reached, Resilient, Result, SessionState, Transport,
};
use async_trait::async_trait;
use futures_util::{FutureExt, StreamExt};
use tokio::time::Instant;

use crate::support::{SECOND, next, read, session, soon};
use crate::{Moody, note, of, options, refused, until};

#[tokio::test(start_paused = true)]
async fn close_sends_what_is_queued_and_acknowledges_what_is_settled() {
    let network = Loopback::new();
    let alice = session(network.connector("alice").expect("name"), options()).await;
    let mut events = read(&alice).await;
    soon(alice.send(&note(&alice, "settled"))).await.expect("accepted");
    let delivery = next(&mut events).await;
    for text in ["1", "2", "3"] {
        alice.try_send(note(&alice, text)).expect("there is room").detach();
    }
    alice.ack(&[delivery.tag]).await.expect("settled");
    soon(alice.close(CloseMode::Detach)).await.expect("drained");
    assert_eq!(alice.state(), SessionState::Closed(CloseReason::Requested));
    let end = loop {
        match soon(events.next()).await.expect("a last item") {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(end.kind(), ErrorKind::Closed);
    assert!(soon(events.next()).await.is_none());
    let again = session(network.connector("alice").expect("name"), options()).await;
    let mut events = read(&again).await;
    for text in ["1", "2", "3"] {
        assert_eq!(of(&next(&mut events).await), text);
    }
}

#[tokio::test(start_paused = true)]
async fn close_reports_what_it_could_not_send() {
    let network = Loopback::new();
    let moody = Moody::new(&network, "alice");
    let alice = session(moody.clone(), options()).await;
    let _events = read(&alice).await;
    moody.fail((0..100).map(|_| refused()));
    network.cut();
    until(&alice, |state| matches!(state, SessionState::BackingOff { .. })).await;
    let left = note(&alice, "left");
    alice.try_send(left.clone()).expect("there is room").detach();
    let waiting = alice.try_send(note(&alice, "waited for")).expect("there is room");
    let began = Instant::now();
    let closing = alice.close(CloseMode::Detach);
    let watching = async {
        until(&alice, |state| *state == SessionState::Draining).await;
        let refused = alice.try_send(note(&alice, "late")).expect_err("nothing is taken in");
        refused.1.kind()
    };
    let (closed, late) = soon(async { tokio::join!(closing, watching) }).await;
    assert_eq!(late, ErrorKind::Closed);
    let error = closed.expect_err("something is left");
    assert_eq!((error.kind(), began.elapsed()), (ErrorKind::Timeout, 5 * SECOND));
    assert!(error.context().any(|fact| fact == ("unsent", "2")), "{error:?}");
    let error = soon(waiting).await.expect_err("it was not sent");
    assert_eq!((error.kind(), error.reached()), (ErrorKind::Closed, Reached::No));
    let parked = alice.parked();
    assert_eq!((parked.len(), &parked[0].message), (1, &left));
    assert_eq!(alice.discard(&left.client_msg_id), Some(left));
}

/// A session with something settled while there is no connection, after which connecting fails `failures`
/// times.
async fn settled_while_away(network: &Loopback, failures: usize) -> (Resilient, EventStream) {
    let moody = Moody::new(network, "alice");
    let alice = session(moody.clone(), options()).await;
    let mut events = read(&alice).await;
    soon(alice.send(&note(&alice, "settled"))).await.expect("accepted");
    let delivery = next(&mut events).await;
    moody.fail((0..failures).map(|_| refused()));
    network.cut();
    until(&alice, |state| matches!(state, SessionState::BackingOff { .. })).await;
    alice.ack(&[delivery.tag]).await.expect("settled");
    (alice, events)
}

/// What waits in the inbox of `alice`.
async fn waiting(network: &Loopback) -> usize {
    let alice = session(network.connector("alice").expect("name"), options()).await;
    let mut events = read(&alice).await;
    let mut count = 0;
    loop {
        match soon(events.next()).await.expect("it goes on").expect("no error") {
            Event::Message(_) => count += 1,
            Event::CaughtUp => return count,
            _ => {}
        }
    }
}

#[tokio::test(start_paused = true)]
async fn close_waits_for_a_connection_to_acknowledge_what_is_settled() {
    let network = Loopback::new();
    let (alice, events) = settled_while_away(&network, 2).await;
    soon(alice.close(CloseMode::Detach)).await.expect("acknowledged");
    assert_eq!((alice.stats().connects, waiting(&network).await), (2, 0));
    drop(events);
}

#[tokio::test(start_paused = true)]
async fn close_says_what_could_not_be_acknowledged_within_its_time() {
    let network = Loopback::new();
    let (alice, events) = settled_while_away(&network, 100).await;
    let began = Instant::now();
    let error = soon(alice.close(CloseMode::Detach)).await.expect_err("nobody could be told");
    assert_eq!((error.kind(), began.elapsed()), (ErrorKind::Timeout, 5 * SECOND), "{error:?}");
    assert!(error.to_string().contains("will come again"), "{error}");
    assert_eq!(waiting(&network).await, 1);
    drop(events);
}

#[tokio::test(start_paused = true)]
async fn close_does_not_wait_to_acknowledge_what_nobody_reads_any_more() {
    let network = Loopback::new();
    let (alice, events) = settled_while_away(&network, 2).await;
    drop(events);
    let began = Instant::now();
    let error = soon(alice.close(CloseMode::Detach)).await.expect_err("nobody could be told");
    assert_eq!((error.kind(), began.elapsed()), (ErrorKind::Timeout, Duration::ZERO), "{error:?}");
    assert!(error.to_string().contains("will come again"), "{error}");
    assert_eq!(waiting(&network).await, 1);
}

/// A session that cannot send what it has, and so takes its time to close.
async fn unable_to_send(network: &Loopback) -> Resilient {
    let moody = Moody::new(network, "alice");
    let alice = session(moody.clone(), options()).await;
    moody.fail((0..100).map(|_| refused()));
    let _events = read(&alice).await;
    network.cut();
    until(&alice, |state| matches!(state, SessionState::BackingOff { .. })).await;
    alice.try_send(note(&alice, "left")).expect("there is room").detach();
    alice
}

fn is_refused(closed: Result<()>, words: &[&str]) {
    let error = closed.expect_err("it was closed before");
    assert_eq!((error.kind(), error.operation()), (ErrorKind::Closed, "close"), "{error:?}");
    assert_eq!((error.advice(), error.reached()), (Advice::Never, Reached::No), "{error:?}");
    for word in words {
        assert!(error.to_string().contains(word), "{error} lacks {word}");
    }
}

#[tokio::test(start_paused = true)]
async fn closing_again_is_refused_by_name() {
    for mode in [CloseMode::Detach, CloseMode::Retire] {
        let network = Loopback::new();
        let alice = session(network.connector("alice").expect("name"), options()).await;
        soon(alice.close(mode)).await.expect("closed");
        is_refused(soon(alice.close(CloseMode::Detach)).await, &["the session was already closed"]);
        let stays: &[&str] = if mode == CloseMode::Detach { &["still registered"] } else { &["already"] };
        is_refused(soon(alice.close(CloseMode::Retire)).await, stays);
    }
}

#[tokio::test(start_paused = true)]
async fn all_who_close_at_once_hear_what_was_left() {
    let network = Loopback::new();
    let alice = unable_to_send(&network).await;
    let close = async || soon(alice.close(CloseMode::Detach)).await;
    for closed in <[_; 3]>::from(tokio::join!(close(), close(), close())) {
        let error = closed.expect_err("something is left");
        assert!(error.context().any(|fact| fact == ("unsent", "1")), "{error:?}");
    }
    is_refused(close().await, &["already closed"]);
}

#[tokio::test(start_paused = true)]
async fn what_a_dropped_closing_left_is_told_to_the_next_also_when_that_comes_after_the_end() {
    for later in [SECOND, 3600 * SECOND] {
        let network = Loopback::new();
        let alice = unable_to_send(&network).await;
        let given_up = tokio::time::timeout(SECOND, alice.close(CloseMode::Detach)).await;
        assert!(given_up.is_err(), "it waits for a connection");
        tokio::time::sleep(later).await;
        let error = soon(alice.close(CloseMode::Detach)).await.expect_err("something is left");
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert!(error.context().any(|fact| fact == ("unsent", "1")), "{error:?}");
        is_refused(soon(alice.close(CloseMode::Detach)).await, &["already closed"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_retires_when_one_of_those_who_close_it_wants_that() {
    let network = Loopback::new();
    let watcher = session(network.connector("watcher").expect("name"), options()).await;
    let alice = session(network.connector("alice").expect("name"), options()).await;
    let card = AgentCard::new("alice", "Comes and goes").expect("a card");
    soon(alice.register(&card)).await.expect("registered");
    let close = async |mode| soon(alice.close(mode)).await;
    let (detached, retired) = tokio::join!(close(CloseMode::Detach), close(CloseMode::Retire));
    detached.and(retired).expect("closed");
    let found = soon(watcher.discover(&Query::name("alice"))).await.expect("an answer");
    assert!(found.agents.is_empty(), "{found:?}");
}

/// Keeps the attachments it makes.
#[derive(Debug, Clone)]
struct Keeping(LoopbackConnector, Arc<Mutex<Vec<Arc<dyn Transport>>>>);

#[async_trait]
impl Connector for Keeping {
    async fn connect(&self) -> Result<Arc<dyn Transport>> {
        let made = self.0.connect().await?;
        self.1.lock().expect("not poisoned").push(Arc::clone(&made));
        Ok(made)
    }
}

#[tokio::test(start_paused = true)]
async fn an_attachment_that_somebody_else_closed_is_left_and_cannot_be_retired() {
    for (mode, kind) in [(CloseMode::Detach, None), (CloseMode::Retire, Some(ErrorKind::Disconnected))] {
        let network = Loopback::new();
        let keeping = Keeping(network.connector("alice").expect("name"), Arc::default());
        let alice = session(keeping.clone(), options()).await;
        let made = keeping.1.lock().expect("not poisoned")[0].clone();
        made.close(CloseMode::Detach).await.expect("closed");
        let closed = soon(alice.close(mode)).await;
        assert_eq!(closed.err().map(|error| error.kind()), kind);
    }
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_handle_and_reader_stops_everything() {
    let network = Loopback::new();
    let moody = Moody::new(&network, "alice");
    let alice = session(moody.clone(), options()).await;
    let mut events = read(&alice).await;
    let other = alice.clone();
    drop(alice);
    soon(other.send(&note(&other, "x"))).await.expect("another handle keeps it going");
    let sending = other.try_send(note(&other, "y")).expect("there is room");
    drop(other);
    assert_eq!(of(&next(&mut events).await), "x", "so does a reader");
    soon(sending).await.expect("accepted");
    drop(events);
    network.cut();
    let attempts = moody.attempts();
    tokio::time::sleep(3600 * SECOND).await;
    assert_eq!(moody.attempts(), attempts, "nothing connects any more");
}

#[test]
fn dropping_needs_no_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let network = Loopback::new();
    let connect = Resilient::connect(network.connector("alice").expect("name"), options());
    let alice = runtime.block_on(connect).expect("connected");
    let events = runtime.block_on(read(&alice));
    let sending = alice.try_send(note(&alice, "x")).expect("there is room");
    drop(runtime);
    assert!(matches!(alice.state(), SessionState::Closed(_)), "nothing drives it any more");
    assert!(sending.now_or_never().expect("it has ended").is_err());
    drop((events, alice));
}
