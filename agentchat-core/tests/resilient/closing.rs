//! How a session ends: what closing sends, acknowledges and reports, and what dropping stops.

use std::time::Duration;

use agentchat_core::{
    CloseMode, CloseReason, ErrorKind, Event, EventStream, Loopback, Reached, Resilient, SessionState,
    Transport,
};
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
