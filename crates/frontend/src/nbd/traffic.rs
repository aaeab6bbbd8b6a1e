//! What was served, as numbers: of a volume, and of a connection that is open.
//!
//! A connection's own thread counts in a [`Tally`] and adds it to the connection's [`Meter`] once a batch; nobody else
//! writes there, so no two threads fight for a cache line. Whoever wants to know adds the meters up.

use std::{
    array,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// The kinds of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// READ.
    Read,
    /// WRITE.
    Write,
    /// TRIM.
    Trim,
    /// WRITE_ZEROES.
    Zero,
    /// FLUSH.
    Flush,
    /// CACHE.
    Cache,
    /// BLOCK_STATUS.
    Status,
}

impl Kind {
    /// All of them, in the order of [`Traffic`].
    pub const ALL: [Kind; 7] =
        [Kind::Read, Kind::Write, Kind::Trim, Kind::Zero, Kind::Flush, Kind::Cache, Kind::Status];
}

/// What is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timed {
    /// READ.
    Read,
    /// WRITE, TRIM and WRITE_ZEROES that do not ask for FUA.
    Write,
    /// FLUSH, and changes that ask for FUA.
    Flush,
}

impl Timed {
    /// All of them, in the order of [`Traffic`].
    pub const ALL: [Timed; 3] = [Timed::Read, Timed::Write, Timed::Flush];
}

const KINDS: usize = Kind::ALL.len();
const TIMED: usize = Timed::ALL.len();

/// The first bucket of a histogram holds what took so long or less, each further one twice as long.
const FIRST_BUCKET: Duration = Duration::from_micros(4);
/// Up to 8.4 seconds; the last bucket holds what took longer.
const BUCKETS: usize = 23;

/// What was served since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Connections that are open.
    pub connections: u64,
    /// Requests that were legal, by [`Kind`].
    pub requests: [u64; KINDS],
    /// The bytes that they asked for, by [`Kind`].
    pub bytes: [u64; KINDS],
    /// Requests that were answered with an error.
    pub errors: u64,
    /// How long requests took, by [`Timed`].
    pub latency: [Latency; TIMED],
}

/// How long requests took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// How many fell into each bucket.
    pub buckets: [u64; BUCKETS],
    /// All their times together.
    pub sum: Duration,
}

impl Latency {
    /// The longest time that a bucket holds; `None` for the last.
    pub fn bound(bucket: usize) -> Option<Duration> {
        (bucket + 1 < BUCKETS).then(|| FIRST_BUCKET * (1 << bucket))
    }
}

impl Traffic {
    /// Adds what somebody else served.
    pub(crate) fn add(&mut self, other: &Traffic) {
        let sum = |mine: &mut [u64], other: &[u64]| {
            mine.iter_mut().zip(other).for_each(|(mine, other)| *mine += other);
        };
        self.connections += other.connections;
        self.errors += other.errors;
        sum(&mut self.requests, &other.requests);
        sum(&mut self.bytes, &other.bytes);
        for (mine, other) in self.latency.iter_mut().zip(&other.latency) {
            sum(&mut mine.buckets, &other.buckets);
            mine.sum += other.sum;
        }
    }
}

/// One connection's numbers. Its thread writes, anybody reads. On lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Meter {
    requests: [AtomicU64; KINDS],
    bytes: [AtomicU64; KINDS],
    errors: AtomicU64,
    latency: [Histogram; TIMED],
}

#[derive(Debug, Default)]
struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    sum_ns: AtomicU64,
}

/// Adds where nobody else does: no instruction that locks.
fn add(counter: &AtomicU64, count: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
}

impl Meter {
    /// So many requests took so long each. Only for the connection's own thread.
    pub(crate) fn took(&self, timed: Timed, time: Duration, count: u64) {
        let histogram = &self.latency[timed as usize];
        let ns = time.as_nanos() as u64;
        // How often the first bucket has to be doubled until it holds the time.
        let doublings = 64 - (ns.saturating_sub(1) / FIRST_BUCKET.as_nanos() as u64).leading_zeros();
        add(&histogram.buckets[(doublings as usize).min(BUCKETS - 1)], count);
        add(&histogram.sum_ns, ns.wrapping_mul(count));
    }

    /// What was served on this connection.
    pub(crate) fn traffic(&self) -> Traffic {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Traffic {
            connections: 0,
            requests: self.requests.each_ref().map(read),
            bytes: self.bytes.each_ref().map(read),
            errors: read(&self.errors),
            latency: self.latency.each_ref().map(|histogram| Latency {
                buckets: histogram.buckets.each_ref().map(read),
                sum: Duration::from_nanos(read(&histogram.sum_ns)),
            }),
        }
    }
}

/// What a connection has served since its meter was told.
#[derive(Debug)]
pub(crate) struct Tally {
    requests: [u64; KINDS],
    bytes: [u64; KINDS],
    /// Answered, and not timed yet.
    answered: [u64; TIMED],
    /// When the requests came that are being served.
    pub(crate) came: Instant,
}

impl Tally {
    pub(crate) fn new() -> Tally {
        Tally { requests: [0; KINDS], bytes: [0; KINDS], answered: [0; TIMED], came: Instant::now() }
    }

    pub(crate) fn request(&mut self, kind: Kind, bytes: u64) {
        self.requests[kind as usize] += 1;
        self.bytes[kind as usize] += bytes;
    }

    pub(crate) fn answered(&mut self, timed: Timed, count: usize) {
        self.answered[timed as usize] += count as u64;
    }

    /// What was answered of these took from its coming until now.
    pub(crate) fn time(&mut self, which: &[Timed], now: Instant, meter: &Meter) {
        for timed in which {
            let count = std::mem::take(&mut self.answered[*timed as usize]);
            if count > 0 {
                meter.took(*timed, now - self.came, count);
            }
        }
    }

    /// The batch is done: everything goes to the meter.
    pub(crate) fn settle(&mut self, now: Instant, errors: u64, meter: &Meter) {
        self.time(&Timed::ALL, now, meter);
        for at in 0..KINDS {
            if self.requests[at] > 0 {
                add(&meter.requests[at], self.requests[at]);
                add(&meter.bytes[at], self.bytes[at]);
            }
        }
        self.requests = array::from_fn(|_| 0);
        self.bytes = array::from_fn(|_| 0);
        if errors > 0 {
            add(&meter.errors, errors);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In which bucket a time falls.
    fn bucket(time: Duration) -> usize {
        let meter = Meter::default();
        meter.took(Timed::Write, time, 1);
        let latency = &meter.traffic().latency[Timed::Write as usize];
        assert_eq!((latency.buckets.iter().sum::<u64>(), latency.sum), (1, time));
        latency.buckets.iter().position(|count| *count == 1).unwrap()
    }

    #[test]
    fn a_bucket_holds_times_up_to_its_bound() {
        assert_eq!(bucket(Duration::ZERO), 0);
        let mut before = Duration::ZERO;
        for at in 0..BUCKETS - 1 {
            let bound = Latency::bound(at).unwrap();
            let more = Duration::from_nanos(1);
            assert_eq!((bucket(before + more), bucket(bound), bucket(bound + more)), (at, at, at + 1));
            before = bound;
        }
        assert_eq!(Latency::bound(BUCKETS - 1), None);
        assert_eq!(bucket(Duration::from_secs(3600)), BUCKETS - 1);
    }

    #[test]
    fn a_batch_goes_to_the_meter_once() {
        let (mut tally, meter) = (Tally::new(), Meter::default());
        tally.request(Kind::Read, 4096);
        tally.request(Kind::Read, 512);
        tally.request(Kind::Flush, 0);
        tally.answered(Timed::Read, 2);
        tally.answered(Timed::Flush, 1);
        let later = |ms| Duration::from_millis(ms);
        tally.time(&[Timed::Read, Timed::Write], tally.came + later(1), &meter);
        tally.settle(tally.came + later(9), 1, &meter);
        tally.settle(tally.came + later(90), 0, &meter);
        let traffic = meter.traffic();
        assert_eq!((traffic.requests, traffic.bytes), ([2, 0, 0, 0, 1, 0, 0], [4608, 0, 0, 0, 0, 0, 0]));
        assert_eq!(traffic.latency.each_ref().map(|latency| latency.sum), [later(2), later(0), later(9)]);
        let mut twice = traffic.clone();
        twice.add(&traffic);
        assert_eq!((twice.requests[0], twice.errors, twice.latency[2].sum), (4, 2, later(18)));
    }
}
