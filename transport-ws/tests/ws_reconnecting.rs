//! Sessions over AgentChat: when they connect again, how long they wait, and what they settle where.
#![cfg(feature = "test-server")]

mod scripted;
mod ws_support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use agentchat_core::{
    Agent, BackoffPolicy, CloseMode, EventStream, Request, Resilient, ResilientOptions, ServeOptions,
    SessionEvent, SessionEvents, StateEvent, SubscribeOptions, Transport,
};
use futures_util::StreamExt;
use scripted::{Scripted, pushed};
use transport_ws::testing::{JournalEntry, Profile};
use ws_support::{World, message, within, word};

const BOTH: [Profile; 2] = [Profile::Current, Profile::Legacy];
const MILLI: Duration = Duration::from_millis(1);

fn policy(base: Duration) -> BackoffPolicy {
    BackoffPolicy::new().with_base(base)
}

/// A session of `bob`, and the reader that notices when its connection is lost.
async fn session(world: &World, policy: BackoffPolicy) -> (Resilient, EventStream) {
    let options = ResilientOptions::new().with_reconnect(policy);
    let session = within(Resilient::connect(world.connector("bob"), options)).await.expect("attached");
    let reading = session.subscribe(SubscribeOptions::own()).await.expect("read").events;
    (session, reading)
}

/// The next wait: the number of failures in a row, and how long it is.
async fn wait(events: &mut SessionEvents) -> (u32, Duration) {
    within(async {
        loop {
            let event = events.next().await.expect("it goes on");
            if let SessionEvent::State(StateEvent::BackingOff { attempt, wait_ms, .. }) = event {
                return (attempt, Duration::from_millis(wait_ms));
            }
        }
    })
    .await
}

async fn until_connected(world: &World, events: &mut SessionEvents) {
    within(async {
        while !matches!(events.next().await.expect("it goes on"), SessionEvent::Connected { .. }) {}
        world.server.until_sockets("bob", 1).await;
    })
    .await;
}

/// How many sockets were ever opened.
fn opened(world: &World) -> usize {
    world.server.journal().iter().filter(|entry| matches!(entry, JournalEntry::Opened { .. })).count()
}

fn is_about(waited: Duration, nominal: Duration) -> bool {
    // Told in whole milliseconds, a little after it was decided.
    waited + 40 * MILLI >= nominal.mul_f64(0.75) && waited <= nominal.mul_f64(1.25)
}

#[tokio::test]
async fn c50_backoff_curve() {
    let usual = BackoffPolicy::new();
    assert_eq!((usual.base, usual.cap), (Duration::from_millis(500), Duration::from_secs(30)));
    assert_eq!((usual.factor, usual.jitter), (2.0, 0.25));
    for profile in BOTH {
        let world = World::of(profile).await;
        // The usual times, 25 times as fast: the cap is 60 times the base.
        let (session, _reading) = session(&world, policy(20 * MILLI).with_cap(1_200 * MILLI)).await;
        let mut events = session.events();
        world.server.faults().refuse(true);
        world.server.faults().cut_all();
        for (failures, nominal) in (1..).zip([20, 40, 80, 160, 320, 640, 1_200, 1_200]) {
            let (attempt, waited) = wait(&mut events).await;
            assert_eq!(attempt, failures);
            assert!(
                is_about(waited, nominal * MILLI),
                "after {failures}: {waited:?}, not about {nominal} ms"
            );
        }
        world.server.faults().refuse(false);
        until_connected(&world, &mut events).await;
    }
}

#[tokio::test]
async fn c51_backoff_not_reset_by_flapping() {
    for profile in BOTH {
        let world = World::of(profile).await;
        let (session, _reading) = session(&world, policy(20 * MILLI)).await;
        let mut events = session.events();
        for failures in 1..=5 {
            world.server.kick("bob", 1001, "Server shutting down");
            // Whoever listens is told each time which one it is.
            let (attempt, waited) = wait(&mut events).await;
            assert_eq!(attempt, failures, "a connection that does not last forgives nothing");
            assert!(is_about(waited, 20 * MILLI * 2_u32.pow(failures - 1)), "after {failures}: {waited:?}");
            until_connected(&world, &mut events).await;
        }
    }
}

#[tokio::test]
async fn c52_backoff_reset_after_stable() {
    assert_eq!(BackoffPolicy::new().stable_after, Duration::from_secs(30));
    for profile in BOTH {
        let world = World::of(profile).await;
        let (session, _reading) = session(&world, policy(20 * MILLI).with_stable_after(200 * MILLI)).await;
        let mut events = session.events();
        world.server.faults().refuse(true);
        world.server.faults().cut_all();
        while wait(&mut events).await.0 < 3 {}
        world.server.faults().refuse(false);
        until_connected(&world, &mut events).await;
        tokio::time::sleep(300 * MILLI).await;
        world.server.kick("bob", 1001, "Server shutting down");
        let (attempt, waited) = wait(&mut events).await;
        assert!(attempt == 1 && is_about(waited, 20 * MILLI), "{attempt}: {waited:?}");
    }
}

#[tokio::test]
async fn c53_single_timer() {
    for profile in BOTH {
        let world = World::of(profile).await;
        let (session, _reading) = session(&world, policy(20 * MILLI)).await;
        let mut events = session.events();
        let before = opened(&world);
        // One socket with an error, a close and a cut, all at once.
        world.server.push_text("bob", &"x".repeat(3 * 1024 * 1024));
        world.server.kick("bob", 1011, "internal");
        world.server.faults().cut_all();
        until_connected(&world, &mut events).await;
        tokio::time::sleep(200 * MILLI).await;
        assert_eq!(opened(&world), before + 1, "{profile:?}: exactly one reconnect");
        assert_eq!(session.stats().connects, 2);
    }
}

#[tokio::test]
async fn c62_ack_mode_per_connection() {
    let server = Scripted::live(|number, mut line| async move {
        let granted = if number == 1 { "[]" } else { "[\"ack\"]" };
        line.greet(granted).await;
        // The backlog is read first; what comes meanwhile is live.
        tokio::time::sleep(300 * MILLI).await;
        line.text(pushed(&format!("m{number}"), number as u64 + 1, "hi")).await;
        line.listen(700 * MILLI).await;
        line.close().await;
    })
    .await;
    for number in 0..3 {
        let bob = within(agentchat_core::Connector::connect(&server.connector())).await.expect("attached");
        let mut events = bob.subscribe(SubscribeOptions::own()).await.expect("read").events;
        let delivery = message(&mut events).await;
        assert_eq!(delivery.id.as_str(), format!("m{number}"));
        bob.ack(&[delivery.tag]).await.expect("settled");
        while within(events.next()).await.is_some_and(|event| event.is_ok()) {}
    }
    let acks: Vec<usize> = server.heard().into_iter().map(|(number, _)| number).collect();
    assert_eq!(acks, [0, 2], "{:?}", server.heard());
}

#[tokio::test]
async fn c65_failed_not_cached() {
    for profile in BOTH {
        let world = World::of(profile).await;
        let agent = Agent::builder(world.connector("bob")).start().await.expect("started");
        let calls = Arc::new(AtomicUsize::new(0));
        let counting = Arc::clone(&calls);
        let handler = move |_: Request| {
            let calls = Arc::clone(&counting);
            async move {
                match calls.fetch_add(1, Ordering::Relaxed) {
                    0 => Err("the first time fails".into()),
                    _ => Ok(()),
                }
            }
        };
        let options = ServeOptions::default().with_retry(20 * MILLI, 20 * MILLI);
        let serving = agent.serve(handler, options).await.expect("served");
        let alice = world.attach("alice").await;
        let to = agentchat_core::Address::parse("agentchat://bob").expect("valid");
        let sent = agentchat_core::Outbound::new(to, agentchat_core::Body::text("a"));
        within(alice.send(&sent)).await.expect("accepted");
        within(world.server.until_stored("bob", 0)).await;
        within(async {
            while calls.load(Ordering::Relaxed) < 2 {
                tokio::time::sleep(5 * MILLI).await;
            }
        })
        .await;
        within(agent.close(CloseMode::Detach, Duration::from_secs(5))).await.expect("closed");
        drop(serving);
        assert_eq!(calls.load(Ordering::Relaxed), 2, "{profile:?}: called again, and then never more");
        let acks = if profile == Profile::Current { 1 } else { 0 };
        assert_eq!(world.acks(), acks, "{profile:?}");
    }
}

#[tokio::test]
async fn c77_crash_replay() {
    let world = World::new().await;
    let alice = world.attach("alice").await;
    let (connector, (told, handled)) = (world.connector("bob"), std::sync::mpsc::channel());
    // A process of its own, as far as it goes: its runtime ends in the middle of the handler.
    let process = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        runtime.spawn(async move {
            let agent = Agent::builder(connector).start().await.expect("started");
            let handler = move |request: Request| {
                let told = told.clone();
                async move {
                    told.send(request.body().as_str().unwrap_or_default().to_owned()).expect("heard");
                    std::future::pending::<()>().await;
                    Ok(())
                }
            };
            agent.serve(handler, ServeOptions::default()).await.expect("served").wait().await;
        });
        let word = handled.recv_timeout(Duration::from_secs(20)).expect("handled");
        runtime.shutdown_background();
        word
    });
    let to = agentchat_core::Address::parse("agentchat://bob").expect("valid");
    let sent = agentchat_core::Outbound::new(to, agentchat_core::Body::text("a"));
    within(alice.send(&sent)).await.expect("accepted");
    let word_then = tokio::task::spawn_blocking(|| process.join()).await.expect("run").expect("no panic");
    assert_eq!(word_then, "a");
    let bob = world.attach("bob").await;
    let mut events = bob.subscribe(SubscribeOptions::own()).await.expect("read").events;
    assert_eq!(word(&message(&mut events).await), "a", "at least once");
}

/// The lock of a test, which goes with it.
struct Lock(std::path::PathBuf);

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[tokio::test]
async fn c98_leader_lock_follower_takeover() {
    for profile in BOTH {
        let world = World::of(profile).await;
        let alice = world.attach("alice").await;
        let name = format!("transport-ws-{}.lock", agentchat_core::ClientMsgId::random());
        let lock = Lock(std::env::temp_dir().join(name));
        let (told, mut handled) = tokio::sync::mpsc::unbounded_channel();
        let bob = |which: &'static str| {
            let told = told.clone();
            let handler = move |request: Request| {
                let told = told.clone();
                async move {
                    let words = request.body().as_str().unwrap_or_default().to_owned();
                    let _ = told.send((which, words));
                    Ok(())
                }
            };
            let agent = Agent::builder(world.connector("bob")).leader_lock(&lock.0);
            agent.serve(handler, ServeOptions::default()).start()
        };
        let leader = within(bob("leader")).await.expect("started");
        let sockets = opened(&world);
        let follower = within(bob("follower")).await.expect("started");
        assert_eq!(opened(&world), sockets, "never two sockets at once: {profile:?}");
        let to = agentchat_core::Address::parse("agentchat://bob").expect("valid");
        let say = |words: &'static str| {
            agentchat_core::Outbound::new(to.clone(), agentchat_core::Body::text(words))
        };
        within(alice.send(&say("one"))).await.expect("accepted");
        assert_eq!(within(handled.recv()).await, Some(("leader", "one".to_owned())));
        within(world.server.until_stored("bob", 0)).await;
        // It goes without a word, as a process that dies.
        let begun = std::time::Instant::now();
        drop(leader);
        within(follower.lead()).await.expect("it leads");
        assert!(begun.elapsed() < Duration::from_secs(10), "{profile:?}: {:?}", begun.elapsed());
        within(alice.send(&say("two"))).await.expect("accepted");
        assert_eq!(within(handled.recv()).await, Some(("follower", "two".to_owned())), "{profile:?}");
        within(follower.close(CloseMode::Detach, Duration::from_secs(5))).await.expect("closed");
        assert!(handled.try_recv().is_err(), "each once, by one of them: {profile:?}");
    }
}
