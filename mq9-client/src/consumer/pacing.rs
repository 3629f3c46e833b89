//! How often an empty mailbox is asked again.

use std::time::{Duration, Instant};

use crate::error::{Advice, Error, ErrorKind, Result};

/// How often a mailbox is polled. The broker has no push and no long poll that wakes.
///
/// After a message, polls follow each other by [`hot`](Self::hot); as silence grows each wait is a
/// fixed part of it, so a message is late by a small part of the pause before it. With the defaults a
/// message that follows a pause of up to 2 s waits 2.5 ms on average and 10 ms at most, and a mailbox
/// silent for [`idle_after`](Self::idle_after) is asked once a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pacing {
    /// The shortest wait between two polls: 2 ms. At least 1 ms.
    pub hot: Duration,
    /// A wait is the silence so far divided by this: 200.
    pub decay: u32,
    /// The silence after which a mailbox counts as idle: 30 s.
    pub idle_after: Duration,
    /// The wait between polls of an idle mailbox, and the longest for any: 1 s. A poller with many idle
    /// mailboxes stretches it, so that they take at most half of its budget.
    pub idle: Duration,
    /// The wait after a first failed call, doubled by each further failure: 50 ms.
    pub backoff: Duration,
    /// The longest wait after failed calls, unless the error asks for more: 5 s.
    pub backoff_cap: Duration,
}

impl Pacing {
    /// Sets the shortest wait between two polls.
    pub fn with_hot(mut self, hot: Duration) -> Self {
        self.hot = hot;
        self
    }

    /// Sets the divisor of the silence.
    pub fn with_decay(mut self, decay: u32) -> Self {
        self.decay = decay;
        self
    }

    /// Sets the silence after which a mailbox is idle, and its wait from then on.
    pub fn with_idle(mut self, after: Duration, wait: Duration) -> Self {
        (self.idle_after, self.idle) = (after, wait);
        self
    }

    /// Sets the first and the longest wait after failed calls.
    pub fn with_backoff(mut self, first: Duration, cap: Duration) -> Self {
        (self.backoff, self.backoff_cap) = (first, cap);
        self
    }

    pub(crate) fn validate(&self) -> Result<()> {
        let fault = if self.hot < Duration::from_millis(1) {
            "the shortest wait between polls is 1 ms"
        } else if self.decay == 0 {
            "the silence cannot be divided by 0"
        } else if self.idle < self.hot {
            "an idle mailbox cannot be polled more often than a busy one"
        } else if self.backoff.is_zero() || self.backoff_cap < self.backoff {
            "the wait after failures must be above 0 and at most its cap"
        } else {
            return Ok(());
        };
        Err(Error::new(ErrorKind::Invalid, "pacing", fault))
    }
}

impl Default for Pacing {
    fn default() -> Self {
        Self {
            hot: Duration::from_millis(2),
            decay: 200,
            idle_after: Duration::from_secs(30),
            idle: Duration::from_secs(1),
            backoff: Duration::from_millis(50),
            backoff_cap: Duration::from_secs(5),
        }
    }
}

/// The clockless half of pacing: one mailbox's silence and failures.
#[derive(Debug)]
pub(crate) struct Pacer {
    pacing: Pacing,
    heard: Instant,
    failures: u32,
}

impl Pacer {
    /// A new mailbox is hot.
    pub(crate) fn new(pacing: Pacing, now: Instant) -> Self {
        Self { pacing, heard: now, failures: 0 }
    }

    /// A message came, or is expected.
    pub(crate) fn heard(&mut self, now: Instant) {
        self.heard = now;
    }

    /// A call succeeded.
    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
    }

    pub(crate) fn is_idle(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.heard) >= self.pacing.idle_after
    }

    /// How long to wait after a poll that brought nothing; `idle_floor` is what the poller can afford for an
    /// idle mailbox.
    pub(crate) fn wait(&self, now: Instant, idle_floor: Duration) -> Duration {
        if self.is_idle(now) {
            return self.pacing.idle.max(idle_floor);
        }
        (now.saturating_duration_since(self.heard) / self.pacing.decay)
            .clamp(self.pacing.hot, self.pacing.idle)
    }

    /// How long to wait after one more failure: doubling, capped, the upper half of it random.
    pub(crate) fn failed(&mut self, advice: Advice, rng: &mut fastrand::Rng) -> Duration {
        let doubled = self.pacing.backoff.saturating_mul(1 << self.failures.min(20));
        self.failures = self.failures.saturating_add(1);
        let wait = doubled.min(self.pacing.backoff_cap).mul_f64(0.5 + rng.f64() / 2.0);
        match advice {
            Advice::After(floor) => wait.max(floor),
            _ => wait,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_defaults_are_as_documented() {
        let pacing = Pacing::default();
        assert_eq!((pacing.hot, pacing.decay), (2 * MS, 200));
        assert_eq!((pacing.idle_after, pacing.idle), (30_000 * MS, 1000 * MS));
        assert_eq!((pacing.backoff, pacing.backoff_cap), (50 * MS, 5000 * MS));
        assert!(pacing.validate().is_ok());
        assert!(pacing.with_hot(Duration::ZERO).validate().is_err());
    }

    #[test]
    fn a_mailbox_in_use_hands_messages_on_well_within_ten_milliseconds() {
        let start = Instant::now();
        let mut rng = fastrand::Rng::with_seed(7);
        let mut late: Vec<Duration> = (0..500)
            .map(|_| {
                let pacer = Pacer::new(Pacing::default(), start);
                let sent = start + rng.u32(100..2000) * MS;
                let mut poll = start;
                while poll < sent {
                    poll += pacer.wait(poll, Duration::ZERO);
                }
                poll - sent
            })
            .collect();
        late.sort_unstable();
        assert!(late[250] < 4 * MS, "p50 {:?}", late[250]);
        assert!(late[499] <= 10 * MS, "worst {:?}", late[499]);
    }

    #[test]
    fn silence_slows_polling_until_the_mailbox_is_idle_and_a_message_wakes_it() {
        let start = Instant::now();
        let mut pacer = Pacer::new(Pacing::default(), start);
        let wait = |pacer: &Pacer, at: u32| pacer.wait(start + at * MS, Duration::ZERO);
        assert_eq!(wait(&pacer, 0), 2 * MS);
        assert_eq!(wait(&pacer, 10_000), 50 * MS);
        assert_eq!(wait(&pacer, 30_000), 1000 * MS);
        assert_eq!(pacer.wait(start + 30_000 * MS, 4000 * MS), 4000 * MS);
        pacer.heard(start + 60_000 * MS);
        assert_eq!(wait(&pacer, 60_001), 2 * MS);
        let slower = Pacer::new(Pacing::default().with_decay(20), start);
        assert_eq!(wait(&slower, 10_000), 500 * MS);
    }

    #[test]
    fn failures_back_off_to_the_cap_with_jitter_and_obey_the_brokers_delay() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut pacer = Pacer::new(Pacing::default(), Instant::now());
        let waits: Vec<_> = (0..12).map(|_| pacer.failed(Advice::Backoff, &mut rng)).collect();
        for (turn, wait) in waits.iter().enumerate() {
            let full = (50 * MS * (1 << turn)).min(5000 * MS);
            assert!(*wait >= full / 2 && *wait <= full, "turn {turn}: {wait:?}");
        }
        assert_ne!(waits[10], waits[11], "jitter");
        assert_eq!(pacer.failed(Advice::After(60_000 * MS), &mut rng), 60_000 * MS);
        pacer.succeeded();
        assert!(pacer.failed(Advice::Reconnect, &mut rng) <= 50 * MS);
    }
}
