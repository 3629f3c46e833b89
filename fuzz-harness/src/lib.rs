//! Random operations over state machines and parsers, with a model of each as its judge.
//!
//! An input is a string of bytes that a [`Machine`] reads as operations, by a [`Dice`]. [`run`] first
//! replays the kept inputs of `<corpus>/<machine>/`, then makes new ones out of them and from nothing. An
//! input that breaks a promise or panics is made as small as it gets, written there, and printed; it is
//! replayed from then on.
//!
//! - `FUZZ_SECONDS`: how long to look for new inputs, all machines together (default 2).
//! - `FUZZ_SEED`: what they are made from. Without it, always the same number, so that every run makes the
//!   same inputs in the same order, and a faster machine only gets further. `random` takes another one each
//!   time. It is printed.
//! - `FUZZ_MACHINE`: only this one.
//! - `FUZZ_KEEP=1`: replaces the kept inputs by the few that reach the most.

mod corpus;
mod dice;
mod quiet;
mod search;
mod shrink;

use std::path::Path;
use std::time::Duration;

pub use dice::Dice;

/// Something to be fuzzed, and its judge.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Machine {
    /// What it is called in settings, in messages and in the corpus.
    pub name: &'static str,
    /// One run. Panics when a promise is broken; tells the dice what it reached.
    pub run: fn(&mut Dice),
}

impl Machine {
    /// A machine.
    pub const fn new(name: &'static str, run: fn(&mut Dice)) -> Self {
        Self { name, run }
    }
}

/// Replays what is kept of each machine under `corpus`, then looks for more as the environment says.
///
/// # Panics
/// If a machine fails, with the seed, the input and where it was written; or if a setting is none.
pub fn run(corpus: impl AsRef<Path>, machines: &[Machine]) {
    let seconds = number("FUZZ_SECONDS").unwrap_or(2);
    let seed = seed(std::env::var("FUZZ_SEED").ok().as_deref());
    println!("FUZZ_SEED={seed}");
    let only = std::env::var("FUZZ_MACHINE").ok();
    let chosen: Vec<&Machine> =
        machines.iter().filter(|machine| only.as_ref().is_none_or(|only| only == machine.name)).collect();
    assert!(!chosen.is_empty(), "there is no machine {only:?}");
    let share = Duration::from_secs(seconds) / u32::try_from(chosen.len()).expect("a few");
    let mut failures = Vec::new();
    for machine in chosen {
        let place = corpus.as_ref().join(machine.name);
        if let Err(failure) = search::search(machine, &place, fastrand::Rng::with_seed(seed), share) {
            failures.push(format!("FUZZ_SEED={seed} {}: {failure}", machine.name));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// What the inputs are made from, by what `FUZZ_SEED` says.
fn seed(said: Option<&str>) -> u64 {
    match said {
        None => SEED,
        Some("random") => fastrand::u64(..),
        Some(number) => number.parse().unwrap_or_else(|_| panic!("FUZZ_SEED is no number and not `random`")),
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number")))
}

/// What inputs are made from when nothing else is said.
const SEED: u64 = 2_026;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_seed_every_run_makes_the_same_inputs() {
        let inputs = |seed| {
            let mut dice = fastrand::Rng::with_seed(seed);
            let mut pool = Vec::new();
            for _ in 0..100 {
                pool.push(corpus::vary(&pool, &mut dice));
            }
            pool
        };
        assert_eq!(inputs(seed(None)), inputs(SEED));
        assert_eq!(seed(Some("7")), 7);
        assert_ne!(inputs(seed(Some("random"))), inputs(seed(Some("random"))));
    }
}
