//! A budget of polls per second.

use std::time::{Duration, Instant};

/// Lets `per_second` through on average, and a short burst at once.
#[derive(Debug)]
pub(crate) struct Limiter {
    gap: Duration,
    /// The moment up to which the budget is spent.
    spent: Option<Instant>,
}

impl Limiter {
    pub(crate) fn new(per_second: u32) -> Self {
        Self { gap: Duration::from_secs(1) / per_second.max(1), spent: None }
    }

    /// When the next may go.
    pub(crate) fn ready_at(&self, now: Instant) -> Instant {
        self.spent.and_then(|spent| spent.checked_sub(self.gap * BURST)).map_or(now, |at| at.max(now))
    }

    /// One goes.
    pub(crate) fn take(&mut self, now: Instant) {
        self.spent = Some(self.spent.map_or(now, |spent| spent.max(now)) + self.gap);
    }

    /// How often each of `mailboxes` idle ones can be asked with half of the budget.
    pub(crate) fn idle_floor(&self, mailboxes: usize) -> Duration {
        self.gap.saturating_mul(2).saturating_mul(u32::try_from(mailboxes).unwrap_or(u32::MAX))
    }
}

const BURST: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_holds_over_a_second_and_allows_a_short_burst() {
        let start = Instant::now();
        let mut limiter = Limiter::new(100);
        let (mut now, mut gone) = (start, 0);
        while now < start + Duration::from_secs(1) {
            if limiter.ready_at(now) <= now {
                limiter.take(now);
                gone += 1;
            } else {
                now = limiter.ready_at(now);
            }
        }
        assert!((100..=100 + BURST + 1).contains(&gone), "{gone}");
    }

    #[test]
    fn many_idle_mailboxes_are_asked_less_often_each() {
        assert_eq!(Limiter::new(1000).idle_floor(1000), Duration::from_secs(2));
    }
}
