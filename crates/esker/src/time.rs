//! Times as people write them.

use std::time::Duration;

use esker_io::{Clock, SystemClock};

/// Letters and their seconds, the largest first.
const UNITS: [(&str, u64); 4] = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];

/// Milliseconds since 1970, as this machine believes.
pub(crate) fn now_ms() -> u64 {
    SystemClock::new().wall_ms()
}

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
}
