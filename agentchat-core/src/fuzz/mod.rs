//! Random operations over the machines, with their models as judges.
//!
//! An input is a string of bytes that a machine's model reads as operations. Each run first replays the kept
//! inputs of `fuzz/corpus/<machine>/`, then makes new ones out of them and from nothing. An input that breaks
//! a promise or panics is made as small as it gets, written there, and printed; it is replayed from then on.
//!
//! - `FUZZ_SECONDS`: how long to look for new inputs, all machines together (default 2).
//! - `FUZZ_SEED`: what they are made from (default: another one each time).
//! - `FUZZ_MACHINE`: only this one.
//! - `FUZZ_KEEP=1`: replaces the kept inputs by the few that reach the most.

mod backoff;
mod corpus;
mod dice;
mod parsing;
mod quiet;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

pub(crate) use dice::Dice;

/// A machine and its judge, which panics when a promise is broken.
struct Machine {
    name: &'static str,
    run: fn(&mut Dice),
}

const MACHINES: [Machine; 6] = [
    Machine { name: "backoff", run: backoff::run },
    Machine { name: "outbox", run: crate::session::outbox::model::fuzz },
    Machine { name: "order", run: crate::session::order::fuzz::run },
    Machine { name: "inbox", run: crate::session::inbox::fuzz::run },
    Machine { name: "dispatcher", run: crate::agent::fuzz_dispatcher },
    Machine { name: "parsing", run: parsing::run },
];

#[test]
fn fuzz_machines() {
    let seconds = setting("FUZZ_SECONDS").unwrap_or(2);
    let seed = setting("FUZZ_SEED").unwrap_or_else(|| fastrand::u64(..));
    let only = std::env::var("FUZZ_MACHINE").ok();
    let chosen: Vec<&Machine> =
        MACHINES.iter().filter(|machine| only.as_ref().is_none_or(|only| only == machine.name)).collect();
    assert!(!chosen.is_empty(), "there is no machine {only:?}");
    let share = Duration::from_secs(seconds) / u32::try_from(chosen.len()).expect("a few");
    let mut failures = Vec::new();
    for machine in chosen {
        if let Err(failure) = search(machine, fastrand::Rng::with_seed(seed), share) {
            failures.push(format!("FUZZ_SEED={seed} {}: {failure}", machine.name));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Replays what is kept, then looks for more until the time is over.
fn search(machine: &Machine, mut dice: fastrand::Rng, time: Duration) -> Result<(), String> {
    let until = Instant::now() + time;
    let mut pool = corpus::read(machine.name)?;
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
                let path = corpus::write(machine.name, &input)?;
                return Err(format!("{what}\n{}\nwritten to {}", corpus::hex(&input), path.display()));
            }
        }
    }
    println!("{}: {kept} kept, {runs} new inputs, {} states and operations", machine.name, reached.len());
    if std::env::var_os("FUZZ_KEEP").is_some() {
        keep(machine, pool)?;
    }
    Ok(())
}

/// One run: what it reached, or how it failed.
fn attempt(machine: &Machine, input: &[u8]) -> Result<BTreeSet<u64>, String> {
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

/// The smallest input that still fails, and how.
fn smallest(machine: &Machine, mut input: Vec<u8>) -> (Vec<u8>, String) {
    let mut what = attempt(machine, &input).err().unwrap_or_else(|| "it fails only sometimes".to_owned());
    let mut tries = 0;
    let mut still_fails = |input: &[u8], what: &mut String| {
        tries += 1;
        let fails = if tries < TRIES { attempt(machine, input).err() } else { None };
        fails.map(|fails| *what = fails).is_some()
    };
    let mut chunk = input.len().div_ceil(2);
    while chunk > 0 {
        let mut at = 0;
        while at < input.len() {
            let mut shorter = input.clone();
            shorter.drain(at..(at + chunk).min(input.len()));
            if still_fails(&shorter, &mut what) {
                input = shorter;
            } else {
                at += chunk;
            }
        }
        chunk /= 2;
    }
    for at in 0..input.len() {
        let was = std::mem::replace(&mut input[at], 0);
        if was != 0 && !still_fails(&input, &mut what) {
            input[at] = was;
        }
    }
    (input, what)
}

/// Writes a few inputs that together reach the most: each time the one that adds most, the shortest of those.
fn keep(machine: &Machine, mut pool: Vec<Vec<u8>>) -> Result<(), String> {
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
    corpus::replace(machine.name, &chosen)
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number")))
}

/// How many inputs one run works with.
const MOST: usize = 4_096;
/// How many inputs of a machine are kept at most.
const KEPT: usize = 24;
/// How many runs making an input smaller may take.
const TRIES: u32 = 4_000;

#[test]
fn a_failing_input_is_found_and_made_as_small_as_it_gets() {
    fn run(dice: &mut Dice) {
        let mut sevens = 0;
        while !dice.is_spent() {
            sevens += u32::from(dice.u8(0..10) == 7);
            dice.reached(sevens);
        }
        assert!(sevens < 3, "three sevens");
    }
    let machine = Machine { name: "sevens", run };
    let mut dice = fastrand::Rng::with_seed(1);
    let mut pool: Vec<Vec<u8>> = Vec::new();
    let found = (0..10_000).find_map(|_| {
        let input = corpus::vary(&pool, &mut dice);
        match attempt(&machine, &input) {
            Ok(_) => {
                pool.push(input);
                None
            }
            Err(_) => Some(input),
        }
    });
    let (input, what) = smallest(&machine, found.expect("it is found"));
    assert_eq!(input.len(), 3, "{input:?}");
    assert!(what.contains("three sevens") && what.contains("fuzz"), "{what}");
}
