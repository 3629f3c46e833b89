//! How a stream is read.

use std::time::Duration;

/// How a stream is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReaderOptions {
    /// How many replies wait at most for one before them. Default 256. A further one is let go, and the
    /// snapshot is asked for at once.
    pub max_held: usize,
    /// How many bytes of replies wait at most. Default 4 MiB.
    pub max_held_bytes: usize,
    /// How long a missing reply is waited for before the snapshot is asked for. Default 500 ms.
    pub hole_after: Duration,
    /// How often the snapshot is asked for before a hole is reported as a loss. Default 3.
    pub snapshot_tries: u32,
    /// After how long a silence the snapshot is asked for, because the end may have been lost. Default 30 s;
    /// `None` waits on.
    pub silent_after: Option<Duration>,
    /// Whether the first result is the only one, whatever it says: of a peer that marks no end. Default off.
    pub single: bool,
}

impl ReaderOptions {
    /// These options with other bounds on what waits.
    #[must_use]
    pub fn with_held(mut self, replies: usize, bytes: usize) -> Self {
        (self.max_held, self.max_held_bytes) = (replies, bytes);
        self
    }

    /// These options with another [`hole_after`](Self::hole_after).
    #[must_use]
    pub fn with_hole_after(mut self, interval: Duration) -> Self {
        self.hole_after = interval;
        self
    }

    /// These options with another [`snapshot_tries`](Self::snapshot_tries); 0 for a peer without snapshots.
    #[must_use]
    pub fn with_snapshot_tries(mut self, tries: u32) -> Self {
        self.snapshot_tries = tries;
        self
    }

    /// These options with another [`silent_after`](Self::silent_after).
    #[must_use]
    pub fn with_silent_after(mut self, interval: Option<Duration>) -> Self {
        self.silent_after = interval;
        self
    }

    /// These options for a request whose first result is the only one.
    #[must_use]
    pub fn with_single(mut self) -> Self {
        self.single = true;
        self
    }
}

impl Default for ReaderOptions {
    fn default() -> Self {
        Self {
            max_held: 256,
            max_held_bytes: 4 * 1024 * 1024,
            hole_after: Duration::from_millis(500),
            snapshot_tries: 3,
            silent_after: Some(Duration::from_secs(30)),
            single: false,
        }
    }
}
