//! Maps by short texts, of which several are asked with every message.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};

/// A map by texts such as the server's ids. Hashing them costs a third of what it usually does, and each map is
/// keyed at random, so that nobody can choose texts that fall together.
pub(super) type TextMap<K, V> = HashMap<K, V, Keyed>;

/// The key of a map.
#[derive(Debug, Clone)]
pub(super) struct Keyed {
    seed: u64,
    factor: u64,
}

/// Multiplies the text into a word, eight bytes at a time.
#[derive(Debug)]
pub(super) struct Folding {
    state: u64,
    factor: u64,
}

impl Default for Keyed {
    fn default() -> Self {
        let random = RandomState::new();
        Self { seed: random.hash_one(0), factor: random.hash_one(1) | 1 }
    }
}

impl BuildHasher for Keyed {
    type Hasher = Folding;

    fn build_hasher(&self) -> Folding {
        Folding { state: self.seed, factor: self.factor }
    }
}

impl Folding {
    fn fold(&mut self, word: u64) {
        let product = u128::from(self.state ^ word) * u128::from(self.factor);
        // Both halves: the upper bits of a word reach the lower bits of the result only by the upper half.
        self.state = product as u64 ^ (product >> 64) as u64;
    }
}

impl Hasher for Folding {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.fold(u64::from_le_bytes(*word)));
        if !rest.is_empty() {
            let mut word = [0; 8];
            word[..rest.len()].copy_from_slice(rest);
            self.fold(u64::from_le_bytes(word));
        }
    }

    /// What ends a text.
    fn write_u8(&mut self, byte: u8) {
        self.fold(u64::from(byte));
    }

    fn finish(&self) -> u64 {
        self.state
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn texts_are_spread_over_the_bits_that_tables_look_at() {
        let keyed = Keyed::default();
        let names = (0..4096).flat_map(|number| [format!("msg_{number:016}"), format!("{number}")]);
        let hashes: Vec<u64> = names.map(|name| keyed.hash_one(name.as_str())).collect();
        let all: HashSet<u64> = hashes.iter().copied().collect();
        assert_eq!(all.len(), hashes.len());
        for shift in [0, 20, 50] {
            let mut buckets = [0; 256];
            hashes.iter().for_each(|hash| buckets[(hash >> shift) as usize & 0xff] += 1);
            // 32 in each on average.
            let fullest = buckets.iter().max().copied().unwrap_or_default();
            assert!(fullest < 80, "{fullest} of {} in one of 256 ({keyed:?})", hashes.len());
        }
    }

    #[test]
    fn maps_differ_in_their_keys() {
        let one = Keyed::default().hash_one("msg_1");
        assert!((0..8).any(|_| Keyed::default().hash_one("msg_1") != one));
    }
}
