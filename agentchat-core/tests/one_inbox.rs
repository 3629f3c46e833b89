//! Calls where an agent has no inbox but its own: replies come among everything else, and find their call.

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use agentchat_core::agent::{CallMode, REPLY_LAST, REPLY_SEQ};
use agentchat_core::{
    Agent, BackoffPolicy, Body, CallRequest, ClientMsgId, CloseMode, Connector, CorrelationId, ErrorKind,
    HandlerResult, Loopback, LoopbackFaults, Reached, Request, ResilientConnector, ResilientOptions,
    ServeOptions, SubscribeOptions,
};
use futures_util::future::join_all;
use futures_util::{FutureExt, StreamExt};
use support::peer::{Peer, call, rest};
use support::{SECOND, soon, start, text};
use tokio::sync::{Semaphore, mpsc};

fn network() -> Loopback {
    Loopback::with_faults(LoopbackFaults::seeded(0).with_one_inbox())
}

async fn echo(request: Request) -> HandlerResult {
    request.reply(request.body().clone()).await?;
    Ok(())
}

fn ask(words: &str) -> CallRequest {
    CallRequest::new(Body::text(words)).with_timeout(30 * SECOND)
}

async fn answer(from: &Agent, to: &Agent, words: &str) -> String {
    let call = from.call(to.address(), ask(words)).await.expect("sent");
    let reply = soon(call.response()).await.expect("answered");
    reply.body().as_str().expect("text").to_owned()
}

/// A handler that tells what it sees.
fn tells() -> (impl agentchat_core::agent::Handler, mpsc::UnboundedReceiver<String>) {
    let (seen, log) = mpsc::unbounded_channel();
    let handler = move |request: Request| {
        let seen = seen.clone();
        async move {
            seen.send(request.body().as_str().unwrap_or_default().to_owned())?;
            Ok(())
        }
    };
    (handler, log)
}

async fn heard(log: &mut mpsc::UnboundedReceiver<String>) -> String {
    soon(log.recv()).await.expect("the handler lives")
}

#[tokio::test(start_paused = true)]
async fn there_is_one_inbox_and_it_is_said() {
    let alice = start(&network(), "alice").await;
    assert!(!alice.capabilities().extra_inbox);
    let fresh = SubscribeOptions::fresh(SECOND);
    let refused = alice.transport().subscribe(fresh).await.expect_err("one inbox");
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    let own = SubscribeOptions::existing(alice.address().clone());
    assert!(alice.transport().subscribe(own).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn two_serving_agents_call_each_other() {
    let network = network();
    let (alice, bob) = (start(&network, "alice").await, start(&network, "bob").await);
    let _echo = alice.serve(echo, ServeOptions::default()).await.expect("served");
    let (back, to) = (bob.clone(), alice.address().clone());
    // Bob asks back, while Alice waits for his answer in the inbox that she serves.
    let handler = move |request: Request| {
        let (back, to) = (back.clone(), to.clone());
        async move {
            let asked = format!("{}?", request.body().as_str().unwrap_or_default());
            let call = back.call(&to, ask(&asked)).await?;
            request.reply(call.response().await?.body().clone()).await?;
            Ok(())
        }
    };
    let _back = bob.serve(handler, ServeOptions::default()).await.expect("served");
    assert_eq!(answer(&alice, &bob, "why").await, "why?");
    assert_eq!(answer(&bob, &alice, "so").await, "so");
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_serves_from_its_start_on_calls_too() {
    let network = network();
    let bob = start(&network, "bob").await;
    let _echo = bob.serve(echo, ServeOptions::default()).await.expect("served");
    let (handler, mut log) = tells();
    let connector = network.connector("alice").expect("a name");
    let alice =
        Agent::builder(connector).serve(handler, ServeOptions::default()).start().await.expect("starts");
    assert_eq!(answer(&alice, &bob, "one").await, "one");
    bob.send(&text(&alice, "mail")).await.expect("accepted");
    assert_eq!(heard(&mut log).await, "mail");
    assert!(log.recv().now_or_never().is_none(), "no reply reaches the handler");
}

#[tokio::test(start_paused = true)]
async fn what_waits_among_replies_is_kept_for_a_later_serving() {
    for faults in [LoopbackFaults::seeded(0), LoopbackFaults::seeded(0).with_cursor()] {
        let network = Loopback::with_faults(faults.with_one_inbox());
        let (alice, bob) = (start(&network, "alice").await, start(&network, "bob").await);
        let _echo = bob.serve(echo, ServeOptions::default()).await.expect("served");
        for number in 0..300 {
            bob.send(&text(&alice, &number.to_string())).await.expect("accepted");
        }
        assert_eq!(answer(&alice, &bob, "one").await, "one");
        bob.send(&text(&alice, "300")).await.expect("accepted");
        assert_eq!(answer(&alice, &bob, "two").await, "two");
        let (handler, mut log) = tells();
        let serving = alice.serve(handler, ServeOptions::default()).await.expect("served");
        let mut seen = BTreeSet::new();
        for _ in 0..=300 {
            seen.insert(heard(&mut log).await.parse::<u32>().expect("a number"));
        }
        assert!(seen.into_iter().eq(0..=300), "each once");
        assert_eq!(answer(&alice, &bob, "three").await, "three");
        let served = serving.stop(SECOND).await;
        assert_eq!((served.stats.handled, served.unsettled, served.unacknowledged), (301, 0, 0));
        assert!(log.recv().now_or_never().flatten().is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_kept_and_not_served_comes_to_the_next_attachment() {
    for faults in [LoopbackFaults::seeded(0), LoopbackFaults::seeded(0).with_cursor()] {
        let network = Loopback::with_faults(faults.with_one_inbox());
        let (alice, bob) = (start(&network, "alice").await, start(&network, "bob").await);
        let _echo = bob.serve(echo, ServeOptions::default()).await.expect("served");
        bob.send(&text(&alice, "mail")).await.expect("accepted");
        assert_eq!(answer(&alice, &bob, "one").await, "one");
        alice.close(CloseMode::Detach, SECOND).await.expect("closed");
        let alice = start(&network, "alice").await;
        let (handler, mut log) = tells();
        let _serving = alice.serve(handler, ServeOptions::default()).await.expect("served");
        assert_eq!(heard(&mut log).await, "mail");
    }
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_calls_finds_every_reply() {
    let network = network();
    let (alice, bob) = (start(&network, "alice").await, start(&network, "bob").await);
    let _echo = bob.serve(echo, ServeOptions::default()).await.expect("served");
    let numbers: Vec<_> = (0..64).map(|number: u32| number.to_string()).collect();
    let answers = join_all(numbers.iter().map(|number| answer(&alice, &bob, number))).await;
    assert_eq!(answers, numbers);
    let everybody = [bob.address().clone()];
    let many = alice.call_many(&everybody, ask("x"), CallMode::all()).await.expect("asked");
    assert_eq!(many.answers().count(), 1);
}

#[tokio::test(start_paused = true)]
async fn handlers_that_wait_for_replies_get_them_past_what_they_have_no_room_for() {
    let network = network();
    let (alice, bob) = (start(&network, "alice").await, start(&network, "bob").await);
    let _echo = bob.serve(echo, ServeOptions::default()).await.expect("served");
    let (caller, to, done) = (alice.clone(), bob.address().clone(), Arc::new(AtomicU32::new(0)));
    let counted = Arc::clone(&done);
    let handler = move |_: Request| {
        let (caller, to, done) = (caller.clone(), to.clone(), Arc::clone(&counted));
        async move {
            caller.call(&to, ask("x")).await?.response().await?;
            done.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
    };
    for number in 0..100 {
        bob.send(&text(&alice, &number.to_string())).await.expect("accepted");
    }
    let mut options = ServeOptions::default().with_concurrency(2);
    options.subscribe = SubscribeOptions::own().with_max_unsettled(2);
    let begun = tokio::time::Instant::now();
    let _serving = alice.serve(handler, options).await.expect("served");
    while done.load(Ordering::SeqCst) < 100 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(begun.elapsed() < SECOND, "no call waited for its deadline");
}

#[tokio::test(start_paused = true)]
async fn a_call_behind_more_than_is_kept_says_why_it_ends() {
    let network = network();
    let (alice, bob) = (start(&network, "alice").await, start(&network, "bob").await);
    let _echo = bob.serve(echo, ServeOptions::default()).await.expect("served");
    for number in 0..2_000 {
        bob.send(&text(&alice, &number.to_string())).await.expect("accepted");
    }
    let call = alice.call(bob.address(), ask("x")).await.expect("sent");
    let error = soon(call.response()).await.expect_err("its reply is out of reach");
    assert_eq!(error.kind(), ErrorKind::Backpressure, "{error}");
    assert!(error.to_string().contains("nobody serves"), "{error}");
    let error = alice.call(bob.address(), ask("x")).await.expect_err("nothing has changed");
    assert_eq!((error.kind(), error.reached()), (ErrorKind::Backpressure, Reached::No));
    let (handler, mut log) = tells();
    let _serving = alice.serve(handler, ServeOptions::default()).await.expect("served");
    assert_eq!(answer(&alice, &bob, "now").await, "now");
    for _ in 0..2_000 {
        heard(&mut log).await;
    }
    assert_eq!(alice.late_replies(), 1, "of the call that was given up");
}

#[tokio::test(start_paused = true)]
async fn a_served_inbox_that_is_full_is_named_by_the_timeout() {
    let network = network();
    let (alice, bob) = (start(&network, "alice").await, start(&network, "bob").await);
    let _echo = bob.serve(echo, ServeOptions::default()).await.expect("served");
    for number in 0..2_000 {
        bob.send(&text(&alice, &number.to_string())).await.expect("accepted");
    }
    let stuck = |_: Request| std::future::pending::<HandlerResult>();
    let _serving = alice.serve(stuck, ServeOptions::default()).await.expect("served");
    let call = alice.call(bob.address(), ask("x")).await.expect("sent");
    let error = soon(call.response()).await.expect_err("its reply is out of reach");
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.to_string().contains("full of messages"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn only_what_says_that_it_is_a_reply_is_dropped_as_late() {
    let network = network();
    let alice = start(&network, "alice").await;
    let mut bob = Peer::start(&network, "bob").await;
    let (handler, mut log) = tells();
    let _serving = alice.serve(handler, ServeOptions::default()).await.expect("served");
    let late = call(&alice, &bob, SECOND).await;
    let asked = bob.request().await;
    assert_eq!(late.response().await.expect_err("too late").kind(), ErrorKind::Timeout);
    bob.finish(&asked, 1).await;
    let marked = |words: &str, id: &str| {
        text(&alice, words)
            .with_correlation_id(CorrelationId::new(id).expect("an id"))
            .with_header(REPLY_SEQ, "1")
            .with_header(REPLY_LAST, "true")
    };
    bob.agent.send(&marked("of another life", "unknown")).await.expect("accepted");
    let unmarked = text(&alice, "news").with_correlation_id(CorrelationId::new("topic").expect("an id"));
    bob.agent.send(&unmarked).await.expect("accepted");
    assert_eq!(heard(&mut log).await, "news");
    let sent = text(&bob.agent, "tell me").with_correlation_id(CorrelationId::new("sent").expect("an id"));
    alice.send(&sent).await.expect("accepted");
    bob.agent.send(&marked("told", "sent")).await.expect("accepted");
    assert_eq!(heard(&mut log).await, "told", "what was sent and is no call is answered to the handler");
    assert_eq!(alice.late_replies(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_request_under_the_id_of_a_waiting_call_is_no_reply_to_it() {
    let network = network();
    let alice = start(&network, "alice").await;
    let _echo = alice.serve(echo, ServeOptions::default()).await.expect("served");
    let mut bob = Peer::start(&network, "bob").await;
    let mut waiting = call(&alice, &bob, 30 * SECOND).await;
    let asked = bob.request().await;
    let same = asked.correlation_id.clone().expect("a call has one");
    let back = bob.agent.call(alice.address(), ask("which?").with_correlation_id(same)).await.expect("sent");
    assert_eq!(soon(back.response()).await.expect("answered").body().as_str(), Some("which?"));
    assert!(waiting.next().now_or_never().is_none());
    bob.finish(&asked, 1).await;
    assert_eq!(rest(&mut waiting).await, (vec![1], None));
    assert_eq!(answer(&alice, &alice, "myself").await, "myself");
}

#[tokio::test(start_paused = true)]
async fn a_call_outlives_the_serving_and_what_that_left_comes_again() {
    let network = network();
    let alice = start(&network, "alice").await;
    let mut bob = Peer::start(&network, "bob").await;
    let gate = Arc::new(Semaphore::new(0));
    let shut = Arc::clone(&gate);
    let handler = move |_: Request| {
        let gate = Arc::clone(&shut);
        async move {
            drop(gate.acquire().await?);
            Ok(())
        }
    };
    let serving = alice.serve(handler, ServeOptions::default()).await.expect("served");
    bob.agent.send(&text(&alice, "slow")).await.expect("accepted");
    let mut call = call(&alice, &bob, 30 * SECOND).await;
    let asked = bob.request().await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    let served = serving.stop(SECOND).await;
    assert_eq!(served.unsettled, 1);
    bob.finish(&asked, 1).await;
    assert_eq!(rest(&mut call).await, (vec![1], None));
    let (handler, mut log) = tells();
    let _again = alice.serve(handler, ServeOptions::default()).await.expect("served");
    assert_eq!(heard(&mut log).await, "slow");
    assert!(log.recv().now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn closing_lets_handlers_finish_their_calls_and_ends_the_others() {
    for mode in [CloseMode::Detach, CloseMode::Retire] {
        let network = network();
        let alice = start(&network, "alice").await;
        let mut bob = Peer::start(&network, "bob").await;
        let (caller, to) = (alice.clone(), bob.agent.address().clone());
        let handler = move |_: Request| {
            let (caller, to) = (caller.clone(), to.clone());
            async move {
                caller.call(&to, ask("from a handler")).await?.response().await?;
                Ok(())
            }
        };
        let serving = alice.serve(handler, ServeOptions::default()).await.expect("served");
        bob.agent.send(&text(&alice, "go")).await.expect("accepted");
        let inner = bob.request().await;
        let outer = call(&alice, &bob, 300 * SECOND).await;
        let closing = tokio::spawn(async move { alice.close(mode, 60 * SECOND).await });
        tokio::time::sleep(SECOND).await;
        bob.finish(&inner, 1).await;
        let report = soon(closing).await.expect("no panic").expect("closed");
        assert!(report.drained);
        assert_eq!((report.unsettled, report.calls_ended), (0, 1));
        assert_eq!(outer.response().await.expect_err("closed").kind(), ErrorKind::Closed);
        assert_eq!(serving.wait().await.stats.handled, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_given_up_leaves_nothing_behind() {
    let network = network();
    let (alice, mut bob) = (start(&network, "alice").await, Peer::start(&network, "bob").await);
    for _ in 0..3 {
        let request = ask("x").with_id(ClientMsgId::new("m").expect("an id"));
        drop(alice.call(bob.agent.address(), request).await.expect("no call under this id is under way"));
    }
    let asked = bob.request().await;
    bob.finish(&asked, 1).await;
    let _echo = alice.serve(echo, ServeOptions::default()).await.expect("served");
    while alice.late_replies() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_inbox_ends_the_calls_that_wait_in_it() {
    let network = network();
    let (alice, mut bob) = (start(&network, "alice").await, Peer::start(&network, "bob").await);
    let unserved = call(&alice, &bob, 300 * SECOND).await;
    bob.request().await;
    network.cut();
    let error = soon(unserved.response()).await.expect_err("cut");
    assert_eq!(error.kind(), ErrorKind::Disconnected);
    let error = alice.call(bob.agent.address(), ask("x")).await.expect_err("cut");
    assert_eq!(error.kind(), ErrorKind::Disconnected);
}

#[tokio::test(start_paused = true)]
async fn calls_go_on_over_a_lost_connection_within_a_session() {
    let network = network();
    let soon_again = BackoffPolicy::new().with_base(Duration::from_millis(20));
    let options = ResilientOptions::new().with_reconnect(soon_again).with_retry(soon_again);
    let session =
        |name: &str| ResilientConnector::new(network.connector(name).expect("a name"), options.clone());
    let alice = Agent::builder(session("alice")).start().await.expect("started");
    let bob = Agent::builder(session("bob")).start().await.expect("started");
    let (gate, arrived) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicU32::new(0)));
    let (shut, count) = (Arc::clone(&gate), Arc::clone(&arrived));
    let slow = move |request: Request| {
        let (gate, count) = (Arc::clone(&shut), Arc::clone(&count));
        async move {
            count.fetch_add(1, Ordering::SeqCst);
            drop(gate.acquire().await?);
            request.reply(request.body().clone()).await?;
            Ok(())
        }
    };
    let _slow = bob.serve(slow, ServeOptions::default().with_concurrency(64)).await.expect("served");
    let calls = (0..64).map(|number| alice.call(bob.address(), ask(&number.to_string())));
    let calls = join_all(calls).await.into_iter().map(|call| call.expect("sent"));
    let calls: Vec<_> = calls.collect();
    while arrived.load(Ordering::SeqCst) < 64 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    network.cut();
    gate.add_permits(32);
    tokio::time::sleep(Duration::from_millis(5)).await;
    network.cut();
    gate.add_permits(1_000);
    let replies = join_all(calls.into_iter().map(|call| soon(call.response()))).await;
    for (number, reply) in replies.into_iter().enumerate() {
        assert_eq!(reply.expect("answered").body().as_str(), Some(number.to_string().as_str()));
    }
}

#[tokio::test(start_paused = true)]
async fn dropping_the_agent_ends_what_reads_its_inbox() {
    let network = network();
    let (alice, bob) = (start(&network, "alice").await, start(&network, "bob").await);
    let _echo = bob.serve(echo, ServeOptions::default()).await.expect("served");
    bob.send(&text(&alice, "mail")).await.expect("accepted");
    assert_eq!(answer(&alice, &bob, "one").await, "one");
    drop(alice);
    tokio::time::sleep(SECOND).await;
    let again = network.connector("alice").expect("a name").connect().await.expect("attached");
    let mut own = again.subscribe(SubscribeOptions::own()).await.expect("read");
    let event = soon(own.events.next()).await.expect("an event").expect("no error");
    let agentchat_core::Event::Message(mail) = event else { panic!("{event:?}") };
    assert_eq!(mail.body.as_str(), Some("mail"));
}
