//! When to try again: exponential, jittered, capped, forgotten only after a connection that lasted.

use std::time::Duration;

use tokio::time::Instant;

use crate::error::{Advice, Error, ErrorKind, Result};

/// How long to wait between attempts, and when to stop.
///
/// The wait after the n-th failure in a row is `base * factor^(n-1)`, at most `cap`, and then spread
/// evenly over `jitter` of itself to either side, so that clients cut off together do not come back
/// together. A wait the server asked for ([`Advice::After`]) lifts the lower end of that spread, also
/// above the cap.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct BackoffPolicy {
    /// The wait after the first failure (default 500 ms).
    pub base: Duration,
    /// What each further wait is multiplied by (default 2).
    pub factor: f64,
    /// The longest wait before jitter (default 30 s).
    pub cap: Duration,
    /// How much of a wait is random, to either side: 0 is none, 1 is from nothing to twice (default 0.25).
    pub jitter: f64,
    /// How many attempts are made in all, the first included (default `None`: no end).
    pub max_attempts: Option<u32>,
    /// How long a connection must have lived for former failures to be forgotten (default 30 s).
    pub stable_after: Duration,
}

impl BackoffPolicy {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the wait after the first failure.
    pub fn with_base(mut self, base: Duration) -> Self {
        self.base = base;
        self
    }

    /// Sets what each further wait is multiplied by.
    pub fn with_factor(mut self, factor: f64) -> Self {
        self.factor = factor;
        self
    }

    /// Sets the longest wait before jitter.
    pub fn with_cap(mut self, cap: Duration) -> Self {
        self.cap = cap;
        self
    }

    /// Sets how much of a wait is random, to either side.
    pub fn with_jitter(mut self, jitter: f64) -> Self {
        self.jitter = jitter;
        self
    }

    /// Sets how many attempts are made in all, the first included.
    pub fn with_max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = Some(attempts);
        self
    }

    /// Sets how long a connection must have lived for former failures to be forgotten.
    pub fn with_stable_after(mut self, stable_after: Duration) -> Self {
        self.stable_after = stable_after;
        self
    }

    /// Checks that the fields make sense together.
    ///
    /// # Errors
    /// [`ErrorKind::Config`], naming the field: a zero `base`, a `factor` that is not a number of at least
    /// 1, a `cap` below `base`, a `jitter` outside 0 to 1, zero `max_attempts`.
    pub fn check(&self) -> Result<()> {
        let fault = if self.base.is_zero() {
            "`base` must be longer than nothing"
        } else if !(self.factor.is_finite() && self.factor >= 1.0) {
            "`factor` must be a number of at least 1"
        } else if self.cap < self.base {
            "`cap` must be at least `base`"
        } else if !(0.0..=1.0).contains(&self.jitter) {
            "`jitter` must be between 0 and 1"
        } else if self.max_attempts == Some(0) {
            "`max_attempts` must be at least 1; leave it out for no end"
        } else {
            return Ok(());
        };
        Err(Error::new(ErrorKind::Config, "backoff", fault))
    }

    /// Whether `attempts` are all this policy allows.
    pub(super) fn exhausted(&self, attempts: u32) -> bool {
        self.max_attempts.is_some_and(|max| attempts >= max)
    }

    /// The wait after failure number `attempt`, before jitter, in seconds.
    fn seconds(&self, attempt: u32) -> f64 {
        let steps = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
        (self.base.as_secs_f64() * self.factor.powi(steps)).min(self.cap.as_secs_f64())
    }
}

impl Default for BackoffPolicy {
    fn default() -> Self {
        Self {
            base: Duration::from_millis(500),
            factor: 2.0,
            cap: Duration::from_secs(30),
            jitter: 0.25,
            max_attempts: None,
            stable_after: Duration::from_secs(30),
        }
    }
}

/// Counts failures in a row and says when to try again.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    policy: BackoffPolicy,
    attempt: u32,
    connected: Option<Instant>,
}

impl Backoff {
    /// No failures yet, under a policy that has been checked.
    pub(crate) fn new(policy: BackoffPolicy) -> Self {
        Self { policy, attempt: 0, connected: None }
    }

    /// An attempt failed, or a connection that counted as one was lost. Returns when to try again; `None`
    /// means give up: the advice is never, or the attempts are used up.
    pub(crate) fn failed(
        &mut self,
        now: Instant,
        advice: Advice,
        rng: &mut fastrand::Rng,
    ) -> Option<Instant> {
        self.lost(now);
        self.attempt = self.attempt.saturating_add(1);
        if advice == Advice::Never || self.policy.exhausted(self.attempt) {
            return None;
        }
        let floor = match advice {
            Advice::After(wait) => wait,
            _ => Duration::ZERO,
        };
        let delay = self.policy.seconds(self.attempt);
        let least = duration(delay * (1.0 - self.policy.jitter));
        let spread = duration(delay * self.policy.jitter * 2.0 * rng.f64());
        Some(now + least.max(floor).saturating_add(spread).min(FAR))
    }

    /// A connection was made. It says nothing yet: one that is lost at once counts as a failure.
    pub(crate) fn connected(&mut self, now: Instant) {
        self.connected = Some(now);
    }

    /// The connection was lost. Former failures are forgotten if it had lived long enough.
    pub(crate) fn lost(&mut self, now: Instant) {
        let lived = self.connected.take().map(|since| now.saturating_duration_since(since));
        if lived.is_some_and(|lived| lived >= self.policy.stable_after) {
            self.attempt = 0;
        }
    }

    /// How many failures there were in a row.
    pub(crate) fn attempt(&self) -> u32 {
        self.attempt
    }
}

fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(FAR)
}

/// Longer than any process lives, and still within what every platform's clock can add.
pub(super) const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

#[cfg(test)]
mod tests;
