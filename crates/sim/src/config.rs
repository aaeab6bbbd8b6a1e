//! Everything that a seed draws before a simulation starts.

use std::{fmt, time::Duration};

use crate::Prng;

/// The faults of a disk that happen by chance, each in a million operations of its kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiskFaults {
    /// Writes and allocations that fail with EIO.
    pub write_error_ppm: u32,
    /// Writes and allocations that fail with ENOSPC.
    pub no_space_ppm: u32,
    /// Reads that fail with EIO.
    pub read_error_ppm: u32,
    /// Syncs of files or directories that fail once.
    pub sync_error_ppm: u32,
}

/// The faults of a store that happen by chance, each in a million requests that it can happen to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreFaults {
    /// Requests that fail before they have an effect.
    pub error_before_ppm: u32,
    /// Requests that have their effect, and then time out.
    pub error_after_ppm: u32,
    /// PUTs and DELETEs that time out and have their effect up to a minute later.
    pub late_ppm: u32,
    /// Requests that are refused for good, without effect (403 and the like).
    pub permanent_ppm: u32,
    /// PUTs that are told of an existing object when there is none (409), without effect.
    pub false_exists_ppm: u32,
    /// Requests whose answer takes a minute longer.
    pub stall_ppm: u32,
    /// GETs whose body has one bit flipped.
    pub flip_ppm: u32,
    /// GETs whose body is cut, which the transport notices.
    pub protocol_ppm: u32,
    /// GETs that do not find an object that is there.
    pub missing_ppm: u32,
    /// GETs that are answered with another object's body.
    pub other_body_ppm: u32,
}

impl StoreFaults {
    /// Faults that a correct engine gets over without an error: lost requests and answers, late effects, stalls.
    pub fn passing(ppm: u32) -> Self {
        Self {
            error_before_ppm: ppm,
            error_after_ppm: ppm,
            late_ppm: ppm,
            stall_ppm: ppm / 4,
            protocol_ppm: ppm,
            ..Self::default()
        }
    }
}

/// How long the store takes for each half of a request: there, and back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Latency {
    /// At least.
    pub min: Duration,
    /// At most, but for the slow ones.
    pub max: Duration,
    /// Requests in a million that are slow.
    pub slow_ppm: u32,
    /// How long slow ones take at most.
    pub slow_max: Duration,
}

/// A simulation's configuration. Its `Display` shows all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The faults of each host's disk.
    pub disk: DiskFaults,
    /// The faults of the store.
    pub store: StoreFaults,
    /// The store's latency.
    pub latency: Latency,
    /// How long a processor job takes at most.
    pub cpu_delay_max: Duration,
    /// The most steps of the executor in one call.
    pub steps_max: u64,
    /// The first host's wall clock at the start, in milliseconds since the Unix epoch.
    pub wall_ms: u64,
    /// How far each further host's wall clock may be off, in milliseconds, either way.
    pub wall_skew_ms: u64,
    /// A store that is a directory of the first host and does not sync: objects younger than this are at risk
    /// when that host loses power. `None` is a store that keeps what it acknowledged.
    pub not_durable: Option<Duration>,
    /// How many events the trace keeps as text.
    pub trace_lines: usize,
}

impl Default for Config {
    /// No faults, 1 to 20 ms each way.
    fn default() -> Self {
        Self {
            disk: DiskFaults::default(),
            store: StoreFaults::default(),
            latency: Latency {
                min: Duration::from_millis(1),
                max: Duration::from_millis(20),
                slow_ppm: 0,
                slow_max: Duration::from_secs(2),
            },
            cpu_delay_max: Duration::from_millis(1),
            steps_max: 10_000_000,
            wall_ms: 1_767_225_600_000,
            wall_skew_ms: 0,
            not_durable: None,
            trace_lines: 0,
        }
    }
}

impl Config {
    /// A configuration drawn at random: the passing faults of the store at some rate, skewed clocks, latencies
    /// from a fast local store to a slow remote one. Disks have no faults; scenarios place those themselves.
    pub fn drawn(random: &mut Prng) -> Self {
        let ppm = *random.pick(&[0, 0, 1_000, 10_000, 50_000, 200_000]);
        let max = Duration::from_micros(*random.pick(&[0, 1_000, 20_000, 200_000]));
        Self {
            store: StoreFaults::passing(ppm),
            latency: Latency {
                min: max / 20,
                max,
                slow_ppm: *random.pick(&[0, 10_000, 100_000]),
                slow_max: Duration::from_millis(random.between(500, 20_000)),
            },
            cpu_delay_max: Duration::from_micros(*random.pick(&[0, 100, 5_000])),
            wall_skew_ms: *random.pick(&[0, 1_000, 3_600_000, 315_360_000_000]),
            ..Self::default()
        }
    }
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The derived form names every field, also one that is added tomorrow.
        write!(f, "{self:?}")
    }
}
