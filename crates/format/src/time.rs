//! Wall time as people read and write it: RFC 3339.

use std::fmt;
use std::str::FromStr;

use crate::FormatError;
use crate::ids::excerpt;

/// Days from the first of March of the year 0 to the first of January 1970.
const DAYS_TO_1970: u64 = 719_468;
const DAYS_PER_ERA: u64 = 146_097;
const DAY_MS: u64 = 86_400_000;

/// Milliseconds since 1970; shown as date and time in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub u64);

impl fmt::Display for Time {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, ms) = (self.0 / DAY_MS, self.0 % DAY_MS);
        // Howard Hinnant's days-to-civil: years begin in March, so that the leap day is a year's last.
        let days = days + DAYS_TO_1970;
        let (era, day_of_era) = (days / DAYS_PER_ERA, days % DAYS_PER_ERA);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted + 2) / 5 + 1;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        let year = era * 400 + year_of_era + u64::from(month <= 2);
        let (hours, minutes, seconds) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
        write!(to, "{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}.{:03}Z", ms % 1000)
    }
}

impl FromStr for Time {
    type Err = FormatError;

    /// Reads a date and a time of day from 1970 to 9999, with `Z` or a distance from UTC.
    fn from_str(text: &str) -> Result<Time, FormatError> {
        parse(text).map(Time).ok_or_else(|| {
            FormatError::new("time", "text", "a time such as 2026-11-21T14:30:00Z", excerpt(text))
        })
    }
}

fn parse(text: &str) -> Option<u64> {
    let (date, rest) = text.split_once(['T', 't', ' '])?;
    let (clock, east_minutes) = zone(rest)?;
    let mut parts = date.split('-');
    let (year, month, day) =
        (digits(parts.next()?, 4)?, digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    if parts.next().is_some() || year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let ms = days_since_1970(year, month, day)? * DAY_MS + time_of_day(clock)?;
    u64::try_from(i64::try_from(ms).ok()? - east_minutes * 60_000).ok()
}

/// The clock's part, and by how many minutes it is ahead of UTC.
fn zone(text: &str) -> Option<(&str, i64)> {
    if let Some(clock) = text.strip_suffix(['Z', 'z']) {
        return Some((clock, 0));
    }
    let at = text.rfind(['+', '-'])?;
    let (hours, minutes) = text[at + 1..].split_once(':')?;
    let (hours, minutes) = (digits(hours, 2)?, digits(minutes, 2)?);
    let east = (hours * 60 + minutes) as i64;
    (hours < 24 && minutes < 60)
        .then(|| (&text[..at], if text[at..].starts_with('-') { -east } else { east }))
}

/// Milliseconds since midnight of `HH:MM`, `HH:MM:SS` or `HH:MM:SS.fraction`.
pub fn time_of_day(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').map_or((text, None), |(whole, rest)| (whole, Some(rest)));
    let parts: Vec<&str> = whole.split(':').collect();
    let seconds = match (parts.as_slice(), fraction) {
        ([_, _], None) => "00",
        ([_, _, seconds], _) => seconds,
        _ => return None,
    };
    let (hours, minutes, seconds) = (digits(parts[0], 2)?, digits(parts[1], 2)?, digits(seconds, 2)?);
    let ms = match fraction {
        None => 0,
        Some(text) => digits(text, text.len()).and_then(|_| format!("{text:0<3}")[..3].parse().ok())?,
    };
    let fits = hours < 24 && minutes < 60 && seconds < 60;
    fits.then_some(((hours * 60 + minutes) * 60 + seconds) * 1_000 + ms)
}

/// The other way round as in `Display`; `None` for a day that its month does not have.
fn days_since_1970(year: u64, month: u64, day: u64) -> Option<u64> {
    let shifted_year = year - u64::from(month <= 2);
    let (era, year_of_era) = (shifted_year / 400, shifted_year % 400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * DAYS_PER_ERA + day_of_era - DAYS_TO_1970;
    let shown = Time(days * DAY_MS).to_string();
    shown.starts_with(&format!("{year:04}-{month:02}-{day:02}")).then_some(days)
}

fn digits(text: &str, count: usize) -> Option<u64> {
    let plain = text.len() == count && count > 0 && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_read_back() {
        for ms in
            [0, 951_782_399_999, 951_782_400_000, 1_795_305_599_999, 4_107_542_399_000, 32_503_680_000_000]
        {
            let shown = Time(ms).to_string();
            assert_eq!(shown.parse::<Time>().unwrap(), Time(ms), "{shown}");
        }
        assert_eq!(Time(951_782_400_000).to_string(), "2000-02-29T00:00:00.000Z");
        // Every day of eight centuries.
        for day in 0..292_194_u64 {
            let time = Time(day * DAY_MS);
            assert_eq!(time.to_string().parse::<Time>().unwrap(), time);
        }
    }

    #[test]
    fn zones_and_parts_of_seconds() {
        let time = |text: &str| text.parse::<Time>().unwrap().0;
        assert_eq!(time("2026-11-21T15:30:00+01:00"), time("2026-11-21T14:30:00Z"));
        assert_eq!(time("2026-11-21 09:00:00-05:30"), time("2026-11-21T14:30:00Z"));
        assert_eq!(time("2026-11-21T14:30Z"), time("2026-11-21T14:30:00Z"));
        assert_eq!(time("2026-11-21T14:30:00.5Z"), time("2026-11-21T14:30:00Z") + 500);
        assert_eq!(time("2026-11-21T14:30:00.123456789Z"), time("2026-11-21T14:30:00Z") + 123);
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "2026-11-21",
            "2026-11-21T14:30:00",
            "2026-11-31T00:00:00Z",
            "2025-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-11-21T24:00:00Z",
            "2026-11-21T14:60:00Z",
            "2026-11-21T14:30:00.Z",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00+01:00",
            "2026-11-21T14:30:00+24:00",
            "26-11-21T14:30:00Z",
            "2026-11-21T14Z",
            "20:00Z",
            "2026-11-21T1:30:00Z",
            "+026-11-21T14:30:00Z",
            "2026-11-21T14:30:00.5é",
            "é2026-11-21T14:30:00Z",
        ] {
            assert!(text.parse::<Time>().is_err(), "{text}");
        }
    }
}
