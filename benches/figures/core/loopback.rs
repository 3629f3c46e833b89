//! From `send` to handler on a loopback network, against a bare channel.
//!
//! Ours: a task makes new messages (an id and a freshly allocated body of 500 bytes each) and sends them,
//! with up to 64 sends under way, to an inbox that holds 1,024; another task reads the inbox with credit for
//! as many, gives each body to a function, and settles what it read in batches of up to 256. Raw: a bounded
//! `tokio` channel for 1,024 bodies of the same size and making between two such tasks. Both run by turns,
//! until the last message is handled (ours: settled).
//!
//! The figure is taken with the sender on a worker that is kept on the first core and the receiver on one of
//! the second, for both kinds alike: two workers is what the limit of 2.9 million per second was measured
//! with. Left alone, the same two tasks come to run on one core for most of the time, on which a channel is
//! three times as fast, or change between the two. That case is measured apart, with one worker for both
//! sides, and printed below the figure.
//!
//! `bare` is that on attachments of the network, `resilient` with a session at each end, and `agent` from
//! `Agent::send` to a handler of `Agent::serve`.

use std::time::Instant;

use crate::alloc;
use crate::core::pair::{Kind, Pair, Workers, carry_raw};
use crate::rig::{median, per_second, print, print_ratio, process_cpu};

pub fn ratio(name: &str, kind: Kind) {
    let apart = rounds(kind, &Workers::apart());
    print_ratio(name, &rates(&apart), "messages per second");
    println!("       {}", processor(&apart));
    let together = rounds(kind, &Workers::together());
    let ratio = median(rates(&together).iter().map(|(ours, raw)| ours / raw).collect());
    println!("       on one worker: ratio {ratio:.3}; {}", processor(&together));
}

/// Allocations between making a message and having it settled, the body's own included.
pub fn allocations(name: &str, kind: Kind) {
    let workers = Workers::together();
    let mut pair = Pair::connect(kind, &workers);
    pair.carry(COUNT, &workers);
    let ((), counted) = alloc::counted(|| pair.carry(COUNT, &workers));
    print(name, counted.allocations as f64 / COUNT as f64, "allocations", "");
}

/// Messages per second, and the processor's nanoseconds for each.
#[derive(Clone, Copy)]
struct Round {
    rate: f64,
    processor: f64,
}

fn rounds(kind: Kind, workers: &Workers) -> Vec<(Round, Round)> {
    let mut pair = Pair::connect(kind, workers);
    let mut rounds = Vec::new();
    for round in 0..=ROUNDS {
        let (ours, raw);
        if round % 2 == 0 {
            ours = measured(|| pair.carry(COUNT, workers));
            raw = measured(|| carry_raw(COUNT, workers));
        } else {
            raw = measured(|| carry_raw(COUNT, workers));
            ours = measured(|| pair.carry(COUNT, workers));
        }
        // The first round warms up: windows of remembered ids fill.
        if round > 0 {
            rounds.push((ours, raw));
        }
    }
    rounds
}

fn measured(work: impl FnOnce()) -> Round {
    let (before, start) = (process_cpu(), Instant::now());
    work();
    let rate = per_second(COUNT, start.elapsed());
    Round { rate, processor: (process_cpu() - before) * 1e9 / COUNT as f64 }
}

fn rates(rounds: &[(Round, Round)]) -> Vec<(f64, f64)> {
    rounds.iter().map(|(ours, raw)| (ours.rate, raw.rate)).collect()
}

fn processor(rounds: &[(Round, Round)]) -> String {
    let ours = median(rounds.iter().map(|(ours, _)| ours.processor).collect());
    let raw = median(rounds.iter().map(|(_, raw)| raw.processor).collect());
    format!("processor ns per message: ours {ours:.0}, raw {raw:.0}")
}

const COUNT: usize = 100_000;
const ROUNDS: usize = 15;
