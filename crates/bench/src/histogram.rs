//! Latencies in logarithmic buckets: thirty-two to a power of two, so a figure is right to three per cent.

use std::time::Duration;

const STEPS_BITS: u32 = 5;
const STEPS: u64 = 1 << STEPS_BITS;
const BUCKETS: usize = (65 - STEPS_BITS as usize) << STEPS_BITS;

/// Counts of latencies.
#[derive(Clone)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max_ns: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS], total: 0, max_ns: 0 }
    }
}

impl Histogram {
    /// Counts one.
    pub fn record(&mut self, latency: Duration) {
        self.record_many(latency, 1);
    }

    /// Counts some of the same latency.
    pub fn record_many(&mut self, latency: Duration, count: u64) {
        if count == 0 {
            return;
        }
        let ns = latency.as_nanos() as u64;
        self.counts[bucket(ns)] += count;
        self.total += count;
        self.max_ns = self.max_ns.max(ns);
    }

    /// Adds what another one counted.
    pub fn merge(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, more)| *count += more);
        self.total += other.total;
        self.max_ns = self.max_ns.max(other.max_ns);
    }

    /// How many were counted.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The longest.
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.max_ns)
    }

    /// The latency that a share of all (0.99 for p99) did not exceed.
    pub fn quantile(&self, share: f64) -> Duration {
        let wanted = (share * self.total as f64).ceil() as u64;
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted && *count > 0 {
                return Duration::from_nanos(ceiling(bucket).min(self.max_ns));
            }
        }
        self.max()
    }
}

fn bucket(ns: u64) -> usize {
    if ns < STEPS {
        return ns as usize;
    }
    let power = ns.ilog2() - STEPS_BITS;
    (((power + 1) as usize) << STEPS_BITS) + ((ns >> power) - STEPS) as usize
}

/// The largest value of a bucket.
fn ceiling(bucket: usize) -> u64 {
    let (power, step) = ((bucket >> STEPS_BITS) as u32, bucket as u64 % STEPS);
    match power {
        0 => step,
        power => ((STEPS + step) << (power - 1)) + ((1 << (power - 1)) - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_each_other_and_hold_what_falls_into_them() {
        for bucket_number in 0..BUCKETS - 1 {
            let last = ceiling(bucket_number);
            assert_eq!(bucket(last), bucket_number);
            assert_eq!(bucket(last + 1), bucket_number + 1);
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_right_to_three_per_cent() {
        let mut histogram = Histogram::default();
        (1..=10_000).for_each(|us| histogram.record(Duration::from_micros(us)));
        for (share, us) in [(0.5, 5_000.0), (0.99, 9_900.0), (1.0, 10_000.0)] {
            let found = histogram.quantile(share).as_secs_f64() * 1e6;
            assert!((found / us - 1.0).abs() < 0.032, "{share}: {found}");
        }
        assert_eq!(histogram.max(), Duration::from_millis(10));
    }
}
