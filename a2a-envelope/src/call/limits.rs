//! How many calls are kept, and for how long.

use std::time::Duration;

/// How many calls are kept, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallLimits {
    /// Calls that wait for an answer; beyond it a new one is refused. Default 1,024.
    pub max_open: usize,
    /// Calls that ended or timed out and can still be read; beyond it the oldest are forgotten. Default 1,024.
    pub max_kept: usize,
    /// How long they can be read. Default one hour.
    pub keep: Duration,
}

impl CallLimits {
    /// These limits with another [`max_open`](Self::max_open).
    #[must_use]
    pub fn with_max_open(mut self, count: usize) -> Self {
        self.max_open = count;
        self
    }

    /// These limits with another [`max_kept`](Self::max_kept).
    #[must_use]
    pub fn with_max_kept(mut self, count: usize) -> Self {
        self.max_kept = count;
        self
    }

    /// These limits with another [`keep`](Self::keep).
    #[must_use]
    pub fn with_keep(mut self, time: Duration) -> Self {
        self.keep = time;
        self
    }
}

impl Default for CallLimits {
    fn default() -> Self {
        Self { max_open: 1_024, max_kept: 1_024, keep: Duration::from_secs(3_600) }
    }
}
