//! A call ends, in time, whatever happens around it, and leaves nothing behind.

mod support;

use std::time::{Duration, SystemTime};

use agentchat_core::{
    Address, Body, CallRequest, ClientMsgId, CloseMode, CorrelationId, ErrorKind, Loopback, LoopbackFaults,
    Reached,
};
use futures_util::FutureExt;
use support::peer::{Peer, call, rest};
use support::{Fate, SECOND, Scripted, soon, start, text};

#[tokio::test(start_paused = true)]
async fn only_the_inbox_of_the_call_is_answered_in() {
    let network = Loopback::new();
    let alice = start(&network, "alice").await;
    let (mut bob, mut mallory) = (Peer::start(&network, "bob").await, Peer::start(&network, "mallory").await);
    let request = CallRequest::new(Body::text("x")).with_id(ClientMsgId::new("guessed").expect("id"));
    let mut call = alice.call(bob.agent.address(), request).await.expect("sent");
    let asked = bob.request().await;
    let _other = alice.call(mallory.agent.address(), CallRequest::new(Body::text("x"))).await.expect("sent");
    let mut forged = mallory.request().await;
    forged.correlation_id = Some(CorrelationId::new("guessed").expect("id"));
    mallory.finish(&forged, 1).await;
    tokio::time::sleep(SECOND).await;
    assert!(call.next().now_or_never().is_none(), "another peer cannot answer");
    bob.finish(&asked, 1).await;
    assert_eq!(rest(&mut call).await, (vec![1], None));
}

#[tokio::test(start_paused = true)]
async fn opening_an_inbox_for_one_peer_delays_no_call_to_another() {
    let network = Loopback::new();
    let connector = Scripted::new(&network, "alice");
    let alice = connector.start().await;
    let (bob, carol) = (Peer::start(&network, "bob").await, Peer::start(&network, "carol").await);
    drop(call(&alice, &bob, SECOND).await);
    connector.change(|script| script.subscribe_takes = 30 * SECOND);
    let (asker, to) = (alice.clone(), carol.agent.address().clone());
    let opening =
        tokio::spawn(async move { asker.call(&to, CallRequest::new(Body::text("x"))).await.is_ok() });
    tokio::time::sleep(SECOND).await;
    let begun = tokio::time::Instant::now();
    drop(call(&alice, &bob, 60 * SECOND).await);
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert!(opening.await.expect("no panic"));
}

#[tokio::test]
async fn the_deadline_in_a_request_is_counted_from_when_the_call_began() {
    let network = Loopback::new();
    let connector = Scripted::new(&network, "alice");
    connector.change(|script| script.subscribe_takes = Duration::from_millis(20));
    let (alice, mut bob) = (connector.start().await, Peer::start(&network, "bob").await);
    let request = CallRequest::new(Body::text("x")).with_timeout(60 * SECOND);
    let mut calling = Box::pin(alice.call(bob.agent.address(), request));
    assert!(calling.as_mut().now_or_never().is_none(), "an inbox for the answers is being opened");
    let begun = SystemTime::now();
    let _call = calling.await.expect("sent");
    let deadline = bob.request().await.deadline.expect("it has one");
    assert!(deadline <= begun + 60 * SECOND, "it would be run when nobody waits any more");
}

#[tokio::test(start_paused = true)]
async fn many_calls_to_a_new_peer_at_once_open_one_inbox() {
    let network = Loopback::new();
    let connector = Scripted::new(&network, "alice");
    connector.change(|script| script.subscribe_takes = SECOND);
    let (alice, bob) = (connector.start().await, Peer::start(&network, "bob").await);
    let calls = (0..20).map(|_| call(&alice, &bob, 60 * SECOND));
    let calls = futures_util::future::join_all(calls).await;
    assert_eq!((calls.len(), connector.read(|script| script.opened.len())), (20, 1));
}

#[tokio::test(start_paused = true)]
async fn a_calls_time_includes_opening_the_inbox_and_sending() {
    let network = Loopback::new();
    let connector = Scripted::new(&network, "alice");
    let (alice, bob) = (connector.start().await, Peer::start(&network, "bob").await);
    let ask = || alice.call(bob.agent.address(), CallRequest::new(Body::text("x")).with_timeout(5 * SECOND));
    connector.change(|script| script.subscribe_takes = 60 * SECOND);
    let begun = tokio::time::Instant::now();
    let error = soon(ask()).await.expect_err("no inbox in time");
    assert_eq!((error.kind(), error.reached()), (ErrorKind::Timeout, Reached::No));
    connector.change(|script| {
        script.subscribe_takes = Duration::ZERO;
        script.sends.push_back(Fate::Hangs);
    });
    let error = soon(ask()).await.expect_err("not sent in time");
    assert_eq!((error.kind(), error.reached()), (ErrorKind::Timeout, Reached::Unknown));
    connector.change(|script| script.subscribe_takes = Duration::ZERO);
    let error = ask().await.expect("sent").response().await.expect_err("no answer");
    assert_eq!((error.kind(), begun.elapsed()), (ErrorKind::Timeout, 15 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_given_up_at_any_await_leaves_nothing_behind() {
    let network = Loopback::with_faults(LoopbackFaults::seeded(0).with_latency(SECOND));
    let connector = Scripted::new(&network, "alice");
    connector.change(|script| script.subscribe_takes = SECOND);
    let (alice, bob) = (connector.start().await, Peer::start(&network, "bob").await);
    for given_up in 0..25 {
        let request = CallRequest::new(Body::text("x")).with_id(ClientMsgId::new("m").expect("id"));
        let asked = alice.call(bob.agent.address(), request.clone());
        let wait = Duration::from_millis(given_up * 100);
        if let Ok(call) = tokio::time::timeout(wait, asked).await {
            drop(call.expect("no call under this id is under way"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_private_inbox_is_read_no_longer_than_its_call() {
    let network = Loopback::new();
    let (alice, mut bob) = (start(&network, "alice").await, Peer::start(&network, "bob").await);
    let request = CallRequest::new(Body::text("x")).with_private_inbox();
    let call = alice.call(bob.agent.address(), request).await.expect("sent");
    let asked = bob.request().await;
    drop(call);
    tokio::time::sleep(SECOND).await;
    bob.finish(&asked, 1).await;
    // Nobody can tell from outside but by the network: the inbox is gone with its ttl.
    tokio::time::sleep(2 * 86_400 * SECOND).await;
    let late = bob.reply(&asked, "2", true);
    assert_eq!(bob.agent.send(&late).await.expect_err("expired").kind(), ErrorKind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn a_call_longer_than_a_reply_inbox_lives_gets_one_that_lasts() {
    let network = Loopback::new();
    let alice = start(&network, "alice").await;
    let mut bob = Peer::start(&network, "bob").await;
    let day = 86_400 * SECOND;
    let _short = call(&alice, &bob, SECOND).await;
    let mut long = call(&alice, &bob, 5 * day).await;
    let (_, request) = (bob.request().await, bob.request().await);
    tokio::time::sleep(4 * day).await;
    bob.finish(&request, 1).await;
    assert_eq!(rest(&mut long).await, (vec![1], None));
}

#[tokio::test(start_paused = true)]
async fn a_lost_inbox_ends_its_calls_after_what_had_arrived_and_the_next_call_gets_another() {
    let network = Loopback::new();
    let alice = start(&network, "alice").await;
    let mut bob = Peer::start(&network, "bob").await;
    let mut unread = call(&alice, &bob, 60 * SECOND).await;
    let request = bob.request().await;
    bob.answer(&request, 1..=256).await;
    tokio::time::sleep(SECOND).await;
    network.cut();
    let begun = tokio::time::Instant::now();
    assert_eq!(rest(&mut unread).await, ((1..=256).collect(), Some(ErrorKind::Disconnected)));
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert!(unread.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn closing_or_dropping_the_agent_ends_its_calls_at_once() {
    for close in [true, false] {
        let network = Loopback::new();
        let (alice, bob) = (start(&network, "alice").await, Peer::start(&network, "bob").await);
        let call = call(&alice, &bob, 3600 * SECOND).await;
        if close {
            alice.close(CloseMode::Detach, SECOND).await.expect("closed");
            let again = alice.call(bob.agent.address(), CallRequest::new(Body::text("x"))).await;
            assert_eq!(again.expect_err("closed").kind(), ErrorKind::Closed);
        }
        drop(alice);
        let error =
            tokio::time::timeout(SECOND, call.response()).await.expect("at once").expect_err("closed");
        assert_eq!(error.kind(), ErrorKind::Closed);
    }
}

#[tokio::test(start_paused = true)]
async fn an_id_of_a_call_stands_for_its_content_but_its_deadline() {
    let network = Loopback::new();
    let (alice, bob) = (start(&network, "alice").await, Peer::start(&network, "bob").await);
    let request = CallRequest::new(Body::text("x")).with_id(ClientMsgId::new("m").expect("id"));
    drop(alice.call(bob.agent.address(), request.clone()).await.expect("sent"));
    tokio::time::sleep(SECOND).await;
    drop(
        alice.call(bob.agent.address(), request.clone()).await.expect("a repeated call has a later deadline"),
    );
    let mut other = request.clone();
    other.body = Body::text("y");
    let error = alice.call(bob.agent.address(), other).await.expect_err("reused");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let sent = text(&bob.agent, "z").with_id(request.client_msg_id);
    assert_eq!(alice.send(&sent).await.expect_err("reused").kind(), ErrorKind::Conflict);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_certainly_reached_nobody_may_be_made_to_another_peer() {
    let network = Loopback::new();
    let (alice, bob) = (start(&network, "alice").await, Peer::start(&network, "bob").await);
    let request = CallRequest::new(Body::text("x"));
    let nowhere = Address::parse("loopback://nowhere").expect("valid");
    let error = alice.call(&nowhere, request.clone()).await.expect_err("nobody is there");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    alice.call(bob.agent.address(), request).await.expect("the id was never taken");
}

#[tokio::test(start_paused = true)]
async fn an_ended_call_that_is_kept_is_forgotten_by_the_agent() {
    let network = Loopback::new();
    let alice = start(&network, "alice").await;
    let mut peer = Peer::start(&network, "peer").await;
    let request = CallRequest::new(Body::text("x")).with_id(ClientMsgId::new("m").expect("id"));
    let mut first = alice.call(peer.agent.address(), request.clone()).await.expect("sent");
    let asked = peer.request().await;
    peer.finish(&asked, 1).await;
    assert_eq!(rest(&mut first).await, (vec![1], None));
    alice.call(peer.agent.address(), request).await.expect("the first one is over");
    assert!(first.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_request_carries_the_moment_its_caller_stops_waiting() {
    let network = Loopback::new();
    let alice = start(&network, "alice").await;
    let mut peer = Peer::start(&network, "peer").await;
    let before = SystemTime::now();
    let _call = call(&alice, &peer, 60 * SECOND).await;
    let deadline = peer.request().await.deadline.expect("a deadline");
    assert!(deadline >= before + 60 * SECOND && deadline <= SystemTime::now() + 60 * SECOND);
}
