//! Moments as the server writes them.

use std::time::Duration;

/// Microseconds since 1970, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Moment(pub(crate) u64);

impl Moment {
    pub(crate) fn plus(self, duration: Duration) -> Moment {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Moment(self.0.saturating_add(micros))
    }

    pub(crate) fn since(self, earlier: Moment) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    pub(crate) fn second(self) -> u64 {
        self.0 / MICROS
    }

    /// As the database prints it: microseconds without trailing zeros, offset spelled out.
    pub(crate) fn database(self) -> String {
        let (date, clock) = self.date_and_clock();
        let micros = self.0 % MICROS;
        if micros == 0 {
            return format!("{date}T{clock}+00:00");
        }
        let fraction = format!("{micros:06}");
        format!("{date}T{clock}.{}+00:00", fraction.trim_end_matches('0'))
    }

    /// As JavaScript prints it: three digits and a `Z`.
    pub(crate) fn javascript(self) -> String {
        let (date, clock) = self.date_and_clock();
        format!("{date}T{clock}.{:03}Z", self.0 % MICROS / 1000)
    }

    /// The same moment in whole milliseconds, which is what the application's own clock gives.
    pub(crate) fn in_millis(self) -> Moment {
        Moment(self.0 / 1000 * 1000)
    }

    /// Reads `YYYY-MM-DDTHH:MM:SS[.fraction](Z|±HH:MM)`.
    pub(crate) fn parse(text: &str) -> Option<Moment> {
        let (date, rest) = text.split_once(['T', ' '])?;
        let mut date = date.split('-');
        let year: i64 = date.next()?.parse().ok()?;
        let month: i64 = date.next()?.parse().ok()?;
        let day: i64 = date.next()?.parse().ok()?;
        if date.next().is_some() || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return None;
        }
        let (clock, offset) = split_offset(rest)?;
        let (whole, fraction) = clock.split_once('.').unwrap_or((clock, ""));
        let mut clock = whole.split(':');
        let hours: i64 = clock.next()?.parse().ok()?;
        let minutes: i64 = clock.next()?.parse().ok()?;
        let seconds: i64 = clock.next().unwrap_or("0").parse().ok()?;
        if !(0..24).contains(&hours) || !(0..60).contains(&minutes) || !(0..61).contains(&seconds) {
            return None;
        }
        let micros: i64 = match fraction {
            "" => 0,
            digits => format!("{digits:0<6}").get(..6)?.parse().ok()?,
        };
        let seconds =
            days_from_civil(year, month, day) * 86_400 + hours * 3600 + minutes * 60 + seconds - offset;
        u64::try_from(seconds * MICROS as i64 + micros).ok().map(Moment)
    }

    fn date_and_clock(self) -> (String, String) {
        let seconds = self.second();
        let (year, month, day) = civil_from_days((seconds / 86_400) as i64);
        let clock = seconds % 86_400;
        (
            format!("{year:04}-{month:02}-{day:02}"),
            format!("{:02}:{:02}:{:02}", clock / 3600, clock / 60 % 60, clock % 60),
        )
    }
}

/// The clock text and its offset in seconds.
fn split_offset(text: &str) -> Option<(&str, i64)> {
    if let Some(clock) = text.strip_suffix(['Z', 'z']) {
        return Some((clock, 0));
    }
    let at = text.rfind(['+', '-'])?;
    let (clock, offset) = text.split_at(at);
    let sign = if offset.starts_with('-') { -1 } else { 1 };
    let (hours, minutes) = offset[1..].split_once(':')?;
    let hours: i64 = hours.parse().ok()?;
    let minutes: i64 = minutes.parse().ok()?;
    Some((clock, sign * (hours * 3600 + minutes * 60)))
}

/// Days since 1970 of a date of the Gregorian calendar.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400;
    (if month <= 2 { year + 1 } else { year }, month, day)
}

const MICROS: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::Moment;

    #[test]
    fn a_moment_is_written_as_the_database_and_as_javascript_do() {
        let moment = Moment::parse("2026-11-21T19:13:20.620590+00:00").expect("a moment");
        assert_eq!(moment.database(), "2026-11-21T19:13:20.62059+00:00");
        assert_eq!(moment.javascript(), "2026-11-21T19:13:20.620Z");
        let leap = Moment::parse("2024-02-29T23:59:59Z").expect("a leap day");
        assert_eq!(leap.database(), "2024-02-29T23:59:59+00:00");
        assert_eq!(Moment::parse("2024-03-01T01:59:59+02:00"), Some(leap));
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for text in
            ["", "soon", "2026-13-01T00:00:00Z", "2026-01-01", "2026-01-01T25:00:00Z", "2026-01-01T00:00:00"]
        {
            assert_eq!(Moment::parse(text), None, "{text}");
        }
    }
}
