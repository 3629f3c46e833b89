//! Random operations over the machines, with their models as judges. The settings and what happens to an
//! input that fails are told in `fuzz-harness`; what is kept is in `fuzz/corpus/<machine>/`.

mod backoff;
mod parsing;

pub(crate) use fuzz_harness::Dice;
use fuzz_harness::Machine;

const MACHINES: [Machine; 7] = [
    Machine::new("backoff", backoff::run),
    Machine::new("lifecycle", crate::session::lifecycle::model::fuzz),
    Machine::new("outbox", crate::session::outbox::model::fuzz),
    Machine::new("order", crate::session::order::fuzz::run),
    Machine::new("inbox", crate::session::inbox::fuzz::run),
    Machine::new("dispatcher", crate::agent::fuzz_dispatcher),
    Machine::new("parsing", parsing::run),
];

#[test]
fn fuzz_machines() {
    fuzz_harness::run(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus"), &MACHINES);
}
