//! Sessions whose stores fail: at the n-th call for every n, for a while at random, and because the disk is
//! full. Whoever is refused is told and may try again; what was accepted arrives, what was settled does not come
//! again, and the store is whole afterwards.
//!
//! The full disk is a small file system of its own, which only root can mount; others skip it and say so.

#[path = "support/fault/mod.rs"]
mod fault;
mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use agentchat_core::store::{
    Cursor, CursorStore, DedupStore, DurableStore, MemoryStore, OutboxStore, ParkedReason, ParkedSend,
    SettledId, StoredSend,
};
use agentchat_core::{
    Advice, Body, ClientMsgId, CloseMode, Error, ErrorKind, Event, Loopback, Outbound, Resilient,
    ResilientOptions, Result, SubscribeOptions, Transport,
};
use async_trait::async_trait;
use fault::frames::{Fate, Wire};
use fault::script::{self, Order};
use fault::{MS, SECOND, options, text};
use futures_util::StreamExt;
use support::Scratch;

/// A store that fails when it is told to.
#[derive(Debug, Clone)]
struct Failing {
    inner: Arc<MemoryStore>,
    calls: Arc<AtomicU64>,
    /// Which calls fail: from the one, and before the other.
    fails: Arc<Mutex<(u64, u64)>>,
    /// Whether a call that fails was made all the same.
    made: bool,
}

impl Failing {
    fn new(from: u64, count: u64, made: bool) -> Self {
        let fails = Arc::new(Mutex::new((from, from + count)));
        Self { inner: Arc::default(), calls: Arc::default(), fails, made }
    }

    async fn call<T>(&self, change: impl Future<Output = Result<T>>) -> Result<T> {
        let number = self.calls.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(MS).await;
        let (from, to) = *self.fails.lock().expect("no panic");
        if (from..to).contains(&number) {
            if self.made {
                change.await?;
            }
            let error = Error::new(ErrorKind::Unexpected, "store", "as it was planned");
            return Err(error.with_advice(Advice::Backoff));
        }
        change.await
    }
}

#[async_trait]
#[rustfmt::skip]
impl OutboxStore for Failing {
    async fn save(&self, send: &StoredSend) -> Result<()> { self.call(self.inner.save(send)).await }
    async fn remove(&self, id: &ClientMsgId) -> Result<()> { self.call(self.inner.remove(id)).await }
    async fn load(&self) -> Result<Vec<StoredSend>> { self.call(self.inner.load()).await }
    async fn park(&self, id: &ClientMsgId, reason: &ParkedReason) -> Result<()> { self.call(self.inner.park(id, reason)).await }
    async fn parked(&self) -> Result<Vec<ParkedSend>> { self.call(self.inner.parked()).await }
    async fn unpark(&self, id: &ClientMsgId) -> Result<Option<StoredSend>> { self.call(self.inner.unpark(id)).await }
}

#[async_trait]
#[rustfmt::skip]
impl CursorStore for Failing {
    async fn get(&self, key: &str) -> Result<Option<Cursor>> { self.call(self.inner.get(key)).await }
    async fn set(&self, key: &str, cursor: &Cursor) -> Result<()> { self.call(self.inner.set(key, cursor)).await }
    async fn clear(&self, key: &str) -> Result<()> { self.call(self.inner.clear(key)).await }
    async fn list(&self, prefix: &str) -> Result<Vec<(String, Cursor)>> { self.call(self.inner.list(prefix)).await }
}

#[async_trait]
#[rustfmt::skip]
impl DedupStore for Failing {
    async fn insert(&self, id: &str, at: SystemTime) -> Result<()> { self.call(self.inner.insert(id, at)).await }
    async fn contains(&self, id: &str) -> Result<bool> { self.call(self.inner.contains(id)).await }
    async fn newest(&self, count: usize) -> Result<Vec<SettledId>> { self.call(self.inner.newest(count)).await }
    async fn forget_older_than(&self, time: SystemTime) -> Result<()> { self.call(self.inner.forget_older_than(time)).await }
}

/// Connects, and connects again while the store fails.
async fn session(wire: &Wire, network: &Loopback, name: &str, options: &ResilientOptions) -> Resilient {
    for _ in 0..200 {
        let behind = wire.connector(name, network.connector(name).expect("a name"));
        if let Ok(session) = Resilient::connect(behind, options.clone()).await {
            return session;
        }
        tokio::time::sleep(10 * MS).await;
    }
    panic!("{name} never connected");
}

/// How much is said, and how.
#[derive(Clone, Copy)]
struct Talk {
    count: u64,
    /// How many sends are under way at once. With more than one, those that are refused lose their place.
    at_once: usize,
    /// How long each message is.
    bytes: usize,
}

/// Two sessions and what they are made of.
struct Sides<'a> {
    wire: Wire,
    network: Loopback,
    options: [&'a ResilientOptions; 2],
}

impl Sides<'_> {
    async fn writer(&self) -> Resilient {
        session(&self.wire, &self.network, "alice", self.options[0]).await
    }

    async fn reader(&self) -> Resilient {
        session(&self.wire, &self.network, "bob", self.options[1]).await
    }
}

/// Sends until it is accepted; gives how often it was refused.
async fn send(session: &Resilient, note: Outbound) -> u32 {
    for refused in 0..2_000 {
        match session.send(&note).await {
            Ok(_) => return refused,
            Err(error) => assert!(error.kind() != ErrorKind::Closed, "the session ended: {error:?}"),
        }
        tokio::time::sleep(20 * MS).await;
    }
    panic!("a message was never accepted");
}

/// Reads and settles until all are settled; gives how often it had to begin again, and the last session.
async fn read(sides: &Sides<'_>, talk: Talk) -> (u32, Resilient) {
    let mut session = sides.reader().await;
    let (mut settled, mut begun) = (BTreeSet::new(), 0);
    while (settled.len() as u64) < talk.count {
        begun += 1;
        assert!(begun < 500, "only {} were settled", settled.len());
        let mut events = match session.subscribe(SubscribeOptions::own()).await {
            Ok(opened) => opened.events,
            Err(error) => {
                if error.kind() == ErrorKind::Closed {
                    session = sides.reader().await;
                }
                tokio::time::sleep(20 * MS).await;
                continue;
            }
        };
        let mut order = Order::default();
        while (settled.len() as u64) < talk.count {
            let event = tokio::time::timeout(60 * SECOND, events.next()).await;
            let event = event.unwrap_or_else(|_| panic!("nothing comes after {}", settled.len()));
            let Some(Ok(event)) = event else { break };
            let Event::Message(delivery) = event else { continue };
            let text = text(&delivery);
            let said = text.split(' ').next().expect("a word");
            if talk.at_once == 1 {
                order.add(said);
            }
            let number: u64 = said.parse().expect("a number");
            assert!(!settled.contains(&number), "{number} came again after it was settled");
            let mut tries = 0;
            while session.ack(std::slice::from_ref(&delivery.tag)).await.is_err() && tries < 500 {
                tries += 1;
                tokio::time::sleep(10 * MS).await;
            }
            assert!(tries < 500, "{number} could never be settled");
            settled.insert(number);
        }
    }
    (begun, session)
}

/// A talk over sessions with these options, with a cut now and then. Gives how often a send was refused, and
/// how often reading was begun, and whether all was closed in order.
async fn talk(options: [&ResilientOptions; 2], talk: Talk, seed: u64) -> (u32, u32, bool) {
    let mut dice = fastrand::Rng::with_seed(seed);
    let wire =
        Wire::new(move |_| if dice.u32(0..150) == 0 { Fate::Cut } else { Fate::Pass }).with_latency(MS);
    let sides = Sides { wire, network: Loopback::new(), options };
    let writer = sides.writer().await;
    let to = agentchat_core::Address::of("loopback", "bob").expect("an address");
    let notes = (0..talk.count).map(|number| {
        let mut note = script::outbound(&to, number);
        if talk.bytes > 0 {
            note.body = Body::text(format!("{number} {}", "x".repeat(talk.bytes)));
        }
        send(&writer, note)
    });
    let sending =
        futures_util::stream::iter(notes).buffered(talk.at_once).fold(0, async |sum, more| sum + more);
    let (refused, (begun, reader)) = tokio::join!(sending, read(&sides, talk));
    let mut closed = true;
    for session in [writer, reader] {
        // Closing itself may be cut, or say that the store does not follow.
        closed &= session.close(CloseMode::Detach).await.is_ok();
    }
    (refused, begun, closed)
}

fn quick(seed: u64) -> ResilientOptions {
    options(seed).with_send_timeout(20 * SECOND).with_call_timeout(5 * SECOND)
}

fn rounds(usual: u64) -> u64 {
    std::env::var("HUNT_ROUNDS").map_or(usual, |text| text.parse().expect("HUNT_ROUNDS is a number"))
}

struct Told(String);

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("it failed with {}", self.0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_at_any_call_costs_an_error_and_no_message() {
    let first = std::env::var("HUNT_SEED").map_or(0, |text| text.parse().expect("HUNT_SEED is a number"));
    let mut orderly = 0;
    for seed in first..first + rounds(1) {
        for at in 0..90 {
            for (length, made) in [(1, false), (1, true), (12, false)] {
                for side in 0..2 {
                    let told = Told(format!("seed {seed}, call {at}, {length} calls, {made}, side {side}"));
                    let failing = Failing::new(at, length, made);
                    let (bad, good) = (quick(seed).with_store(failing.clone()), quick(seed));
                    let good = good.with_store(MemoryStore::new());
                    let sides = if side == 0 { (&bad, &good) } else { (&good, &bad) };
                    let twelve = Talk { count: 12, at_once: 1, bytes: 0 };
                    let (.., closed) = talk([sides.0, sides.1], twelve, seed).await;
                    tokio::time::sleep(60 * SECOND).await;
                    let left = failing.inner.load().await.expect("it works again");
                    assert!(left.is_empty() || !closed, "{} messages stayed in the store", left.len());
                    orderly += u32::from(closed);
                    drop(told);
                }
            }
        }
    }
    assert!(orderly > 300, "{orderly}");
}

/// A file system of so many KiB, unmounted with the value.
struct Disk<'a>(&'a Path);

impl<'a> Disk<'a> {
    fn mount(at: &'a Path, kib: u32) -> Option<Self> {
        let size = format!("size={kib}k");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(at).output();
        mounted.is_ok_and(|it| it.status.success()).then_some(Self(at))
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).output();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_is_full_for_a_while_costs_errors_and_no_message() {
    for seed in 0..rounds(2) {
        let told = Told(format!("seed {seed}"));
        let scratch = Scratch::new("hunt-disk");
        let Some(_disk) = Disk::mount(scratch.path(), 2_800) else {
            return println!("skipped: a full disk needs root");
        };
        let mut dice = fastrand::Rng::with_seed(seed);
        let open =
            async |name: &str| Arc::new(DurableStore::open(scratch.path().join(name)).await.expect("opened"));
        let (writer, reader) = (open("writer").await, open("reader").await);
        let sides =
            (quick(seed).with_store(Arc::clone(&writer)), quick(seed).with_store(Arc::clone(&reader)));
        let large = Talk { count: 300, at_once: 60, bytes: 16_000 };
        let talking = talk([&sides.0, &sides.1], large, seed);
        let filler = scratch.path().join("filler");
        let filling = async {
            for _ in 0..5 {
                tokio::time::sleep(MS * dice.u32(10..120)).await;
                // As much as there is room for.
                let _ = std::fs::write(&filler, vec![0; 4 << 20]);
                tokio::time::sleep(MS * dice.u32(10..200)).await;
                std::fs::remove_file(&filler).expect("it is there");
            }
        };
        let ((refused, begun, _), ()) =
            tokio::time::timeout(Duration::from_secs(90), async { tokio::join!(talking, filling) })
                .await
                .expect("it ends");
        tokio::time::sleep(SECOND / 2).await;
        println!("seed {seed}: {refused} sends were refused, reading began {begun} times");
        drop(sides);
        for (store, name) in [(writer, "writer"), (reader, "reader")] {
            let closed = tokio::time::timeout(10 * SECOND, store.close()).await.expect("it ends");
            closed.unwrap_or_else(|error| panic!("{name}: {error}"));
            drop(store);
            let store = open(name).await;
            assert!(store.load().await.expect("readable").is_empty(), "{name} has something left");
        }
        drop(told);
    }
}
