//! Random messages through every reader and every writer of answers, with their promises as judges.
//!
//! An input is bytes: the first says which headers stand beside, the rest is the body. Each run first replays
//! the kept inputs of `fuzz/corpus/reader/`, then makes new ones out of them, out of the fixtures and from
//! nothing. An input that breaks a promise or panics is made as small as it gets, written there, and printed;
//! it is replayed from then on.
//!
//! - `FUZZ_SECONDS`: how long to look for new inputs (default 2).
//! - `FUZZ_SEED`: what they are made from (default: the same each time).
//! - `FUZZ_KEEP=1`: replaces the kept inputs by the few that reach the most.

mod corpus;
mod dice;
mod judge;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::panic::catch_unwind;
use std::time::{Duration, Instant};

use dice::Dice;

#[test]
fn no_message_breaks_a_promise() {
    let seconds = setting("FUZZ_SECONDS").unwrap_or(2);
    let seed = setting("FUZZ_SEED").unwrap_or(0x0A2A);
    let outcome = search(judge::check, Dice::new(seed), Duration::from_secs(seconds));
    if let Err(failure) = outcome {
        panic!("FUZZ_SEED={seed}: {failure}");
    }
}

/// What an input reached, or a panic.
type Judge = fn(&[u8]) -> BTreeSet<u64>;

/// Replays what is kept, then looks for more until the time is over.
fn search(judge: Judge, mut dice: Dice, time: Duration) -> Result<(), String> {
    let mut pool = corpus::read()?;
    let mut reached = BTreeSet::new();
    for input in &pool {
        reached.extend(
            attempt(judge, input)
                .map_err(|what| format!("a kept input fails: {what}\n{}", corpus::show(input)))?,
        );
    }
    let kept = pool.len();
    pool.extend(corpus::fixtures());
    let (until, mut runs) = (Instant::now() + time, 0_u64);
    while Instant::now() < until {
        let input = dice.vary(&pool);
        runs += 1;
        match attempt(judge, &input) {
            Ok(here) => {
                let before = reached.len();
                reached.extend(here);
                if reached.len() > before && pool.len() < MOST {
                    pool.push(input);
                }
            }
            Err(_) => {
                let (input, what) = smallest(judge, input);
                let path = corpus::write(&input)?;
                return Err(format!("{what}\n{}\nwritten to {}", corpus::show(&input), path.display()));
            }
        }
    }
    println!("reader: {kept} kept, {runs} new inputs, {} outcomes", reached.len());
    if std::env::var_os("FUZZ_KEEP").is_some() {
        keep(judge, pool)?;
    }
    Ok(())
}

fn attempt(judge: Judge, input: &[u8]) -> Result<BTreeSet<u64>, String> {
    catch_unwind(|| judge(input)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        text.or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("a panic without a message")
            .to_owned()
    })
}

/// The smallest input that still fails, and how.
fn smallest(judge: Judge, mut input: Vec<u8>) -> (Vec<u8>, String) {
    let mut what = attempt(judge, &input).err().unwrap_or_else(|| "it fails only sometimes".to_owned());
    let (mut chunk, mut tries) = (input.len().div_ceil(2), 0);
    while chunk > 0 && tries < TRIES {
        let mut at = 0;
        while at < input.len() {
            let mut shorter = input.clone();
            shorter.drain(at..(at + chunk).min(input.len()));
            tries += 1;
            match attempt(judge, &shorter) {
                Err(fails) => {
                    input = shorter;
                    what = fails;
                }
                Ok(_) => at += chunk,
            }
        }
        chunk /= 2;
    }
    (input, what)
}

/// Writes a few inputs that together reach the most: each time the one that adds most, the shortest of those.
fn keep(judge: Judge, mut pool: Vec<Vec<u8>>) -> Result<(), String> {
    pool.sort_by_key(Vec::len);
    let mut runs = Vec::new();
    for input in pool {
        runs.push((attempt(judge, &input)?, input));
    }
    let (mut reached, mut chosen) = (BTreeSet::new(), Vec::new());
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
    corpus::replace(&chosen)
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number")))
}

/// How many inputs one run works with.
const MOST: usize = 4_096;
/// How many inputs are kept at most.
const KEPT: usize = 48;
/// How many runs making an input smaller may take.
const TRIES: u32 = 4_000;

#[test]
fn a_failing_input_is_found_and_made_as_small_as_it_gets() {
    fn judge(input: &[u8]) -> BTreeSet<u64> {
        let sevens = input.iter().filter(|byte| **byte == b'7').count();
        assert!(sevens < 3, "three sevens");
        BTreeSet::from([sevens as u64])
    }
    let mut dice = Dice::new(1);
    let mut pool = vec![b"7 and more".to_vec()];
    let found = (0..100_000).find_map(|_| {
        let input = dice.vary(&pool);
        match attempt(judge, &input) {
            Ok(_) => {
                pool.push(input);
                None
            }
            Err(_) => Some(input),
        }
    });
    let (input, what) = smallest(judge, found.expect("it is found"));
    assert_eq!((input.as_slice(), what.as_str()), (b"777".as_slice(), "three sevens"));
}
