//! How long an answer asks to wait.

use std::time::{Duration, SystemTime};

/// Reads a `Retry-After` line: digits are seconds, else it is an HTTP date; what has passed is nothing to
/// wait for. Anything else (`60s`, `1.5`, `-1`) is no hint.
pub(crate) fn parse(line: &str, now: SystemTime) -> Option<Duration> {
    let line = line.trim();
    if line.is_empty() {
        return None;
    }
    if line.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(line.parse().unwrap_or(u64::MAX)).min(LONGEST));
    }
    if !line.bytes().any(|byte| byte.is_ascii_alphabetic()) {
        return None;
    }
    let date = httpdate::parse_http_date(line).ok()?;
    Some(date.duration_since(now).unwrap_or_default().min(LONGEST))
}

/// So that adding it to a moment cannot overflow.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn c16_retry_after_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let three = Some(Duration::from_secs(3));
        assert_eq!(parse("Sun, 06 Nov 1994 08:49:40 GMT", now), three);
        assert_eq!(parse("Sunday, 06-Nov-94 08:49:40 GMT", now), three);
        assert_eq!(parse("Sun Nov  6 08:49:40 1994", now), three);
        assert_eq!(parse("Sun, 06 Nov 1994 08:49:30 GMT", now), Some(Duration::ZERO));
    }

    #[test]
    fn c17_retry_after_garbage() {
        let now = SystemTime::now();
        for line in ["60s", "1.5", "-1", "", "  ", "2026-01-01", "soon", "+1", "1 2", "١"] {
            assert_eq!(parse(line, now), None, "{line:?}");
        }
        assert_eq!(parse(" 2 ", now), Some(Duration::from_secs(2)));
        assert_eq!(parse("0", now), Some(Duration::ZERO));
        assert_eq!(parse("99999999999999999999999", now), Some(LONGEST));
    }

    proptest! {
        #[test]
        fn any_line_is_a_wait_or_none(line in ".{0,40}") {
            let _ = parse(&line, SystemTime::now());
        }
    }
}
