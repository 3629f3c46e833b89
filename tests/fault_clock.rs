//! Clocks that jump: the time of day goes back and forth by hours, stands still, or a machine sleeps for a
//! day. Nothing is lost, repeated or expired by that, and whoever wakes comes back politely.

#[path = "support/fault/mod.rs"]
mod fault;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use agentchat_core::{
    Agent, AgentCard, Body, CallRequest, ConversationId, ErrorKind, Loopback, Outbound, Request,
    ServeOptions, SubscribeOptions, Transport,
};
use fault::frames::{Fate, Wire};
use fault::script::{self, Order};
use fault::{MS, SECOND, Seed, message, seeds, session, soon, text};

const HOUR: std::time::Duration = std::time::Duration::from_secs(3_600);

#[tokio::test(start_paused = true)]
async fn times_of_day_that_jump_by_hours_change_nothing() {
    for seed in seeds(0..4) {
        let _seed = Seed(seed);
        let network = Loopback::new();
        let (mut hours, mut dice) = (fastrand::Rng::with_seed(seed), fastrand::Rng::with_seed(seed));
        let wire = Wire::new(move |_| if dice.u32(0..100) == 0 { Fate::Cut } else { Fate::Pass })
            .with_skew(move || hours.i64(-48..48))
            .with_latency(MS);
        let behind = |name| wire.connector(name, network.connector(name).expect("a name"));
        script::run(behind("alice"), behind("bob"), 300, seed, 60 * SECOND).await;
    }
}

/// In virtual time the time of day hardly moves: to a session it looks as if it were set back all the time.
#[tokio::test(start_paused = true)]
async fn deadlines_run_by_what_passes_and_not_by_the_time_of_day() {
    let network = Loopback::new();
    let wire = Wire::clear();
    let alice = session(wire.connector("alice", network.connector("alice").expect("a name")), 0).await;
    let to = alice.address().clone();
    wire.judge(|frame| if frame.verb == "connect" { Fate::Cut } else { Fate::Pass });
    wire.cut_all();
    let note = Outbound::new(to, Body::text("x")).with_deadline(SystemTime::now() + 30 * SECOND);
    let began = tokio::time::Instant::now();
    let error = soon("sending", alice.send(&note)).await.expect_err("it is too late");
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!((29..=31).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());

    // A request that waits behind another for longer than its deadline is answered, not run.
    let bob = Agent::builder(network.connector("bob").expect("a name")).start().await.expect("started");
    let asker = Agent::builder(network.connector("asker").expect("a name")).start().await.expect("started");
    let run = Arc::new(AtomicU32::new(0));
    let ran = Arc::clone(&run);
    let handler = move |request: Request| {
        let ran = Arc::clone(&ran);
        async move {
            ran.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(60 * SECOND).await;
            request.reply(Body::text("done")).await?;
            Ok(())
        }
    };
    let _serving = bob.serve(handler, ServeOptions::default()).await.expect("served");
    let ask = |timeout: u32| {
        let line = ConversationId::new("line").expect("id");
        CallRequest::new(Body::text("x")).with_conversation(line).with_timeout(SECOND * timeout)
    };
    let first = asker.call(bob.address(), ask(600)).await.expect("sent");
    let second = asker.call(bob.address(), ask(30)).await.expect("sent");
    let answers = async { tokio::join!(first.response(), second.response()) };
    let (first, second) = soon("the answers", answers).await;
    assert_eq!(first.expect("done").body().as_str(), Some("done"));
    assert_eq!(second.expect_err("late").kind(), ErrorKind::Timeout);
    script::rest().await;
    assert_eq!(run.load(Ordering::Relaxed), 1, "nobody waits for the second any more");
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_slept_for_a_day_comes_back_politely_and_loses_nothing() {
    for seed in seeds(0..4) {
        let _seed = Seed(seed);
        let mut dice = fastrand::Rng::with_seed(seed);
        let network = Loopback::new();
        let asleep = Arc::new(AtomicBool::new(false));
        let (sleeps, reports) = (Arc::clone(&asleep), Arc::new(AtomicU32::new(0)));
        let counted = Arc::clone(&reports);
        let wire = Wire::new(move |frame| {
            if frame.verb == "report" {
                counted.fetch_add(1, Ordering::Relaxed);
            }
            if sleeps.load(Ordering::Relaxed) { Fate::Cut } else { Fate::Pass }
        })
        .with_latency(MS);
        let bob = session(wire.connector("bob", network.connector("bob").expect("a name")), seed).await;
        let card = AgentCard::new("bob", "sleeps").expect("a card");
        let agent = soon("starting", Agent::builder(bob.clone()).card(card).start()).await.expect("started");
        let order = Arc::new(Mutex::new(Order::default()));
        let handled = Arc::clone(&order);
        let handler = move |request: Request| {
            let handled = Arc::clone(&handled);
            async move {
                handled.lock().expect("no panic").add(request.body().as_str().expect("text"));
                Ok(())
            }
        };
        let _serving = soon("serving", agent.serve(handler, ServeOptions::default())).await.expect("served");
        let alice =
            Agent::builder(network.connector("alice").expect("a name")).start().await.expect("started");
        for number in 0..60 {
            let note = script::outbound(agent.address(), number);
            soon("sending", alice.send(&note)).await.expect("accepted");
            tokio::time::sleep(MS * dice.u32(0..5)).await;
            if number % 20 == 10 {
                // The connection dies while the machine sleeps, and the network takes a while to come back.
                asleep.store(true, Ordering::Relaxed);
                let (connects, beats) = (wire.connects("bob"), reports.load(Ordering::Relaxed));
                tokio::time::advance(25 * HOUR).await;
                tokio::time::sleep(SECOND).await;
                asleep.store(false, Ordering::Relaxed);
                tokio::time::sleep(SECOND).await;
                let (tried, reported) =
                    (wire.connects("bob") - connects, reports.load(Ordering::Relaxed) - beats);
                assert!((1..=24).contains(&tried), "{tried} attempts to connect within two seconds");
                assert!(reported <= 24, "{reported} heartbeats for one sleep");
            }
        }
        script::rest().await;
        order.lock().expect("no panic").check(60);
        assert_eq!(bob.stats().queued_messages, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_settled_before_a_long_sleep_is_not_handed_out_after_it() {
    let network = Loopback::new();
    let wire = Wire::clear();
    let bob = session(wire.connector("bob", network.connector("bob").expect("a name")), 0).await;
    let opened = soon("subscribing", bob.subscribe(SubscribeOptions::own())).await.expect("subscribed");
    let mut events = opened.events;
    for number in 0..3 {
        let note = script::outbound(bob.address(), number);
        soon("sending", bob.send(&note)).await.expect("accepted");
    }
    let mut tags = Vec::new();
    for number in 0..3 {
        let delivery = message(&mut events, SECOND).await.expect("a message");
        assert_eq!(text(&delivery), number.to_string());
        tags.push(delivery.tag);
    }
    // Settled here, but no acknowledgement gets through before the machine sleeps.
    wire.judge(|_| Fate::Cut);
    bob.ack(&tags).await.expect("settled");
    tokio::time::sleep(SECOND).await;
    tokio::time::advance(25 * HOUR).await;
    wire.judge(|_| Fate::Pass);
    let again = message(&mut events, 60 * SECOND).await;
    assert!(again.is_none(), "it was settled: {again:?}");
    assert_eq!(bob.stats().duplicates, 3, "the network did deliver it again");
}
