//! Sessions whose network is away, or asks them to wait: how long they wait, as told and by the clock, over mq9 and
//! over AgentChat with a socket and without.

#[path = "support/hunt/mod.rs"]
mod hunt;

use std::sync::Arc;
use std::time::{Duration, Instant};

use agentchat_core::store::MemoryStore;
use agentchat_core::{
    BackoffPolicy, Body, Outbound, Resilient, ResilientOptions, SessionEvent, SessionEvents, StateEvent,
    SubscribeOptions, Transport,
};
use hunt::{Kind, MS, Net, SECOND, within};
use transport_ws::testing::HttpFault;

/// Where a connection is lost, AgentChat's calls ask for this much at least.
const FLOOR: Duration = Duration::from_millis(250);
/// What a loaded machine may take to say so.
const SLACK: Duration = Duration::from_millis(150);

async fn session(net: &Net, name: &str, policy: BackoffPolicy) -> Resilient {
    let connector = net.way(name).await.connector(Arc::new(MemoryStore::new()));
    let options = ResilientOptions::new().with_reconnect(policy).with_send_timeout(60 * SECOND);
    within(20, "connecting", Resilient::connect(connector, options)).await.expect("connected")
}

/// The next wait: the number of failures in a row, how long it is to be, and when that was told.
async fn wait(events: &mut SessionEvents) -> (u32, Duration, Instant) {
    within(20, "the next wait", async {
        loop {
            let event = events.next().await.expect("it goes on");
            if let SessionEvent::State(StateEvent::BackingOff { attempt, wait_ms, .. }) = event {
                return (attempt, Duration::from_millis(wait_ms), Instant::now());
            }
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waits_double_up_to_the_cap_and_are_waited_out_and_what_was_sent_goes_out_then() {
    let hunts = [Kind::Mq9, Kind::Mq9Robust, Kind::Current, Kind::Legacy, Kind::Poll].map(|kind| {
        tokio::spawn(async move {
            let net = Net::start(kind).await;
            let policy = BackoffPolicy::new().with_base(100 * MS).with_cap(800 * MS);
            let alice = session(&net, "alice", policy).await;
            let bob = session(&net, "bob", policy).await;
            let mut inbox = bob.subscribe(SubscribeOptions::own()).await.expect("subscribed").events;
            let reading = alice.subscribe(SubscribeOptions::own()).await.expect("subscribed").events;
            let mut events = alice.events();
            net.refuse(true).await;
            let note = Outbound::new(bob.address().clone(), Body::text("meanwhile"));
            let sending = alice.try_send(note).expect("there is room");
            let mut before = None;
            for (failures, nominal) in (1..).zip([100, 200, 400, 800, 800]) {
                let (attempt, waits, told) = wait(&mut events).await;
                assert_eq!(attempt, failures, "{kind:?}");
                let (least, spread) = (MS * nominal * 3 / 4, MS * nominal / 2);
                let least_asked = if net.place().is_some() { least.max(FLOOR) } else { least };
                assert!(
                    (least..=least_asked + spread).contains(&(waits + MS)),
                    "{kind:?}, after {failures}: {waits:?}, not about {nominal} ms"
                );
                if let Some((waited, since)) = before.replace((waits, told)) {
                    let passed = told.duration_since(since) + SLACK;
                    assert!(passed >= waited, "{kind:?}, after {failures}: {passed:?} of {waited:?}");
                }
            }
            net.refuse(false).await;
            within(30, "sending", sending).await.expect("accepted");
            let came = hunt::message(&mut inbox, 30 * SECOND).await.expect("it comes");
            assert_eq!(came.body.as_str(), Some("meanwhile"), "{kind:?}");
            drop(reading);
        })
    });
    for hunt in hunts {
        if let Err(died) = hunt.await {
            std::panic::resume_unwind(died.into_panic());
        }
    }
}

#[tokio::test]
async fn a_wait_that_is_asked_for_by_http_is_a_floor_for_connecting_without_a_socket() {
    let net = Net::start(Kind::Poll).await;
    let place = net.place().expect("AgentChat");
    let policy = BackoffPolicy::new().with_base(10 * MS).with_cap(20 * MS);
    for (status, asked) in [(429, "1"), (503, "2")] {
        let alice = session(&net, "alice", policy).await;
        let _reading = alice.subscribe(SubscribeOptions::own()).await.expect("subscribed").events;
        let mut events = alice.events();
        place.faults.repeat("GET /v1/agents/me", 1, HttpFault::status(status).retry_after(asked));
        net.refuse(true).await;
        let _ = wait(&mut events).await;
        net.refuse(false).await;
        let asked = SECOND * asked.parse().expect("a number");
        let begun = loop {
            let (_, waits, told) = wait(&mut events).await;
            if waits + MS >= asked {
                assert!(waits <= asked + 20 * MS, "{status}: {waits:?}");
                break told;
            }
        };
        let connected = async {
            while !matches!(events.next().await.expect("it goes on"), SessionEvent::Connected { .. }) {}
        };
        within(20, "connecting", connected).await;
        assert!(begun.elapsed() + SLACK >= asked, "{status}: {:?}", begun.elapsed());
    }
}
