//! How much is remembered of requests.

use std::time::Duration;

/// How much is remembered of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestLimits {
    /// Requests that run at once; beyond it a new one is refused. Default 4,096.
    pub max_running: usize,
    /// Answered requests; beyond it the oldest are forgotten. Default 65,536.
    pub max_answered: usize,
    /// How long an answered request is remembered. It should be longer than a network delivers again.
    /// Default 24 hours.
    pub max_age: Duration,
    /// Bytes of answers; beyond it the oldest are given up, their requests stay. Default 16 MiB.
    pub max_answer_bytes: usize,
}

impl RequestLimits {
    /// These limits with another [`max_running`](Self::max_running).
    #[must_use]
    pub fn with_max_running(mut self, count: usize) -> Self {
        self.max_running = count;
        self
    }

    /// These limits with another [`max_answered`](Self::max_answered).
    #[must_use]
    pub fn with_max_answered(mut self, count: usize) -> Self {
        self.max_answered = count;
        self
    }

    /// These limits with another [`max_age`](Self::max_age).
    #[must_use]
    pub fn with_max_age(mut self, age: Duration) -> Self {
        self.max_age = age;
        self
    }

    /// These limits with another [`max_answer_bytes`](Self::max_answer_bytes).
    #[must_use]
    pub fn with_max_answer_bytes(mut self, bytes: usize) -> Self {
        self.max_answer_bytes = bytes;
        self
    }
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self {
            max_running: 4_096,
            max_answered: 65_536,
            max_age: Duration::from_secs(24 * 3_600),
            max_answer_bytes: 16 * 1024 * 1024,
        }
    }
}
