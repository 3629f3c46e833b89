//! Timestamps: ISO 8601, with a zone, with any number of fraction digits.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The moment that a timestamp of the server names: `2026-11-21T19:12:33.989901+00:00`, `…Z` or `…+0100`; a
/// blank may stand for the `T`, and without a zone it is Greenwich. Nothing for what is no moment from 1970 to
/// 9999.
pub fn parse(text: &str) -> Option<SystemTime> {
    let (date, rest) = text.split_at_checked(10)?;
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let (clock, rest) = rest.split_at_checked(8)?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(clock, ':', [2, 2, 2])?;
    if !(1970..=9999).contains(&year)
        || !(1..=12).contains(&month)
        || !(1..=days_in(year, month)).contains(&day)
    {
        return None;
    }
    // A leap second counts as the first of the next minute.
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (nanos, zone) = fraction(rest)?;
    let seconds =
        days_since_epoch(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset(zone)?;
    UNIX_EPOCH.checked_add(Duration::new(u64::try_from(seconds).ok()?, nanos))
}

/// `2026-11-21 19:12`, in Greenwich.
pub(crate) fn minute(at: SystemTime) -> String {
    let seconds = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (mut days, of_day) = ((seconds / 86_400) as i64, seconds % 86_400);
    // 400 years are always as long; within them it is counted.
    let mut year = 1970 + days / DAYS_OF_400_YEARS * 400;
    days %= DAYS_OF_400_YEARS;
    while days >= days_of(year) {
        days -= days_of(year);
        year += 1;
    }
    let mut month = 1;
    while days >= days_in(year, month) {
        days -= days_in(year, month);
        month += 1;
    }
    format!("{year:04}-{month:02}-{:02} {:02}:{:02}", days + 1, of_day / 3600, of_day / 60 % 60)
}

/// Milliseconds since 1970; the far past is 1970.
pub(crate) fn unix_millis(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    u64::try_from(since).unwrap_or(u64::MAX)
}

fn numbers(text: &str, separator: char, widths: [usize; 3]) -> Option<[i64; 3]> {
    let mut parts = text.split(separator);
    let mut read = [0; 3];
    for (number, width) in read.iter_mut().zip(widths) {
        *number = digits(parts.next().filter(|part| part.len() == width)?)?;
    }
    parts.next().is_none().then_some(read)
}

fn digits(text: &str) -> Option<i64> {
    // No moment has a part of more.
    if text.is_empty() || text.len() > 9 {
        return None;
    }
    text.bytes().try_fold(0, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0')))
}

fn fraction(text: &str) -> Option<(u32, &str)> {
    let Some(rest) = text.strip_prefix(['.', ',']) else { return Some((0, text)) };
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    if end == 0 {
        return None;
    }
    let nanos = rest[..end].bytes().chain(std::iter::repeat(b'0')).take(9);
    Some((nanos.fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0')), &rest[end..]))
}

/// Seconds east of Greenwich. Without a zone it is Greenwich.
fn offset(zone: &str) -> Option<i64> {
    if matches!(zone, "" | "Z" | "z") {
        return Some(0);
    }
    let sign = if zone.starts_with('+') { 1 } else { -1 };
    let zone = zone.strip_prefix(['+', '-'])?;
    let (hours, minutes) = zone.split_at_checked(2)?;
    let minutes = minutes.strip_prefix(':').unwrap_or(minutes);
    let (hours, minutes) = (digits(hours)?, if minutes.is_empty() { 0 } else { digits(minutes)? });
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn days_of(year: i64) -> i64 {
    337 + days_in(year, 2)
}

fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let leaps = |year: i64| year / 4 - year / 100 + year / 400;
    let years = (year - 1970) * 365 + leaps(year - 1) - leaps(1969);
    years + (1..month).map(|month| days_in(year, month)).sum::<i64>() + day - 1
}

const DAYS_OF_400_YEARS: i64 = 146_097;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_spelling_seen_is_read() {
        for (text, seconds, nanos) in [
            ("1970-01-01T00:00:00Z", 0, 0),
            ("2026-11-21T19:12:33.989901+00:00", 1_795_288_353, 989_901_000),
            ("2026-11-21T19:12:33.9Z", 1_795_288_353, 900_000_000),
            ("2026-11-21 19:12:33", 1_795_288_353, 0),
            ("2026-11-21T21:12:33+02:00", 1_795_288_353, 0),
            ("2026-11-21T13:42:33.5-0530", 1_795_288_353, 500_000_000),
            ("2024-02-29T00:00:00Z", 1_709_164_800, 0),
            ("2000-12-31T23:59:60Z", 978_307_200, 0),
        ] {
            assert_eq!(parse(text), Some(UNIX_EPOCH + Duration::new(seconds, nanos)), "{text}");
        }
    }

    #[test]
    fn what_is_no_moment_is_nothing() {
        for text in [
            "",
            "2026",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00X",
            "1969-12-31T23:59:59Z",
            "2026-01-01T00:00:00+9",
            "2026-01-01é00:00:00Z",
            "-026-01-01T00:00:00Z",
            "2026-01-01T+1:00:00Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_moment_or_nothing(text in ".{0,40}") {
            let _ = parse(&text);
        }

        #[test]
        fn moments_are_in_the_order_of_their_texts(a in 0_i64..300_000_000_000, b in 0_i64..300_000_000_000) {
            let text = |ms: i64| {
                let at = UNIX_EPOCH + Duration::from_millis(ms as u64);
                format!("{}:{:02}.{:03}Z", minute(at), ms / 1000 % 60, ms % 1000)
            };
            prop_assert_eq!(parse(&text(a)).map(unix_millis), Some(a as u64));
            prop_assert_eq!(a.cmp(&b), parse(&text(a)).cmp(&parse(&text(b))));
        }
    }
}
