//! Random messages through every reader and every writer of answers, with their promises as judges. The settings
//! and what happens to an input that fails are told in `fuzz-harness`; what is kept is in `fuzz/corpus/reader/`.

mod inputs;
mod judge;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeSet;

use a2a_envelope::{Dialect, Headers, Limits, Received};
use fuzz_harness::{Dice, Machine};

const MACHINES: [Machine; 1] = [Machine::new("reader", run)];

fn run(dice: &mut Dice) {
    let input = inputs::message_of(dice);
    for outcome in judge::check(&input) {
        dice.reached(outcome);
    }
}

#[test]
fn no_message_breaks_a_promise() {
    fuzz_harness::run(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus"), &MACHINES);
}

#[test]
fn random_messages_are_of_every_dialect_and_most_are_changed() {
    let mut met = BTreeSet::new();
    let mut changed = 0;
    for seed in 0..2_000_u64 {
        // What a run draws from: bytes, and numbers that follow from them.
        let bytes: Vec<u8> = (0..24)
            .map(|at| (seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (at % 8 * 8)) as u8 ^ at as u8)
            .collect();
        let input = inputs::message_of(&mut Dice::of(&bytes));
        let Some((_, body)) = input.split_first() else { continue };
        changed += usize::from(!inputs::bodies().iter().any(|known| known.as_bytes() == body));
        if let Ok(got) = Received::read(Headers::new(), body.to_vec(), &Limits::default()) {
            met.insert(format!("{:?}", got.dialect));
        }
    }
    let all = [
        Dialect::Envelope,
        Dialect::Hermes,
        Dialect::JsonRpc,
        Dialect::JsonRpcLegacy,
        Dialect::BareA2a,
        Dialect::Opaque,
    ];
    assert_eq!(met, all.iter().map(|dialect| format!("{dialect:?}")).collect());
    assert!(changed > 1_000, "only {changed} are changed");
}
