//! What the fault scenarios share: seeds that can be replayed, sessions that reconnect fast, frames that can
//! be cut, a proxy that cuts bytes, and futures that are dropped wherever they wait.

#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "each test file uses its own part of this module"
)]

pub mod chopper;
pub mod drops;
pub mod frames;
pub mod script;
pub mod world;

use std::future::Future;
use std::ops::Range;
use std::time::Duration;

use agentchat_core::{BackoffPolicy, Connector, Delivery, Event, EventStream, Resilient, ResilientOptions};
use futures_util::StreamExt;

pub const MS: Duration = Duration::from_millis(1);
pub const SECOND: Duration = Duration::from_secs(1);

/// Tells on failure how to run the same again.
pub struct Seed(pub u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("this run again: FAULT_SEED={} cargo test …", self.0);
        }
    }
}

/// The usual seeds, or the one that `FAULT_SEED` names.
pub fn seeds(usual: Range<u64>) -> Vec<u64> {
    match std::env::var("FAULT_SEED") {
        Ok(seed) => vec![seed.parse().expect("FAULT_SEED is a number")],
        Err(_) => usual.collect(),
    }
}

/// What is awaited must come within an hour; in virtual time that costs nothing.
pub async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(3_600 * SECOND, future).await {
        Ok(output) => output,
        Err(_) => panic!("{what} did not end within an hour"),
    }
}

/// Sessions that come back fast and wait long.
pub fn options(seed: u64) -> ResilientOptions {
    let quick = BackoffPolicy::new().with_base(10 * MS).with_cap(200 * MS);
    ResilientOptions::new()
        .with_skip_own(false)
        .with_reconnect(quick)
        .with_retry(quick)
        .with_send_timeout(3_000 * SECOND)
        .with_call_timeout(30 * SECOND)
        .with_seed(seed)
}

pub async fn session(connector: impl Connector, seed: u64) -> Resilient {
    soon("connecting", Resilient::connect(connector, options(seed))).await.expect("connects")
}

/// The next message; `None` when nothing comes for so long.
pub async fn message(events: &mut EventStream, patience: Duration) -> Option<Delivery> {
    let until = tokio::time::Instant::now() + patience;
    loop {
        match tokio::time::timeout_at(until, events.next()).await {
            Ok(Some(Ok(Event::Message(delivery)))) => return Some(delivery),
            Ok(Some(Ok(_))) => {}
            Ok(other) => panic!("the subscription ended: {other:?}"),
            Err(_) => return None,
        }
    }
}

pub fn text(delivery: &Delivery) -> String {
    delivery.body.as_str().expect("text").to_owned()
}

/// How many tasks the runtime has.
pub fn tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}
