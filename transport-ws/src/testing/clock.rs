//! Where the double's time comes from.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use super::engine::Moment;

/// Real time, or a test's own.
pub(crate) enum Clock {
    Real { begin: Instant, at: Moment },
    Manual(AtomicU64),
}

impl Clock {
    pub(crate) fn real() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Clock::Real { begin: Instant::now(), at: Moment::default().plus(since) }
    }

    pub(crate) fn manual(since_epoch: Duration) -> Self {
        Clock::Manual(AtomicU64::new(Moment::default().plus(since_epoch).0))
    }

    pub(crate) fn now(&self) -> Moment {
        match self {
            Clock::Real { begin, at } => at.plus(begin.elapsed()),
            Clock::Manual(at) => Moment(at.load(Ordering::Acquire)),
        }
    }

    /// Moves a test's clock on. Tells whether it is one.
    pub(crate) fn advance(&self, duration: Duration) -> bool {
        match self {
            Clock::Real { .. } => false,
            Clock::Manual(at) => {
                let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
                at.fetch_add(micros, Ordering::AcqRel);
                true
            }
        }
    }

    /// Returns at that moment; never, if the clock is a test's.
    pub(crate) async fn until(&self, moment: Moment) {
        match self {
            Clock::Real { begin, at } => tokio::time::sleep_until(*begin + moment.since(*at)).await,
            Clock::Manual(_) => std::future::pending().await,
        }
    }
}
