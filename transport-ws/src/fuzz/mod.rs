//! Random input to what reads the server's words, with judges. The settings and what happens to an input
//! that fails are told in `fuzz-harness`; what is kept is in `fuzz/corpus/<machine>/`.

mod frame;
mod json;
mod mapping;
mod page;
mod row;

use fuzz_harness::Machine;

const MACHINES: [Machine; 5] = [
    Machine::new("frame", frame::run),
    Machine::new("row", row::run),
    Machine::new("page", page::run),
    Machine::new("pack", mapping::pack),
    Machine::new("unpack", mapping::unpack),
];

#[test]
fn fuzz_decoders() {
    fuzz_harness::run(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus"), &MACHINES);
}
