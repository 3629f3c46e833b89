//! What is sent over a session: room, conflicts, what is parked, and what has a time to end.

use agentchat_core::{Body, ClientMsgId, ErrorKind, Loopback, OutboxLimits, Reached, Transport};
use futures_util::FutureExt;
use tokio::time::Instant;

use crate::support::{Fate, SECOND, Scripted, next, read, session, soon};
use crate::{Moody, note, of, options, refused};

#[tokio::test(start_paused = true)]
async fn send_waits_for_room_and_try_send_gives_the_message_back() {
    let network = Loopback::new();
    let scripted = Scripted::new(&network, "alice");
    let limits = OutboxLimits::new().with_max_messages(2);
    let alice = session(scripted.clone(), options().with_outbox(limits)).await;
    scripted.change(|script| script.sends.extend([Fate::Hangs, Fate::Works, Fate::Works, Fate::Works]));
    let first = alice.try_send(note(&alice, "1")).expect("there is room");
    let second = alice.try_send(note(&alice, "2")).expect("there is room");
    assert_eq!(alice.capacity().0, 0);
    let third = note(&alice, "3");
    let refused = alice.try_send(third.clone()).expect_err("there is no room");
    assert_eq!((&refused.0, refused.1.kind()), (&third, ErrorKind::Backpressure));
    let mut waiting = Box::pin(alice.send(&third));
    assert!(waiting.as_mut().now_or_never().is_none(), "it waits");
    soon(first).await.expect("the attempt that hung is given up and repeated");
    soon(second).await.expect("accepted");
    soon(waiting).await.expect("it got room");
    let mut events = read(&alice).await;
    for text in ["1", "2", "3"] {
        assert_eq!(of(&next(&mut events).await), text);
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_send_leaves_only_if_no_attempt_was_made() {
    let network = Loopback::new();
    let moody = Moody::new(&network, "alice");
    let alice = session(moody.clone(), options()).await;
    let mut events = read(&alice).await;
    let tried = note(&alice, "tried");
    moody.inner.change(|script| script.sends.push_back(Fate::Hangs));
    let mut sending = alice.try_send(tried).expect("there is room");
    assert!(tokio::time::timeout(SECOND, &mut sending).await.is_err());
    assert_eq!(alice.stats().in_flight, 1);
    drop(sending);
    drop(alice.try_send(note(&alice, "untried")).expect("there is room"));
    let other = alice.try_send(note(&alice, "last")).expect("there is room");
    soon(other).await.expect("accepted");
    assert_eq!(of(&next(&mut events).await), "tried");
    assert_eq!(of(&next(&mut events).await), "last");
}

#[tokio::test(start_paused = true)]
async fn the_same_message_joins_and_another_under_its_id_is_a_conflict() {
    let network = Loopback::new();
    let scripted = Scripted::new(&network, "alice");
    let alice = session(scripted.clone(), options()).await;
    scripted.change(|script| script.sends.push_back(Fate::Hangs));
    let message = note(&alice, "one").with_id(ClientMsgId::new("m").expect("id"));
    let (first, second) = (alice.send(&message), alice.send(&message));
    let clash = async {
        tokio::task::yield_now().await;
        alice.send(&note(&alice, "two").with_id(ClientMsgId::new("m").expect("id"))).await
    };
    let (first, second, clash) = soon(async { tokio::join!(first, second, clash) }).await;
    assert_eq!(first.expect("accepted"), second.expect("the same answer"));
    assert_eq!(clash.expect_err("other content").kind(), ErrorKind::Conflict);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_fails_for_good_goes_back_and_a_parked_one_is_not_overtaken() {
    let network = Loopback::new();
    let scripted = Scripted::new(&network, "alice");
    let alice = session(scripted.clone(), options()).await;
    let mut events = read(&alice).await;
    let forbidden = || Fate::Lost(ErrorKind::Forbidden, Reached::Yes);
    scripted.change(|script| script.sends.push_back(forbidden()));
    let error = soon(alice.send(&note(&alice, "refused"))).await.expect_err("forbidden");
    assert_eq!(error.kind(), ErrorKind::Forbidden);
    assert!(alice.parked().is_empty(), "its sender has it");

    scripted.change(|script| script.sends.push_back(forbidden()));
    let parked = note(&alice, "parked");
    alice.try_send(parked.clone()).expect("there is room").detach();
    let later = alice.try_send(note(&alice, "later")).expect("there is room");
    tokio::time::sleep(60 * SECOND).await;
    let list = alice.parked();
    assert_eq!((list.len(), &list[0].message, list[0].attempts), (1, &parked, 1));
    assert_eq!(list[0].error.as_ref().expect("why").kind(), ErrorKind::Forbidden);
    assert_eq!((alice.stats().parked, alice.stats().queued_messages), (1, 2), "the later one waits");
    assert!(!alice.resume(&ClientMsgId::random()));
    assert!(alice.resume(&parked.client_msg_id));
    soon(later).await.expect("accepted");
    assert_eq!(of(&next(&mut events).await), "parked");
    assert_eq!(of(&next(&mut events).await), "later");

    scripted.change(|script| script.sends.push_back(forbidden()));
    let parked = note(&alice, "discarded");
    alice.try_send(parked.clone()).expect("there is room").detach();
    let later = alice.try_send(note(&alice, "last")).expect("there is room");
    tokio::time::sleep(SECOND).await;
    assert_eq!(alice.discard(&parked.client_msg_id), Some(parked));
    soon(later).await.expect("accepted");
    assert_eq!(of(&next(&mut events).await), "last");
}

#[tokio::test(start_paused = true)]
async fn sends_and_calls_end_by_their_time_without_a_connection() {
    let network = Loopback::new();
    let moody = Moody::new(&network, "alice");
    let alice = session(moody.clone(), options()).await;
    let _events = read(&alice).await;
    moody.fail((0..100).map(|_| refused()));
    network.cut();
    let began = Instant::now();
    let (error, sent) =
        tokio::join!(async { (alice.get(alice.address(), "k").await, began.elapsed()) }, async {
            (alice.send(&note(&alice, "x")).await, began.elapsed())
        },);
    assert_eq!((error.0.expect_err("late").kind(), error.1), (ErrorKind::Timeout, 30 * SECOND));
    let late = sent.0.expect_err("late");
    assert_eq!((late.kind(), sent.1), (ErrorKind::Timeout, 300 * SECOND));
    assert_eq!((alice.stats().queued_messages, alice.stats().queued_bytes), (0, 0), "it left the outbox");
}

#[tokio::test(start_paused = true)]
async fn calls_wait_for_the_next_connection() {
    let network = Loopback::new();
    let moody = Moody::new(&network, "alice");
    let alice = session(moody.clone(), options()).await;
    moody.fail([refused(), refused()]);
    network.cut();
    soon(alice.put(alice.address(), "k", Body::text("v"))).await.expect("stored over a new connection");
    let value = soon(alice.get(alice.address(), "k")).await.expect("an answer").expect("a value");
    assert_eq!((value.body, moody.attempts()), (Body::text("v"), 4));
}
