//! What a step of the session's machines takes, and what they keep, at a hundred thousand entries.

use std::time::{Duration, Instant};

use agentchat_core::bench_internals::{DedupBench, OrderBench, OutboxBench};
use agentchat_core::{Address, Body, ConversationId, Outbound};

use crate::alloc;
use crate::core::pair::SIZE;
use crate::rig::{ROUNDS, median, print};

/// A window that is full: a new id is met and settled, and the oldest one forgotten.
pub fn dedup() {
    // An id comes again when the window has forgotten it for long.
    let ids = identities(3 * ENTRIES);
    let mut window = DedupBench::new(ENTRIES);
    let mut round = 0;
    print_steps("core.dedup", || {
        let from = round % 3 * ENTRIES;
        round += 1;
        let start = Instant::now();
        ids[from..from + ENTRIES].iter().for_each(|id| window.step(id));
        start.elapsed()
    });
}

/// A row that is due, of each conversation in turn: it passes.
pub fn order() {
    let ids = conversations();
    let mut order = OrderBench::new(ENTRIES);
    let mut seq = 0;
    print_steps("core.order", || {
        seq += 1;
        let start = Instant::now();
        ids.iter().for_each(|id| order.step(id, seq));
        start.elapsed()
    });
}

/// A message is queued behind the others, the first of them is sent, and its receipt comes.
pub fn outbox() {
    let to = Address::parse("loopback://b").expect("valid");
    let messages = || -> Vec<Outbound> {
        (0..ENTRIES).map(|_| Outbound::new(to.clone(), Body::binary(vec![b'x'; SIZE]))).collect()
    };
    let mut outbox = OutboxBench::new(ENTRIES + 1);
    messages().into_iter().for_each(|message| outbox.push(message));
    print_steps("core.outbox", || {
        let messages = messages();
        let start = Instant::now();
        messages.into_iter().for_each(|message| outbox.step(message));
        start.elapsed()
    });
}

/// What the window keeps for the id of a settled message.
pub fn bytes_per_id() {
    let ids = identities(2 * ENTRIES);
    let (window, counted) = alloc::counted(|| {
        let mut window = DedupBench::new(ENTRIES);
        ids.iter().for_each(|id| window.step(id));
        window
    });
    print("core.bytes_per_id", counted.kept as f64 / ENTRIES as f64, "bytes", "the id has 46 characters");
    drop(window);
}

/// What is kept for a conversation of which no row waits.
pub fn bytes_per_idle_conversation() {
    let ids = conversations();
    let (order, counted) = alloc::counted(|| {
        let mut order = OrderBench::new(ENTRIES);
        ids.iter().for_each(|id| order.step(&ConversationId::new(id.as_str()).expect("valid"), 1));
        order
    });
    let each = counted.kept as f64 / ENTRIES as f64;
    print("core.bytes_per_idle_conversation", each, "bytes", "the id has 36 characters");
    drop(order);
}

/// The median of rounds of [`ENTRIES`] steps; the first one warms up.
fn print_steps(name: &str, mut round: impl FnMut() -> Duration) {
    let rounds: Vec<f64> = (0..=ROUNDS).map(|_| round().as_nanos() as f64 / ENTRIES as f64).collect();
    print(name, median(rounds[1..].to_vec()), "ns", "");
}

/// What messages are recognised by: an id of 36 characters and the sender's name.
fn identities(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("c{}\nworker-7", uuid_like(number))).collect()
}

fn conversations() -> Vec<ConversationId> {
    (0..ENTRIES).map(|number| ConversationId::new(uuid_like(number)).expect("valid")).collect()
}

/// 36 characters that differ in the middle and at the end.
fn uuid_like(number: usize) -> String {
    let mixed = (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("0191f1a2-{:04x}-7{:03x}-a000-{:012x}", mixed >> 48, mixed >> 36 & 0xfff, number)
}

const ENTRIES: usize = 100_000;
