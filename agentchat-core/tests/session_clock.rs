//! A session with a store whose clock was set back since the store was last used.

mod support;

use std::sync::Arc;
use std::time::SystemTime;

use agentchat_core::store::{DedupStore, MemoryStore, StoreLimits};
use agentchat_core::{
    BackoffPolicy, Body, Connector, Delivery, ErrorKind, Event, EventStream, Loopback, Outbound, Resilient,
    ResilientOptions, SubscribeOptions, Transport,
};
use futures_util::StreamExt;
use support::{SECOND, Scripted, soon};

async fn session(worker: &Scripted, store: &Arc<MemoryStore>) -> (Resilient, EventStream) {
    let plain = BackoffPolicy::new().with_jitter(0.0);
    let options = ResilientOptions::new().with_reconnect(plain).with_retry(plain).with_seed(1);
    let options = options.with_store(Arc::clone(store));
    let session = soon(Resilient::connect(worker.clone(), options)).await.expect("connected");
    let events = soon(session.subscribe(SubscribeOptions::own())).await.expect("subscribed").events;
    (session, events)
}

async fn next(events: &mut EventStream) -> Option<Delivery> {
    loop {
        match tokio::time::timeout(60 * SECOND, events.next()).await.ok()? {
            Some(Ok(Event::Message(delivery))) => return Some(delivery),
            Some(Ok(_)) => {}
            other => panic!("no message: {other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_was_set_back_makes_a_full_store_forget_nothing_that_is_new() {
    let network = Loopback::new();
    let worker = Scripted::new(&network, "worker");
    let store = Arc::new(MemoryStore::with_limits(StoreLimits::default().with_max_settled(6)));
    // Settled yesterday by a clock that has been set back by a week since then.
    for number in 0..6 {
        let later = SystemTime::now() + 6 * 86_400 * SECOND;
        store.insert(&format!("s/before/{number}"), later).await.expect("kept");
    }
    let (first, mut inbox) = session(&worker, &store).await;
    let boss = network.connector("boss").expect("a name").connect().await.expect("connected");
    boss.send(&Outbound::new(first.address().clone(), Body::text("x"))).await.expect("sent");
    worker.change(|script| script.acks = [ErrorKind::Timeout; 50].into());
    let delivery = next(&mut inbox).await.expect("it comes");
    soon(first.ack(&[delivery.tag])).await.expect("settled");
    // As if the process had been killed.
    drop((first, inbox));
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    worker.change(|script| script.acks.clear());
    let (_second, mut inbox) = session(&worker, &store).await;
    let again = next(&mut inbox).await;
    assert!(again.is_none(), "it came after it was settled");
}
