//! Looking for inputs that break a machine.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::shrink::smallest;
use crate::{Dice, Machine, corpus, quiet};

/// Replays what is kept, then looks for more until the time is over.
pub(crate) fn search(
    machine: &Machine,
    place: &Path,
    mut dice: fastrand::Rng,
    time: Duration,
) -> Result<(), String> {
    let until = Instant::now() + time;
    let mut pool = corpus::read(place)?;
    let mut reached = BTreeSet::new();
    for input in &pool {
        match attempt(machine, input) {
            Ok(here) => reached.extend(here),
            Err(what) => return Err(format!("a kept input fails: {what}\n{}", corpus::hex(input))),
        }
    }
    let (kept, mut runs) = (pool.len(), 0_u64);
    while Instant::now() < until {
        let input = corpus::vary(&pool, &mut dice);
        runs += 1;
        match attempt(machine, &input) {
            Ok(here) => {
                let before = reached.len();
                reached.extend(here);
                if reached.len() > before && pool.len() < MOST {
                    pool.push(input);
                }
            }
            Err(_) => {
                let (input, what) = smallest(machine, input);
                let path = corpus::write(place, &input)?;
                return Err(format!("{what}\n{}\nwritten to {}", corpus::hex(&input), path.display()));
            }
        }
    }
    println!("{}: {kept} kept, {runs} new inputs, {} states and operations", machine.name, reached.len());
    if std::env::var_os("FUZZ_KEEP").is_some() {
        keep(machine, place, pool)?;
    }
    Ok(())
}

/// One run: what it reached, or how it failed.
pub(crate) fn attempt(machine: &Machine, input: &[u8]) -> Result<BTreeSet<u64>, String> {
    let _quiet = quiet::Quiet::here();
    let run = catch_unwind(AssertUnwindSafe(|| {
        let mut dice = Dice::of(input);
        (machine.run)(&mut dice);
        dice.into_reached()
    }));
    run.map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        format!("{} {}", quiet::place(), text.unwrap_or("a panic without a message"))
    })
}

/// Writes a few inputs that together reach the most: each time the one that adds most, the shortest of those.
fn keep(machine: &Machine, place: &Path, mut pool: Vec<Vec<u8>>) -> Result<(), String> {
    pool.sort_by_key(Vec::len);
    let runs = pool.into_iter().map(|input| Ok((attempt(machine, &input)?, input)));
    let mut runs = runs.collect::<Result<Vec<_>, String>>()?;
    let mut reached = BTreeSet::new();
    let mut chosen = Vec::new();
    while chosen.len() < KEPT {
        let adds = |run: &(BTreeSet<u64>, Vec<u8>)| run.0.difference(&reached).count();
        // Of equals the last is taken, so the shortest come last.
        let Some(at) = (0..runs.len()).rev().max_by_key(|at| adds(&runs[*at])) else { break };
        if adds(&runs[at]) == 0 {
            break;
        }
        let (here, input) = runs.swap_remove(at);
        reached.extend(here);
        chosen.push(input);
    }
    corpus::replace(place, &chosen)
}

/// How many inputs one run works with.
const MOST: usize = 4_096;
/// How many inputs of a machine are kept at most.
const KEPT: usize = 24;
