//! How long a volume can go back.

use std::fmt;
use std::str::FromStr;

use crate::FormatError;
use crate::error::ensure;
use crate::ids::excerpt;

/// Letters and their seconds, the largest first.
const UNITS: [(char, u32); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];
const SECONDS_MAX: u32 = 3_650 * 86_400;
const SECONDS_BUILT_IN: u32 = 3_600;

/// How long a head stays reachable once another one has taken its place: from nothing to ten years, by default an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct History {
    seconds: u32,
}

impl History {
    /// So many seconds; `None` for more than ten years.
    pub const fn of_seconds(seconds: u32) -> Option<History> {
        if seconds <= SECONDS_MAX { Some(History { seconds }) } else { None }
    }

    /// In seconds.
    pub const fn seconds(self) -> u32 {
        self.seconds
    }

    /// In milliseconds.
    pub const fn ms(self) -> u64 {
        self.seconds as u64 * 1_000
    }

    pub(super) fn parse(seconds: u32) -> Result<History, FormatError> {
        ensure(seconds <= SECONDS_MAX, super::WHAT, "history", "at most ten years in seconds", seconds)?;
        Ok(History { seconds })
    }
}

impl Default for History {
    fn default() -> History {
        History { seconds: SECONDS_BUILT_IN }
    }
}

impl fmt::Display for History {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = |(_, unit): &&(char, u32)| self.seconds > 0 && self.seconds.is_multiple_of(*unit);
        let (letter, unit) = UNITS.iter().find(whole).unwrap_or(&UNITS[UNITS.len() - 1]);
        write!(to, "{}{letter}", self.seconds / unit)
    }
}

impl FromStr for History {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<History, FormatError> {
        let seconds = UNITS.iter().find_map(|(letter, unit)| {
            let digits = text.strip_suffix(*letter)?;
            let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse::<u32>().ok().filter(|_| plain)?.checked_mul(*unit)
        });
        seconds.and_then(History::of_seconds).ok_or_else(|| {
            let expected = "a number with s, m, h or d, at most 3650d";
            FormatError::new("property history", "value", expected, excerpt(text))
        })
    }
}
