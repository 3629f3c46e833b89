//! From `send` to handler on a loopback network, against a bare channel.
//!
//! Ours: a task makes new messages (an id and a freshly allocated body of 500 bytes each) and sends them,
//! with up to 64 sends under way, to an inbox that holds 1,024; another task reads the inbox with credit for
//! as many, gives each body to a function, and settles what it read in batches of up to 256. Raw: a bounded
//! `tokio` channel for 1,024 bodies of the same size and making between two such tasks. Both run on the same
//! two workers, by turns, until the last message is handled (ours: settled).
//!
//! `bare` is that on attachments of the network, `resilient` with a session at each end, and `agent` from
//! `Agent::send` to a handler of `Agent::serve`.

use crate::alloc;
use crate::core::pair::{Kind, Pair, carry_raw, runtime};
use crate::rig::{median, per_second, print, print_ratio, process_cpu, timed};

pub fn ratio(name: &str, kind: Kind) {
    let runtime = runtime();
    let rounds = runtime.block_on(async {
        let mut pair = Pair::connect(kind).await;
        let mut rounds = Vec::new();
        for round in 0..=ROUNDS {
            let (ours, raw);
            if round % 2 == 0 {
                ours = measured(pair.carry(COUNT)).await;
                raw = measured(carry_raw(COUNT)).await;
            } else {
                raw = measured(carry_raw(COUNT)).await;
                ours = measured(pair.carry(COUNT)).await;
            }
            // The first round warms up: windows of remembered ids fill.
            if round > 0 {
                rounds.push((ours, raw));
            }
        }
        rounds
    });
    let rates: Vec<(f64, f64)> = rounds.iter().map(|(ours, raw)| (ours.0, raw.0)).collect();
    print_ratio(name, &rates, "messages per second");
    let cpu = |side: fn(&(Round, Round)) -> Round| median(rounds.iter().map(|round| side(round).1).collect());
    println!(
        "       processor ns per message: ours {:.0}, raw {:.0}",
        cpu(|round| round.0),
        cpu(|round| round.1)
    );
}

/// Messages per second, and the processor's nanoseconds for each.
type Round = (f64, f64);

async fn measured(work: impl Future<Output = ()>) -> Round {
    let before = process_cpu();
    let elapsed = timed(work).await;
    (per_second(COUNT, elapsed), (process_cpu() - before) * 1e9 / COUNT as f64)
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
