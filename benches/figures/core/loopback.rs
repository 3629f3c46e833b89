//! From `send` to handler on a loopback network, against a bare channel.
//!
//! Ours: a task makes new messages (an id and a freshly allocated body of 500 bytes each) and sends them,
//! with up to 64 sends under way; another task reads the receiver's inbox with credit for 1,024 messages,
//! gives each body to a function, and settles what it read in batches. Raw: a bounded `tokio` channel for
//! 1,024 bodies of the same size and making between two such tasks. Both run on the same two workers, by
//! turns, until the last message is handled (ours: settled).

use crate::alloc;
use crate::core::pair::{Kind, Pair, carry_raw, runtime};
use crate::rig::{per_second, print, print_ratio, timed};

pub fn ratio(name: &str, kind: Kind) {
    let runtime = runtime();
    let rounds = runtime.block_on(async {
        let mut pair = Pair::connect(kind).await;
        let mut rounds = Vec::new();
        for round in 0..=ROUNDS {
            let (ours, raw);
            if round % 2 == 0 {
                ours = timed(pair.carry(COUNT)).await;
                raw = timed(carry_raw(COUNT)).await;
            } else {
                raw = timed(carry_raw(COUNT)).await;
                ours = timed(pair.carry(COUNT)).await;
            }
            // The first round warms up: windows of remembered ids fill.
            if round > 0 {
                rounds.push((per_second(COUNT, ours), per_second(COUNT, raw)));
            }
        }
        rounds
    });
    print_ratio(name, &rounds, "messages per second");
}

/// Allocations between making a message and having it settled, the body's own included.
pub fn allocations(name: &str, kind: Kind) {
    let runtime = runtime();
    let mut pair = runtime.block_on(Pair::connect(kind));
    runtime.block_on(pair.carry(COUNT));
    let ((), counted) = alloc::counted(|| runtime.block_on(pair.carry(COUNT)));
    print(name, counted.allocations as f64 / COUNT as f64, "allocations", "");
}

const COUNT: usize = 100_000;
const ROUNDS: usize = 15;
