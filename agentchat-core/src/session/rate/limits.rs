//! How often messages may be sent.

use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};

/// How many attempts to send are begun in a time.
///
/// Permits come back evenly, one each `per / messages`, and up to `burst` of them are saved up. So no
/// span of time `w` sees more than `burst + w * messages / per` attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Quota {
    /// This many attempts …
    pub messages: u32,
    /// … in this time.
    pub per: Duration,
    /// How many may begin at once after a silence.
    pub burst: u32,
}

/// How often a session sends. The default is without limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RateLimits {
    /// For everything the agent sends.
    pub per_agent: Option<Quota>,
    /// For each conversation. Messages without one are only under the agent's quota.
    pub per_conversation: Option<Quota>,
}

impl Quota {
    /// `messages` in each `per`, and as many at once.
    pub const fn new(messages: u32, per: Duration) -> Self {
        Self { messages, per, burst: messages }
    }

    /// `messages` in each second, and as many at once.
    pub const fn per_second(messages: u32) -> Self {
        Self::new(messages, Duration::from_secs(1))
    }

    /// `messages` in each minute, and as many at once.
    pub const fn per_minute(messages: u32) -> Self {
        Self::new(messages, Duration::from_secs(60))
    }

    /// Sets how many may begin at once after a silence.
    pub const fn with_burst(mut self, burst: u32) -> Self {
        self.burst = burst;
        self
    }

    /// Until one permit comes back, rounded up so that a limit is never overstepped.
    pub(super) fn interval(&self) -> Duration {
        let nanos = self.per.as_nanos().div_ceil(u128::from(self.messages.max(1)));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    fn check(&self, whose: &str) -> Result<()> {
        let fault = if self.messages == 0 {
            "`messages` must be at least 1; leave the quota out for no limit"
        } else if self.burst == 0 {
            "`burst` must be at least 1, or nothing is ever sent"
        } else if self.per.is_zero() || self.per > LONGEST {
            "`per` must be longer than nothing and at most 366 days"
        } else if self.per.as_nanos() < u128::from(self.messages) {
            "`messages` must be at most one in each nanosecond of `per`"
        } else if self.interval().saturating_mul(self.burst) > LONGEST * 10 {
            "`burst` must come back within ten years"
        } else {
            return Ok(());
        };
        Err(Error::new(ErrorKind::Config, "rate", format!("`rate.{whose}`: {fault}")))
    }
}

impl RateLimits {
    /// No limits.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the quota for everything the agent sends.
    pub fn with_per_agent(mut self, quota: Quota) -> Self {
        self.per_agent = Some(quota);
        self
    }

    /// Sets the quota for each conversation.
    pub fn with_per_conversation(mut self, quota: Quota) -> Self {
        self.per_conversation = Some(quota);
        self
    }

    /// Checks that the quotas let something through and can be counted.
    ///
    /// # Errors
    /// [`ErrorKind::Config`], naming the quota and the field: zero `messages`, `burst` or `per`; a `per`
    /// over 366 days; more than one message in a nanosecond; a `burst` that takes over ten years to come
    /// back.
    pub fn check(&self) -> Result<()> {
        self.per_agent.map_or(Ok(()), |quota| quota.check("per_agent"))?;
        self.per_conversation.map_or(Ok(()), |quota| quota.check("per_conversation"))
    }
}

/// The longest time a quota may be counted in. Ten of it fit into the limiter's nanoseconds many times.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_that_let_nothing_through_or_cannot_be_counted_are_refused_by_name() {
        let good = Quota::per_minute(6);
        for (bad, field) in [
            (Quota::per_second(0), "`messages`"),
            (good.with_burst(0), "`burst`"),
            (Quota::new(1, Duration::ZERO), "`per`"),
            (Quota::new(1, LONGEST + Duration::from_nanos(1)), "`per`"),
            (Quota::new(2, Duration::from_nanos(1)), "`messages`"),
            (Quota::new(1, LONGEST).with_burst(11), "`burst`"),
            (Quota::per_second(1).with_burst(u32::MAX), "`burst`"),
        ] {
            for (limits, whose) in [
                (RateLimits::new().with_per_agent(bad), "per_agent"),
                (RateLimits::new().with_per_agent(good).with_per_conversation(bad), "per_conversation"),
            ] {
                let error = limits.check().expect_err(field);
                assert_eq!(error.kind(), ErrorKind::Config);
                let text = error.to_string();
                assert!(text.contains(field) && text.contains(whose), "{text}");
            }
        }
        let widest = Quota::new(1, LONGEST).with_burst(10);
        RateLimits::new().with_per_agent(widest).with_per_conversation(good).check().expect("valid");
        RateLimits::new().check().expect("no limits are valid");
    }

    #[test]
    fn the_interval_is_rounded_up() {
        assert_eq!(Quota::per_second(3).interval(), Duration::from_nanos(333_333_334));
    }
}
