//! Identifiers, keys and codes, from one seeded generator.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::digest::hex;

/// Makes the same identifiers for the same seed and the same calls.
pub(crate) struct Ids {
    random: fastrand::Rng,
}

impl Ids {
    pub(crate) fn new(seed: u64) -> Self {
        Ids { random: fastrand::Rng::with_seed(seed) }
    }

    /// `<prefix>_` and 16 characters of base64url.
    pub(crate) fn id(&mut self, prefix: &str) -> String {
        format!("{prefix}_{}", URL_SAFE_NO_PAD.encode(self.bytes::<12>()))
    }

    /// A delivery's identifier. Random, so that nobody can lean on its sort order.
    pub(crate) fn delivery(&mut self) -> String {
        format!("del_{}", hex(&self.bytes::<16>()))
    }

    pub(crate) fn key(&mut self) -> String {
        format!("ac_{}", URL_SAFE_NO_PAD.encode(self.bytes::<32>()))
    }

    pub(crate) fn secret(&mut self) -> String {
        hex(&self.bytes::<32>())
    }

    pub(crate) fn code(&mut self) -> String {
        // Never a run of zeros, so that tests have wrong codes to guess with.
        format!("{:06}", self.random.u32(100_000..1_000_000))
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.random.fill(&mut bytes);
        bytes
    }
}
