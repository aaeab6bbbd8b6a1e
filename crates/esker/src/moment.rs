//! A state from before, as people name it.

use std::time::Duration;

use esker_control::api::Target;
use esker_format::{
    names,
    time::{Time, time_of_day},
};

use crate::time;

const DAY_MS: u64 = 86_400_000;

/// What is understood, for `--help` and for messages.
pub(crate) const EXPECTED: &str =
    "a head's number, '10m ago' or -10m, HH:MM in UTC, a time such as 2026-11-21T14:30:00Z, or @SNAPSHOT";

/// Reads a state as it is named at `now_ms`.
pub(crate) fn parse(text: &str, now_ms: u64) -> Result<Target, String> {
    if let Some(snapshot) = text.strip_prefix('@') {
        names::valid_volume_name(snapshot).map_err(|error| error.to_string())?;
        return Ok(Target::Snapshot(snapshot.to_owned()));
    }
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().map(Target::Head).map_err(|_| format!("expected {EXPECTED}, found {text}"));
    }
    let ago = text.strip_suffix(" ago").map(str::trim_end).or_else(|| text.strip_prefix('-'));
    let found = match ago {
        Some(ago) => time::parse(ago).map(|ago| before(now_ms, ago)),
        None => text.parse().map(|Time(ms)| ms).ok().or_else(|| today(text, now_ms)),
    };
    found.map(Target::TimeMs).ok_or_else(|| format!("expected {EXPECTED}, found {text:?}"))
}

fn before(now_ms: u64, ago: Duration) -> u64 {
    now_ms.saturating_sub(u64::try_from(ago.as_millis()).unwrap_or(u64::MAX))
}

/// The last time that a clock in UTC showed this.
fn today(text: &str, now_ms: u64) -> Option<u64> {
    let ms = time_of_day(text)?;
    let today = now_ms / DAY_MS * DAY_MS + ms;
    if today <= now_ms { Some(today) } else { today.checked_sub(DAY_MS) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-21T14:30:00Z
    const NOW_MS: u64 = 1_795_271_400_000;

    #[test]
    fn states_are_named_in_many_ways() {
        let now = Time(NOW_MS).to_string();
        assert_eq!(now, "2026-11-21T14:30:00.000Z");
        let time = |ms: u64| Ok(Target::TimeMs(ms));
        assert_eq!(parse("17", NOW_MS), Ok(Target::Head(17)));
        assert_eq!(parse("@monday", NOW_MS), Ok(Target::Snapshot("monday".into())));
        assert_eq!(parse("10m ago", NOW_MS), time(NOW_MS - 600_000));
        assert_eq!(parse("-10m", NOW_MS), time(NOW_MS - 600_000));
        assert_eq!(parse("14:30", NOW_MS), time(NOW_MS));
        assert_eq!(parse("14:30:01", NOW_MS), time(NOW_MS + 1_000 - DAY_MS));
        assert_eq!(parse("14:00", NOW_MS), time(NOW_MS - 1_800_000));
        assert_eq!(parse("2026-11-21T15:30:00+01:00", NOW_MS), time(NOW_MS));
        assert_eq!(parse("3650d ago", 5), time(0));
        for wrong in
            ["", "@", "@A", "ago", "-", "ten", "25:00", "99999999999999999999", "1h30m ago", "2026-11-21"]
        {
            assert!(parse(wrong, NOW_MS).is_err(), "{wrong}");
        }
    }
}
