//! What a call does when something goes wrong: it ends, in order, and nobody else pays for it.
#![allow(clippy::future_not_send, reason = "these futures stay on the test's own thread")]

mod support;

use std::time::{Duration, SystemTime};

use agentchat_core::agent::{REPLY_LAST, REPLY_SEQ};
use agentchat_core::{
    Address, Agent, Body, Call, CallRequest, ClientMsgId, CloseMode, CorrelationId, Delivery, ErrorKind,
    Event, EventStream, Loopback, LoopbackFaults, Outbound, Reached, Request, ServeOptions, SubscribeOptions,
};
use futures_util::{FutureExt, StreamExt};
use support::{Fate, SECOND, Scripted, soon, start, text};

/// A peer that is not served by the library: it reads its requests and answers as the test says.
struct Peer {
    agent: Agent,
    events: EventStream,
}

impl Peer {
    async fn start(network: &Loopback, name: &str) -> Self {
        let agent = start(network, name).await;
        let options = SubscribeOptions::own().with_max_unsettled(1_000);
        let events = agent.transport().subscribe(options).await.expect("subscribed").events;
        Self { agent, events }
    }

    async fn request(&mut self) -> Delivery {
        loop {
            match soon(self.events.next()).await.expect("it goes on").expect("no error") {
                Event::Message(request) => return request,
                _ => continue,
            }
        }
    }

    fn reply(&self, request: &Delivery, seq: &str, last: bool) -> Outbound {
        let to = request.reply_to.clone().expect("an address to answer to");
        let mut reply = Outbound::new(to, Body::text(seq)).with_header(REPLY_SEQ, seq);
        reply.correlation_id.clone_from(&request.correlation_id);
        if last { reply.with_header(REPLY_LAST, "true") } else { reply }
    }

    async fn answer(&self, request: &Delivery, seqs: impl IntoIterator<Item = u64>) {
        for seq in seqs {
            let reply = self.reply(request, &seq.to_string(), false);
            self.agent.send(&reply).await.expect("sent");
        }
    }

    async fn finish(&self, request: &Delivery, seq: u64) {
        self.agent.send(&self.reply(request, &seq.to_string(), true)).await.expect("sent");
    }
}

async fn call(asker: &Agent, peer: &Peer, timeout: Duration) -> Call {
    let request = CallRequest::new(Body::text("x")).with_timeout(timeout);
    asker.call(peer.agent.address(), request).await.expect("sent")
}

/// Reads to the end: the numbers of the replies, and the error's kind.
async fn rest(call: &mut Call) -> (Vec<u64>, Option<ErrorKind>) {
    let mut seqs = Vec::new();
    loop {
        match soon(call.next()).await {
            Some(Ok(reply)) => seqs.push(reply.seq),
            Some(Err(error)) => return (seqs, Some(error.kind())),
            None => return (seqs, None),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_reads_nothing_stops_no_other_call_to_its_peer() {
    let network = Loopback::new();
    let alice = start(&network, "alice").await;
    let mut peer = Peer::start(&network, "peer").await;
    let mut stuck = call(&alice, &peer, 3600 * SECOND).await;
    let mut quick = call(&alice, &peer, 60 * SECOND).await;
    let (first, second) = (peer.request().await, peer.request().await);
    peer.answer(&first, 1..=2_000).await;
    peer.finish(&second, 1).await;
    let begun = tokio::time::Instant::now();
    assert_eq!(rest(&mut quick).await, (vec![1], None));
    assert!(begun.elapsed() < 30 * SECOND, "{:?}", begun.elapsed());
    let mut later = call(&alice, &peer, 60 * SECOND).await;
    let request = peer.request().await;
    peer.finish(&request, 1).await;
    assert_eq!(rest(&mut later).await, (vec![1], None));
    let (seqs, end) = rest(&mut stuck).await;
    assert!(seqs.iter().copied().eq(1..=seqs.len() as u64) && seqs.len() >= 256, "{}", seqs.len());
    assert_eq!(end, Some(ErrorKind::Backpressure), "it is told that replies were dropped");
}

#[tokio::test(start_paused = true)]
async fn a_slow_call_alone_loses_nothing_however_slow() {
    let network = Loopback::new();
    let alice = start(&network, "alice").await;
    let mut peer = Peer::start(&network, "peer").await;
    let mut slow = call(&alice, &peer, 360_000 * SECOND).await;
    let request = peer.request().await;
    peer.answer(&request, 1..=1_500).await;
    peer.finish(&request, 1_501).await;
    let mut seqs = Vec::new();
    while let Some(reply) = slow.next().await {
        seqs.push(reply.expect("no error").seq);
        tokio::time::sleep(20 * SECOND).await;
    }
    assert!(seqs.into_iter().eq(1..=1_501));
}

#[tokio::test(start_paused = true)]
async fn a_slow_call_that_reads_on_keeps_its_replies_while_others_are_answered() {
    let network = Loopback::new();
    let alice = start(&network, "alice").await;
    let mut peer = Peer::start(&network, "peer").await;
    let mut slow = call(&alice, &peer, 36_000 * SECOND).await;
    let mut other = call(&alice, &peer, 36_000 * SECOND).await;
    let (first, second) = (peer.request().await, peer.request().await);
    peer.answer(&first, 1..=800).await;
    peer.finish(&first, 801).await;
    peer.finish(&second, 1).await;
    let reading = tokio::spawn(async move {
        let mut seqs = Vec::new();
        while let Some(reply) = slow.next().await {
            seqs.push(reply.expect("no error").seq);
            tokio::time::sleep(5 * SECOND).await;
        }
        seqs
    });
    let answered = tokio::time::timeout(5_000 * SECOND, other.next()).await.expect("it is answered");
    assert!(answered.expect("a reply").is_ok());
    assert!(reading.await.expect("no panic").into_iter().eq(1..=801));
}

#[tokio::test(start_paused = true)]
async fn an_unread_call_past_its_deadline_gives_its_room_back() {
    let network = Loopback::new();
    let alice = start(&network, "alice").await;
    let mut peer = Peer::start(&network, "peer").await;
    let mut unread = call(&alice, &peer, 2 * SECOND).await;
    let request = peer.request().await;
    peer.answer(&request, 1..=1_000).await;
    tokio::time::sleep(5 * SECOND).await;
    let mut again = call(&alice, &peer, 60 * SECOND).await;
    let request = peer.request().await;
    peer.finish(&request, 1).await;
    assert_eq!(rest(&mut again).await, (vec![1], None));
    let (seqs, end) = rest(&mut unread).await;
    assert!(seqs.iter().copied().eq(1..=seqs.len() as u64));
    assert!(matches!(end, Some(ErrorKind::Timeout | ErrorKind::Backpressure)), "{end:?}");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_stops_sending_does_not_keep_a_call_alive() {
    let network = Loopback::new();
    let alice = start(&network, "alice").await;
    let mut peer = Peer::start(&network, "peer").await;
    let mut call = call(&alice, &peer, 10 * SECOND).await;
    let request = peer.request().await;
    let (sender, progress) = (peer.agent.clone(), peer.reply(&request, "1", false));
    let endless = tokio::spawn(async move {
        for seq in 1_u64.. {
            let next =
                progress.clone().with_id(ClientMsgId::random()).with_header(REPLY_SEQ, seq.to_string());
            sender.send(&next).await.expect("sent");
            tokio::time::sleep(SECOND / 100).await;
        }
    });
    let begun = tokio::time::Instant::now();
    // Slower than the peer, so that there always is a next one.
    let ending = loop {
        assert!(begun.elapsed() < 60 * SECOND, "it ends");
        if let Err(error) = call.next().await.expect("an error ends it") {
            break error;
        }
        tokio::time::sleep(SECOND / 50).await;
    };
    assert_eq!(ending.kind(), ErrorKind::Timeout);
    endless.abort();
}

#[tokio::test(start_paused = true)]
async fn the_reply_that_is_due_gets_through_however_many_came_early() {
    let network = Loopback::new();
    let alice = start(&network, "alice").await;
    let mut peer = Peer::start(&network, "peer").await;
    let mut call = call(&alice, &peer, 60 * SECOND).await;
    let request = peer.request().await;
    let reading = tokio::spawn(async move { rest(&mut call).await });
    for seq in (2..=1_025).rev() {
        peer.answer(&request, [seq]).await;
        tokio::task::yield_now().await;
    }
    peer.answer(&request, [1]).await;
    peer.finish(&request, 1_026).await;
    let (seqs, end) = reading.await.expect("no panic");
    assert!(seqs.into_iter().eq(1..=1_026));
    assert_eq!(end, None);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_leaves_a_hole_for_ever_ends_the_call_as_a_protocol_error() {
    let network = Loopback::new();
    let alice = start(&network, "alice").await;
    let mut peer = Peer::start(&network, "peer").await;
    let mut call = call(&alice, &peer, 60 * SECOND).await;
    let request = peer.request().await;
    let reading = tokio::spawn(async move { rest(&mut call).await });
    for seq in 2..=1_100 {
        peer.answer(&request, [seq]).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(reading.await.expect("no panic"), (vec![], Some(ErrorKind::Protocol)));
}

#[tokio::test(start_paused = true)]
async fn a_hole_at_the_deadline_is_named() {
    let network = Loopback::new();
    let alice = start(&network, "alice").await;
    let mut peer = Peer::start(&network, "peer").await;
    let call = call(&alice, &peer, 10 * SECOND).await;
    let request = peer.request().await;
    peer.answer(&request, [1, 3]).await;
    let error = soon(call.response()).await.expect_err("2 is missing");
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.to_string().contains("reply 2 is missing"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn numbers_that_make_no_sense_break_nothing() {
    let network = Loopback::new();
    let alice = start(&network, "alice").await;
    let mut peer = Peer::start(&network, "peer").await;
    let mut call = call(&alice, &peer, 60 * SECOND).await;
    let request = peer.request().await;
    for seq in ["0", "18446744073709551615", "1", "1", "-1", "99999999999999999999999", "0x2", ""] {
        let mut reply = peer.reply(&request, seq, false).with_header(REPLY_LAST, "perhaps");
        reply.headers.insert(REPLY_SEQ, seq);
        peer.agent.send(&reply).await.expect("sent");
    }
    peer.finish(&request, 6).await;
    // Those that are no number stand for the next one: nobody else could be meant.
    assert_eq!(rest(&mut call).await, ((1..=6).collect(), None));
}

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
async fn two_askers_that_use_one_id_both_get_their_replies() {
    let network = Loopback::new();
    let worker = start(&network, "worker").await;
    let handler = |request: Request| async move {
        request.reply(request.body().clone()).await?;
        Ok(())
    };
    let _serving = worker.serve(handler, ServeOptions::default()).await.expect("served");
    for name in ["alice", "bob"] {
        let asker = start(&network, name).await;
        let request = CallRequest::new(Body::text(name)).with_id(ClientMsgId::new("m-1").expect("id"));
        let reply = asker.call(worker.address(), request).await.expect("sent").response().await;
        assert_eq!(reply.expect("answered").body().as_str(), Some(name));
    }
}

#[tokio::test(start_paused = true)]
async fn replies_have_no_holes_whatever_a_handler_makes_of_errors() {
    let lost = Fate::Lost(ErrorKind::Timeout, Reached::Unknown);
    let refused = Fate::Lost(ErrorKind::RateLimited, Reached::Yes);
    for fates in [
        vec![lost, Fate::Works],
        vec![Fate::Unanswered],
        vec![refused],
        vec![Fate::Hangs],
        vec![Fate::Works, lost, lost, Fate::Unanswered],
    ] {
        let network = Loopback::new();
        let connector = Scripted::new(&network, "worker");
        let (alice, worker) = (start(&network, "alice").await, connector.start().await);
        connector.change(|script| script.sends = fates.clone().into());
        let handler = |request: Request| async move {
            for step in ["one", "two"] {
                // What a careless handler does.
                let _ = tokio::time::timeout(SECOND, request.progress(Body::text(step))).await;
            }
            request.reply(Body::text("done")).await?;
            Ok(())
        };
        let _serving = worker.serve(handler, ServeOptions::default()).await.expect("served");
        let request = CallRequest::new(Body::text("x")).with_timeout(60 * SECOND);
        let mut call = alice.call(worker.address(), request).await.expect("sent");
        let mut texts = Vec::new();
        while let Some(reply) = soon(call.next()).await {
            let reply = reply.unwrap_or_else(|error| panic!("{fates:?} gave {texts:?}, then {error}"));
            assert_eq!(reply.seq, texts.len() as u64 + 1);
            texts.push(reply.body().as_str().unwrap_or_default().to_owned());
        }
        assert_eq!(texts.last().map(String::as_str), Some("done"), "{fates:?}");
        let mut expected = vec!["one", "two", "done"];
        if matches!(fates[0], Fate::Lost(_, Reached::Yes)) {
            expected.remove(0);
        }
        assert_eq!(texts, expected, "{fates:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reply_repeated_after_an_error_is_one_reply() {
    let network = Loopback::new();
    let connector = Scripted::new(&network, "worker");
    let (alice, worker) = (start(&network, "alice").await, connector.start().await);
    connector.change(|script| script.sends = [Fate::Unanswered].into());
    let handler = |request: Request| async move {
        request.progress(Body::text("same")).await.expect_err("the answer is lost");
        request.progress(Body::text("same")).await?;
        request.reply(Body::text("same")).await?;
        Ok(())
    };
    let _serving = worker.serve(handler, ServeOptions::default()).await.expect("served");
    let mut call = alice.call(worker.address(), CallRequest::new(Body::text("x"))).await.expect("sent");
    assert_eq!(rest(&mut call).await, (vec![1, 2], None));
}

#[tokio::test(start_paused = true)]
async fn replies_made_at_the_same_time_are_numbered_one_after_the_other() {
    let network = Loopback::with_faults(LoopbackFaults::seeded(0).with_latency(SECOND / 10));
    let (alice, worker) = (start(&network, "alice").await, start(&network, "worker").await);
    let handler = |request: Request| async move {
        let all = (0..20).map(|number| request.progress(Body::text(number.to_string())));
        futures_util::future::try_join_all(all).await?;
        request.reply(Body::text("done")).await?;
        Ok(())
    };
    let _serving = worker.serve(handler, ServeOptions::default()).await.expect("served");
    let mut call = alice.call(worker.address(), CallRequest::new(Body::text("x"))).await.expect("sent");
    assert_eq!(rest(&mut call).await, ((1..=21).collect(), None));
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
