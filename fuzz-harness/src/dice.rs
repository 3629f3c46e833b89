//! What random operations are drawn from: bytes, so that a run can be kept, replayed and made smaller, or a
//! seed.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;

/// Draws numbers from bytes as long as there are any, then from a seed that follows from them.
#[derive(Debug)]
pub struct Dice {
    bytes: Vec<u8>,
    at: usize,
    rest: fastrand::Rng,
    reached: BTreeSet<u64>,
}

impl Dice {
    /// Draws from `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let rest = fastrand::Rng::with_seed(digest(&bytes));
        Self { bytes: bytes.to_vec(), at: 0, rest, reached: BTreeSet::new() }
    }

    /// Draws from `seed` alone.
    pub fn seeded(seed: u64) -> Self {
        Self { bytes: Vec::new(), at: 0, rest: fastrand::Rng::with_seed(seed), reached: BTreeSet::new() }
    }

    /// Whether all bytes are used up.
    pub fn is_spent(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// The bytes that are left; there are none after.
    pub fn take_rest(&mut self) -> Vec<u8> {
        let rest = self.bytes[self.at.min(self.bytes.len())..].to_vec();
        self.at = self.bytes.len();
        rest
    }

    /// Notes that an operation met a state: what makes inputs different.
    pub fn reached(&mut self, state_and_operation: impl Hash) {
        self.reached.insert(digest(&state_and_operation));
    }

    /// Every state and operation that was met.
    pub fn into_reached(self) -> BTreeSet<u64> {
        self.reached
    }

    /// A byte in `range`.
    pub fn u8(&mut self, range: Range<u8>) -> u8 {
        let within = self.u64(u64::from(range.start)..u64::from(range.end));
        u8::try_from(within).expect("within a range of bytes")
    }

    /// A number in `range`.
    pub fn usize(&mut self, range: Range<usize>) -> usize {
        let within = self.u64(range.start as u64..range.end as u64);
        usize::try_from(within).expect("within a range of usizes")
    }

    /// A number in `range`.
    pub fn u64(&mut self, range: Range<u64>) -> u64 {
        let width = range.end - range.start;
        assert!(width > 0, "a range has something in it");
        let bytes = match width - 1 {
            0..=0xff => 1,
            0x100..=0xffff => 2,
            _ => 8,
        };
        range.start + self.draw(bytes) % width
    }

    /// Yes or no.
    pub fn bool(&mut self) -> bool {
        self.draw(1) % 2 == 1
    }

    /// One of them; nothing of nothing.
    pub fn choice<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        if of.is_empty() { None } else { of.get(self.usize(0..of.len())) }
    }

    fn draw(&mut self, bytes: usize) -> u64 {
        if self.is_spent() {
            return self.rest.u64(..);
        }
        let end = (self.at + bytes).min(self.bytes.len());
        let drawn = self.bytes[self.at..end].iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        self.at = end;
        drawn
    }
}

fn digest(what: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}
