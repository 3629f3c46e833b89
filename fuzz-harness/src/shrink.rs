//! Making an input that fails as small as it gets.

use crate::Machine;
use crate::search::attempt;

/// The smallest input that still fails, and how.
pub(crate) fn smallest(machine: &Machine, mut input: Vec<u8>) -> (Vec<u8>, String) {
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

/// How many runs making an input smaller may take.
const TRIES: u32 = 4_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dice, corpus};

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
        let machine = Machine::new("sevens", run);
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
        assert!(what.contains("three sevens") && what.contains("shrink.rs"), "{what}");
    }
}
