//! The time of day for machines that have no clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// The time since the unix epoch, as the machines count it: told once, then it only goes on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    unix: Duration,
    at: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { unix: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(), at: Instant::now() }
    }

    pub(crate) fn now(&self) -> Duration {
        self.unix + self.at.elapsed()
    }

    /// The moment of `unix` for a timer; a far one is as good as a week.
    pub(crate) fn instant(&self, unix: Duration) -> Instant {
        self.at + unix.saturating_sub(self.unix).min(self.at.elapsed() + WEEK)
    }
}

const WEEK: Duration = Duration::from_secs(7 * 86_400);
