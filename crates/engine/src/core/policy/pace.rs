//! How fast guests may write while the log fills.
//!
//! Room comes back in lumps, a segment at a time. Writers that run at full speed up to the bound and then wait for
//! the next lump stand still for most of a second, again and again. So from [`soft`] on they are admitted at a
//! [`rate`]: twice what was seen to come back at first, and less the fuller the log is. It comes to rest where both
//! are equal, in the middle, and a lump moves it only a little to either side.
//!
//! The rate never falls to nothing, so that a store that is away lets writers creep to the bound instead of stopping
//! them far below it.

use std::time::Duration;

/// What is taken for the rate until some room has come back: bytes a second.
pub const DRAIN_FIRST: u64 = 64 << 20;
/// No writer is paced to less than this: bytes a second.
pub const RATE_MIN: u64 = 1 << 20;
/// The longest pause that is asked for: after it the rate is another, for room has come back or has not.
pub const PAUSE_MAX: Duration = Duration::from_millis(200);
/// How long the past counts.
const SMOOTHED_OVER: Duration = Duration::from_secs(2);
/// A longer time without room says that the store was away, not how fast it is.
const INTERVAL_MAX: Duration = Duration::from_secs(10);

/// From how many dirty bytes on writers are paced.
pub fn soft(bound: u64) -> u64 {
    bound / 8 * 5
}

/// The rate at which writers are admitted, in bytes a second, where `drain` comes back.
pub fn rate(dirty: u64, bound: u64, drain: u64) -> u64 {
    let range = (bound - soft(bound)).max(1);
    let left = bound.saturating_sub(dirty).min(range);
    let rate = (u128::from(drain) * 2 * u128::from(left) / u128::from(range)) as u64;
    rate.max(drain / 16).max(RATE_MIN)
}

/// The smoothed rate at which room comes back, after `released` more bytes came within `interval`.
pub fn smoothed(drain: u64, released: u64, interval: Duration) -> u64 {
    let interval = interval.min(INTERVAL_MAX).as_secs_f64().max(1e-6);
    let seen = released as f64 / interval;
    // Weighed by time: many lumps at once are one observation, not many.
    let weight = interval / (interval + SMOOTHED_OVER.as_secs_f64());
    (drain as f64 + (seen - drain as f64) * weight) as u64
}

/// A leaky bucket: when it is empty again, after `bytes` more at `rate`. Times are nanoseconds.
pub fn filled(until: u64, now: u64, bytes: u64, rate: u64) -> u64 {
    let cost = u128::from(bytes) * 1_000_000_000 / u128::from(rate.max(1));
    let most = now.saturating_add(PAUSE_MAX.as_nanos() as u64);
    let cost = u64::try_from(cost).unwrap_or(u64::MAX);
    until.max(now).saturating_add(cost).min(most)
}

#[cfg(test)]
mod tests;
