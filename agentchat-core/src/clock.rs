//! Moments that cannot overflow: a wait may come from anywhere, and be as long as a number can say.

use std::time::Duration;

use tokio::time::Instant;

/// `wait` after `now`, or in thirty years when that cannot be told.
pub(crate) fn after(now: Instant, wait: Duration) -> Instant {
    now.checked_add(wait.min(FAR)).unwrap_or(now)
}

/// What stands for ever; clocks can still add to it.
pub(crate) const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_wait_is_too_long() {
        let now = Instant::now();
        assert_eq!(after(now, Duration::from_secs(3)), now + Duration::from_secs(3));
        assert_eq!(after(now, Duration::MAX), now + FAR);
        assert!(after(after(now, Duration::MAX), Duration::MAX) > now);
    }
}
