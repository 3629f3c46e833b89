//! Moments as A2A writes them.

/// Unix milliseconds as A2A writes a moment: ISO 8601 in UTC.
pub(crate) fn iso8601(unix_ms: u64) -> String {
    let (seconds, millis) = (unix_ms / 1_000, unix_ms % 1_000);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// The unix milliseconds of a moment in ISO 8601, in UTC or at an offset; `None` for any other text, and for one
/// before 1970.
pub(crate) fn unix_ms(text: &str) -> Option<u64> {
    let (date, time) = text.split_once(['T', 't'])?;
    let at = time.find(['Z', 'z', '+', '-'])?;
    let (time, zone) = time.split_at(at);
    let offset: i64 = match zone {
        "Z" | "z" => 0,
        zone => {
            let (hours, minutes) = zone[1..].split_once(':')?;
            let minutes = two(hours)? * 60 + two(minutes)?;
            if zone.starts_with('-') { -minutes } else { minutes }
        }
    };
    let mut date = date.splitn(3, '-');
    let year = date.next().filter(|year| year.len() == 4)?.parse::<u32>().ok().map(i64::from)?;
    let (month, day) = (two(date.next()?)?, two(date.next()?)?);
    let (clock, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let mut clock = clock.splitn(3, ':');
    let (hour, minute, second) = (two(clock.next()?)?, two(clock.next()?)?, two(clock.next()?)?);
    let legal =
        (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second < 61;
    if !legal || fraction.is_empty() || !fraction.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let millis: i64 = format!("{fraction:0<3}")[..3].parse().ok()?;
    // Years begin in March here, so that a leap day ends one.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let days =
        era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + (153 * month + 2) / 5 + day - 1 - 719_468;
    let seconds = ((days * 24 + hour) * 60 + minute - offset) * 60 + second;
    u64::try_from(seconds * 1_000 + millis).ok()
}

fn two(digits: &str) -> Option<i64> {
    let legal = digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_digit());
    if legal { digits.parse().ok() } else { None }
}

/// The date so many days after the epoch: years of 400 begin in March, so that a leap day ends one.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (year + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::{iso8601, unix_ms};

    #[test]
    fn moments_are_written_in_utc_with_leap_days() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_164_800_000, "2024-02-29T00:00:00.000Z"),
            (1_763_769_600_001, "2025-11-22T00:00:00.001Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(iso8601(ms), text);
            assert_eq!(unix_ms(text), Some(ms), "{text}");
        }
        for (text, ms) in [
            ("2000-02-29T01:00:00+01:00", Some(951_782_400_000)),
            ("2000-02-28t23:30:00.5-00:30", Some(951_782_400_500)),
            ("1970-01-01T00:00:00.123456789Z", Some(123)),
            ("1969-12-31T23:59:59Z", None),
            ("2000-02-29 00:00:00Z", None),
            ("2000-02-29T00:00:00", None),
            ("2000-13-01T00:00:00Z", None),
            ("2000-1-01T00:00:00Z", None),
            ("2000-01-01T00:00Z", None),
            ("2000-01-01T00:00:00.Z", None),
            ("2000-01-01T00:00:00é", None),
            ("", None),
        ] {
            assert_eq!(unix_ms(text), ms, "{text}");
        }
        assert!(iso8601(u64::MAX).ends_with('Z'));
    }
}
