//! Times as people write them.

use std::time::Duration;

/// Letters and their seconds, the largest first.
const UNITS: [(&str, u64); 4] = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];

/// Reads a time: a number with s, m, h or d.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let (unit, seconds) = UNITS.iter().find(|(unit, _)| text.ends_with(unit))?;
    let number = text.strip_suffix(unit)?;
    let plain = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = number.parse().ok().filter(|_| plain)?;
    number.checked_mul(*seconds).filter(|seconds| *seconds <= 3_650 * 86_400).map(Duration::from_secs)
}

/// A time in its largest unit, and the next one where that says more.
pub(crate) fn show(time: Duration) -> String {
    let seconds = time.as_millis().div_ceil(1_000) as u64;
    let at = UNITS.iter().position(|(_, unit)| seconds >= *unit).unwrap_or(UNITS.len() - 1);
    let (letter, unit) = UNITS[at];
    let mut text = format!("{}{letter}", seconds / unit);
    if let Some((letter, below)) = UNITS.get(at + 1).filter(|(_, below)| seconds % unit / below > 0) {
        text.push_str(&format!(" {}{letter}", seconds % unit / below));
    }
    text
}

/// A moment in milliseconds since 1970 as a date and a time of day, UTC.
pub(crate) fn utc(ms: u64) -> String {
    let (days, seconds) = (ms / 86_400_000, ms / 1_000 % 86_400);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    // Years that begin in March have their leap day at the end; 400 of them have 146,097 days. Day 0 is 1 March 0000.
    let day = days + 719_468;
    let (era, day) = (day / 146_097, day % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let march = (5 * day + 2) / 153;
    let date = day - (153 * march + 2) / 5 + 1;
    let month = if march < 10 { march + 3 } else { march - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{date:02} {hour:02}:{minute:02}:{second:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_shown() {
        for (text, seconds) in [("0s", 0), ("90s", 90), ("10m", 600), ("24h", 86_400), ("7d", 604_800)] {
            assert_eq!(parse(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        for wrong in ["", "s", "5", "-5s", "+5s", "1.5h", "1h30m", "4000d", "99999999999999999999s"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
        for (ms, text) in [(0, "0s"), (1_001, "2s"), (60_000, "1m"), (90_000, "1m 30s"), (86_400_000, "1d")] {
            assert_eq!(show(Duration::from_millis(ms)), text);
        }
    }

    #[test]
    fn moments_are_shown() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00:00"),
            (951_782_399, "2000-02-28 23:59:59"),
            (951_782_400, "2000-02-29 00:00:00"),
            (951_868_800, "2000-03-01 00:00:00"),
            (1_735_689_599, "2024-12-31 23:59:59"),
            (4_107_542_400, "2100-03-01 00:00:00"),
        ] {
            assert_eq!(utc(seconds * 1_000), text);
        }
    }
}
