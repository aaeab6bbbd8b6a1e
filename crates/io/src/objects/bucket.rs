//! A bucket of tokens: a bound on how often something may be done, that a little of everything else refills.

use std::time::Duration;

/// Tokens are counted in thousandths, so that nothing is ever rounded away.
const THOUSANDTHS: u64 = 1_000;

/// A bucket. Time comes from outside.
#[derive(Debug)]
pub(super) struct Bucket {
    thousandths: u64,
    most: u64,
    /// Thousandths that come with each second.
    per_second: u64,
    /// Up to when time was counted.
    counted: Duration,
}

impl Bucket {
    /// A full bucket of `most` tokens that gains `per_second` by itself.
    pub(super) fn new(most: u64, per_second: u64) -> Self {
        let most = most * THOUSANDTHS;
        Self { thousandths: most, most, per_second: per_second * THOUSANDTHS, counted: Duration::ZERO }
    }

    /// Puts so many thousandths of a token in; what does not fit is lost.
    pub(super) fn earn(&mut self, thousandths: u64) {
        self.thousandths = (self.thousandths + thousandths).min(self.most);
    }

    /// Takes a token, or says how long until there is one (never, without a gain of its own).
    pub(super) fn take(&mut self, now: Duration) -> Result<(), Duration> {
        self.pass_time(now);
        if self.thousandths >= THOUSANDTHS {
            self.thousandths -= THOUSANDTHS;
            return Ok(());
        }
        let missing = THOUSANDTHS - self.thousandths;
        let micros = (missing * 1_000_000).checked_div(self.per_second);
        Err(micros.map_or(Duration::MAX, |micros| Duration::from_micros(micros + 1)))
    }

    fn pass_time(&mut self, now: Duration) {
        let since = now.saturating_sub(self.counted);
        let micros = u64::try_from(since.as_micros()).unwrap_or(u64::MAX);
        let gain = micros.saturating_mul(self.per_second) / 1_000_000;
        // Time that has brought nothing yet still counts.
        if gain > 0 || self.per_second == 0 {
            self.earn(gain.min(self.most));
            self.counted = now;
        }
    }
}

#[cfg(test)]
mod tests;
