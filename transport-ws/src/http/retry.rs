//! When a failed call is tried again: thinking only, no clock and no sleep.

use std::time::Duration;

use super::error::{ApiError, Failure};

/// How often and how long a call is tried again.
///
/// Tried again are calls that cannot be done twice by it: `GET`, `PUT` and `DELETE`, calls with an
/// idempotency key, and `send`, which the server knows by its `client_msg_id`. A time to wait that the
/// server names is a floor; if it is longer than [`RetryPolicy::longest_wait`] or than what is left of the
/// call's time, the error comes at once and carries it.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// Attempts in all (default 4).
    pub attempts: u32,
    /// The wait after the first failure (default 250 ms); it doubles from there.
    pub first_wait: Duration,
    /// No wait is longer (default 8 s).
    pub longest_wait: Duration,
    /// The share of a wait that is left to chance, either way (default 0.25).
    pub jitter: f64,
}

impl RetryPolicy {
    /// One attempt.
    pub fn none() -> Self {
        Self { attempts: 1, ..Self::default() }
    }

    /// Sets how many attempts are made in all; at least one is.
    pub fn with_attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts.max(1);
        self
    }

    /// Sets the first and the longest wait.
    pub fn with_waits(mut self, first: Duration, longest: Duration) -> Self {
        self.first_wait = first;
        self.longest_wait = longest;
        self
    }

    /// How long to wait before the next attempt after attempt number `attempt` failed; nothing when there is
    /// none. `chance` is from 0 to 1; `left` is what is left of the call's time.
    pub(crate) fn next(
        &self,
        error: &ApiError,
        repeatable: bool,
        attempt: u32,
        left: Option<Duration>,
        chance: f64,
    ) -> Option<Duration> {
        if !repeatable || attempt >= self.attempts || !may_help(error) {
            return None;
        }
        let hint = error.retry_after().unwrap_or_default();
        let wait = self.backoff(attempt, chance).max(hint);
        let too_long = hint > self.longest_wait || left.is_some_and(|left| wait >= left);
        (!too_long).then_some(wait)
    }

    fn backoff(&self, attempt: u32, chance: f64) -> Duration {
        let doubled = self.first_wait.saturating_mul(1 << (attempt.max(1) - 1).min(20));
        let factor = 1.0 + self.jitter.clamp(0.0, 1.0) * (2.0 * chance.clamp(0.0, 1.0) - 1.0);
        let wait = doubled.min(self.longest_wait).mul_f64(if factor.is_nan() { 1.0 } else { factor });
        Duration::from_millis(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX))
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 4,
            first_wait: Duration::from_millis(250),
            longest_wait: Duration::from_secs(8),
            jitter: 0.25,
        }
    }
}

/// Whether the same call may succeed later without anybody doing something.
fn may_help(error: &ApiError) -> bool {
    match error.failure() {
        Failure::Invalid | Failure::Unreadable => false,
        Failure::Connection | Failure::Timeout => true,
        Failure::Refused => {
            let transient = matches!(error.status(), Some(408 | 409 | 425 | 429 | 500 | 502 | 503 | 504));
            transient && error.advice() != agentchat_core::Advice::Never
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use agentchat_core::Reached;
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::http::Answer;

    fn refused(status: u16, retry_after: Option<u64>, code: &str) -> ApiError {
        let body = match code {
            "" => Bytes::new(),
            code => format!(r#"{{"code":"{code}","message":"m"}}"#).into(),
        };
        let retry_after = retry_after.map(Duration::from_secs);
        let head = Answer::head(reqwest::StatusCode::OK, &reqwest::header::HeaderMap::new());
        ApiError::refused("test", &Answer { status, retry_after, body, ..head })
    }

    fn next(error: &ApiError, attempt: u32) -> Option<u128> {
        RetryPolicy::default().next(error, true, attempt, None, 0.5).map(|wait| wait.as_millis())
    }

    #[test]
    fn the_defaults_are_the_documented_ones() {
        let policy = RetryPolicy::default();
        assert_eq!((policy.attempts, policy.jitter), (4, 0.25));
        assert_eq!((policy.first_wait.as_millis(), policy.longest_wait.as_millis()), (250, 8000));
        assert_eq!(RetryPolicy::none().attempts, 1);
    }

    #[test]
    fn waits_double_and_the_attempts_end() {
        let error = refused(503, None, "");
        let waits: Vec<_> = (1..=5).map(|attempt| next(&error, attempt)).collect();
        assert_eq!(waits, [Some(250), Some(500), Some(1000), None, None]);
        assert_eq!(RetryPolicy::default().next(&error, false, 1, None, 0.5), None, "not repeatable");
    }

    #[test]
    fn c15_retry_after_is_a_floor_and_exact() {
        for chance in [0.0, 1.0] {
            let wait =
                RetryPolicy::default().next(&refused(429, Some(2), "RATE_LIMITED"), true, 1, None, chance);
            assert_eq!(wait, Some(Duration::from_secs(2)));
        }
        assert_eq!(next(&refused(429, Some(0), "RATE_LIMITED"), 1), Some(250), "no hurry");
    }

    #[test]
    fn c18_retry_after_over_cap() {
        assert_eq!(next(&refused(429, Some(9), "RATE_LIMITED"), 1), None);
        assert_eq!(next(&refused(503, Some(60), ""), 1), None);
        let left = Some(Duration::from_secs(2));
        let error = refused(429, Some(2), "RATE_LIMITED");
        assert_eq!(RetryPolicy::default().next(&error, true, 1, left, 0.5), None, "longer than what is left");
    }

    #[test]
    fn only_what_may_help_is_tried_again() {
        for status in [408, 425, 429, 500, 502, 503, 504] {
            assert!(next(&refused(status, None, ""), 1).is_some(), "{status}");
        }
        for status in [400, 401, 403, 404, 409, 410, 413, 422, 501] {
            assert!(next(&refused(status, Some(1), ""), 1).is_none(), "{status}");
        }
        assert!(next(&refused(409, None, "IDEMPOTENT_IN_PROGRESS"), 1).is_some());
        for code in ["RATE_LIMITED", "COLD_CAP_EXCEEDED", "RECIPIENT_BACKLOGGED", "OTP_ATTEMPTS_EXHAUSTED"] {
            assert!(next(&refused(429, None, code), 1).is_none(), "{code}");
        }
        assert!(next(&refused(429, Some(1), "OTP_COOLDOWN"), 1).is_none());
        assert!(next(&ApiError::timeout("t", Reached::Unknown), 1).is_some());
        assert!(next(&ApiError::connection("t", Reached::No, ""), 1).is_some());
        assert!(next(&ApiError::invalid("t", ""), 1).is_none());
    }

    proptest! {
        #[test]
        fn a_wait_stays_in_its_bounds(attempt in 1_u32..4, chance in 0.0_f64..=1.0, hint in 0_u64..20) {
            let error = refused(429, Some(hint), "RATE_LIMITED");
            match RetryPolicy::default().next(&error, true, attempt, None, chance) {
                Some(wait) => {
                    let base = 250 << (attempt - 1);
                    prop_assert!(hint <= 8 && wait >= Duration::from_secs(hint));
                    prop_assert!(wait >= Duration::from_millis(base * 3 / 4) && wait <= Duration::from_secs(10));
                }
                None => prop_assert!(hint > 8),
            }
        }

        #[test]
        fn any_policy_thinks_without_panic(first: u64, longest: u64, jitter: f64, attempt: u32, chance: f64) {
            let waits = (Duration::from_millis(first), Duration::from_millis(longest));
            let policy = RetryPolicy { jitter, ..RetryPolicy::default() }.with_waits(waits.0, waits.1).with_attempts(u32::MAX);
            let _ = policy.next(&refused(503, None, ""), true, attempt, None, chance);
        }
    }
}
