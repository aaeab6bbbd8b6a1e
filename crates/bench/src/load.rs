//! Load: what a connection asks for, how fast, and what came of it.
//!
//! Closed loop: a connection keeps `depth` requests on their way. Open loop: requests are due at a set rate,
//! and a latency counts from when its request was due, so a server that stalls pays for everyone who waited.

mod connection;
mod contents;
mod pattern;

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};

pub use connection::Connection;
pub use contents::Templates;
pub use pattern::Random;

use crate::histogram::Histogram;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Reads at random places.
    Read,
    /// Writes at random places.
    Write,
    /// Writes, nine of ten of them in the first tenth.
    SkewedWrite,
    /// Both; the number is the per cent of reads.
    Mixed(u8),
    /// A write, then a flush, then the next write.
    WriteFlush,
    /// Reads, each behind the one before.
    SequentialRead,
    /// Writes, each behind the one before.
    SequentialWrite,
}

/// How one connection asks.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// What for.
    pub kind: Kind,
    /// Bytes of a request, a multiple of 4096.
    pub request_bytes: usize,
    /// Requests on their way.
    pub depth: usize,
    /// The part of the export that is used, from its begin.
    pub area_bytes: u64,
    /// Requests per second of all connections together; none: as fast as they are answered.
    pub rate: Option<f64>,
}

/// What came of it.
#[derive(Clone, Default)]
pub struct Outcome {
    /// Requests answered (flushes apart).
    pub requests: u64,
    /// How long it took.
    pub elapsed: Duration,
    /// Latencies; with flushes, from the write's sending to the flush's answer.
    pub latencies: Histogram,
}

impl Outcome {
    /// Requests per second.
    pub fn rate(&self) -> f64 {
        self.requests as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// Adds what came after it.
    pub fn append(&mut self, next: &Self) {
        self.requests += next.requests;
        self.elapsed += next.elapsed;
        self.latencies.merge(&next.latencies);
    }

    /// Adds what another connection saw in the same time.
    fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.elapsed = self.elapsed.max(other.elapsed);
        self.latencies.merge(&other.latencies);
    }
}

/// Runs the load on all connections at once for so long, and until everything is answered.
///
/// # Errors
/// The first connection that failed, and any block that does not hold what was written to it.
pub fn run(
    connections: &mut [Connection],
    load: &Load,
    duration: Duration,
    stop: &AtomicBool,
) -> Result<Outcome> {
    let begun = Instant::now();
    let each = Load { rate: load.rate.map(|rate| rate / connections.len() as f64), ..*load };
    let until = begun + duration;
    if let [connection] = connections {
        return connection.run(&each, until, stop);
    }
    let outcomes: Vec<Result<Outcome>> = std::thread::scope(|scope| {
        let threads: Vec<_> = connections
            .iter_mut()
            .map(|connection| scope.spawn(|| connection.run(&each, until, stop)))
            .collect();
        let failed = |_| Err(anyhow!("a connection's thread panicked"));
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(failed)).collect()
    });
    let mut all = Outcome::default();
    for outcome in outcomes {
        all.merge(&outcome?);
    }
    all.elapsed = begun.elapsed();
    Ok(all)
}

/// Whether somebody asked for an end.
pub fn stopped(stop: &AtomicBool) -> bool {
    stop.load(Ordering::Relaxed)
}
