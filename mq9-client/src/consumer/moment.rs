//! Moments that cannot overflow: a wait comes from the application and may be as long as a number can say.

use std::time::{Duration, Instant};

/// `wait` after `now`, and thirty years at most.
pub(crate) fn after(now: Instant, wait: Duration) -> Instant {
    now.checked_add(wait.min(FAR)).unwrap_or(now)
}

/// As good as for ever; clocks can still add to it.
const FAR: Duration = Duration::from_secs(30 * 365 * 86_400);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_taken_as_it_is_unless_no_clock_shows_its_end() {
        let now = Instant::now();
        assert_eq!(after(now, Duration::from_secs(3)), now + Duration::from_secs(3));
        assert_eq!(after(now, Duration::MAX), now + FAR);
        assert!(after(after(now, Duration::MAX), Duration::MAX) > now);
    }
}
