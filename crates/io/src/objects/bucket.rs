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
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_emptied_and_refilled_by_time_and_by_work() {
        let mut bucket = Bucket::new(3, 2);
        let second = Duration::from_secs(1);
        for _ in 0..3 {
            assert_eq!(bucket.take(second), Ok(()));
        }
        let wait = bucket.take(second).unwrap_err();
        assert!(wait > Duration::from_millis(499) && wait < Duration::from_millis(502), "{wait:?}");
        assert_eq!(bucket.take(second + wait), Ok(()));
        bucket.earn(1_000);
        assert_eq!(bucket.take(second + wait), Ok(()));
        bucket.take(second + wait).unwrap_err();
        // Never more than it holds.
        for _ in 0..3 {
            assert_eq!(bucket.take(Duration::from_secs(3_600)), Ok(()));
        }
        bucket.take(Duration::from_secs(3_600)).unwrap_err();
    }

    #[test]
    fn without_a_gain_of_its_own_only_work_refills_it() {
        let mut bucket = Bucket::new(1, 0);
        bucket.take(Duration::ZERO).unwrap();
        assert_eq!(bucket.take(Duration::from_secs(9)), Err(Duration::MAX));
        (0..20).for_each(|_| bucket.earn(50));
        bucket.take(Duration::from_secs(9)).unwrap();
    }

    #[test]
    fn a_clock_that_is_asked_often_loses_no_time() {
        let mut bucket = Bucket::new(1, 1);
        bucket.take(Duration::ZERO).unwrap();
        let taken = (0..=10_000_u64).filter(|step| bucket.take(Duration::from_micros(step * 100)).is_ok());
        assert_eq!(taken.count(), 1);
    }
}
