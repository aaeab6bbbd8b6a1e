//! How long answers took of late: a histogram of fixed size that forgets.

use std::time::Duration;

/// Buckets for each doubling.
const PARTS: usize = 4;
/// Up to 2^28 µs, four minutes and a half.
const DOUBLINGS: usize = 28;
const BUCKETS: usize = DOUBLINGS * PARTS;
/// With so many answers, all counts are halved: what is slow today is not judged by last month.
const ANSWERS_MAX: u64 = 2_000;

/// Latencies of one kind of requests.
#[derive(Debug)]
pub(super) struct Latencies {
    counts: [u32; BUCKETS],
    answers: u64,
}

impl Latencies {
    pub(super) fn new() -> Self {
        Self { counts: [0; BUCKETS], answers: 0 }
    }

    pub(super) fn record(&mut self, latency: Duration) {
        self.counts[bucket(latency)] += 1;
        self.answers += 1;
        if self.answers >= ANSWERS_MAX {
            self.counts.iter_mut().for_each(|count| *count /= 2);
            self.answers = self.counts.iter().map(|count| u64::from(*count)).sum();
        }
    }

    /// How many answers it knows of.
    pub(super) fn answers(&self) -> u64 {
        self.answers
    }

    /// A time within which `percent` of the answers came, at most a quarter too long.
    pub(super) fn within(&self, percent: u64) -> Duration {
        let wanted = (self.answers * percent).div_ceil(100);
        let mut seen = 0;
        let at = self.counts.iter().position(|count| {
            seen += u64::from(*count);
            seen >= wanted
        });
        end(at.unwrap_or(BUCKETS - 1))
    }
}

fn bucket(latency: Duration) -> usize {
    let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).clamp(4, (1 << DOUBLINGS) - 1);
    let doubling = micros.ilog2() as usize;
    doubling * PARTS + ((micros >> (doubling - 2)) & 3) as usize
}

/// The first time behind a bucket.
fn end(bucket: usize) -> Duration {
    let (doubling, part) = (bucket / PARTS, bucket % PARTS);
    Duration::from_micros(((PARTS + part + 1) as u64) << doubling.saturating_sub(2))
}

#[cfg(test)]
mod tests;
