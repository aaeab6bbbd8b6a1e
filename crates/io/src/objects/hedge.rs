//! Hedged reads: a GET that takes longer than almost all others of its size is sent a second time, and the first good
//! answer wins.
//!
//! ```text
//!   GET ──▶ waits ── answered ──────────────────────────────▶ the answer
//!             │
//!             └─ longer than 99 of 100 ─▶ second GET ─┬─ either answers ──▶ its answer; the other is dropped
//!                if a token is left and               └─ both fail ───────▶ the first one's error
//!                the breaker is closed
//! ```
//!
//! 1. How long is measured, for each class of sizes: [`latency`]. Nothing is sent twice before there are 100 answers.
//! 2. Where one request in a hundred stalls, the 99th of a hundred is a stall itself. So it is at most three times what
//!    95 of a hundred take.
//! 3. Each GET earns a twentieth of a token: second GETs are at most 5 % of all, with ten saved up.
//! 4. While the breaker is not closed the store has trouble enough.
//! 5. Both GETs ask for the same bytes of an object that never changes, so either answer is the answer; what it holds is
//!    verified above, as always. "Not found" and a refusal are answers too.
//! 6. A GET whose second one won took at least as long as it waited; that is what is counted.

mod latency;

use std::time::Duration;

use bytes::Bytes;

use super::{Breaker, BreakerState, Listed, Objects, Range, Result, Turn, bucket::Bucket};
use crate::{
    BoxFuture, Bug, Clock, planted,
    sync::{
        Arc, Either, Mutex,
        atomic::{AtomicU64, Ordering},
        either,
    },
};
use latency::Latencies;

/// Thousandths of a token for each GET: one second GET for twenty.
const EARNED_BY_A_GET: u64 = 50;
/// Second GETs that can be saved up.
const SAVED_MAX: u64 = 10;
/// Fewer answers say nothing about the slowest of a hundred.
const ANSWERS_MIN: u64 = 100;
/// Who answers sooner is not waited for long enough to matter.
const WAIT_MIN: Duration = Duration::from_millis(10);
/// The classes by bytes asked for: up to so many, in each but the last.
const CLASSES: [u64; 2] = [64 << 10, 256 << 10];

/// Sends slow GETs twice.
pub struct Hedge {
    inner: Arc<Breaker>,
    clock: Arc<dyn Clock>,
    known: Mutex<Known>,
    sent: AtomicU64,
    won: AtomicU64,
}

struct Known {
    /// By class; the last is that of whole objects, whose size nobody knows before.
    latencies: [Latencies; CLASSES.len() + 2],
    bucket: Bucket,
}

impl Hedge {
    /// Nothing is known yet.
    pub fn new(inner: Arc<Breaker>, clock: Arc<dyn Clock>) -> Self {
        let latencies = std::array::from_fn(|_| Latencies::new());
        let known = Mutex::new(Known { latencies, bucket: Bucket::new(SAVED_MAX, 0) });
        Self { inner, clock, known, sent: AtomicU64::new(0), won: AtomicU64::new(0) }
    }

    /// Second GETs sent.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Second GETs that answered first.
    pub fn won(&self) -> u64 {
        self.won.load(Ordering::Relaxed)
    }

    async fn race(&self, name: &str, range: Range) -> Result<Bytes> {
        let class = class(range);
        let begun = self.clock.monotonic();
        let patience = self.begin(class);
        let first = self.inner.get(name, range);
        let answer = match patience {
            Some(patience) => self.hedged(first, patience, name, range).await,
            None => first.await,
        };
        if answer.is_ok() {
            let latency = self.clock.monotonic().saturating_sub(begun);
            self.known.lock().latencies[class].record(latency);
        }
        answer
    }

    /// Counts a GET; says how long to wait for its answer.
    fn begin(&self, class: usize) -> Option<Duration> {
        let mut known = self.known.lock();
        known.bucket.earn(EARNED_BY_A_GET);
        let latencies = &known.latencies[class];
        let slow = || latencies.within(99).min(latencies.within(95) * 3).max(WAIT_MIN);
        (latencies.answers() >= ANSWERS_MIN && !planted(Bug::NeverHedged)).then(slow)
    }

    async fn hedged(
        &self,
        mut first: BoxFuture<'_, Result<Bytes>>,
        patience: Duration,
        name: &str,
        range: Range,
    ) -> Result<Bytes> {
        if let Either::Left(answer) = either(&mut first, self.clock.sleep(patience)).await {
            return answer;
        }
        let now = self.clock.monotonic();
        if self.inner.state() != BreakerState::Closed || self.known.lock().bucket.take(now).is_err() {
            return first.await;
        }
        self.sent.fetch_add(1, Ordering::Relaxed);
        let mut second = self.inner.get(name, range);
        match either(&mut first, &mut second).await {
            Either::Left(Err(error)) if error.kind.may_pass() => match second.await {
                Ok(body) => Ok(self.win(body)),
                Err(_) => Err(error),
            },
            Either::Left(answer) => answer,
            Either::Right(Ok(body)) => Ok(self.win(body)),
            Either::Right(Err(_)) => first.await,
        }
    }

    fn win(&self, body: Bytes) -> Bytes {
        self.won.fetch_add(1, Ordering::Relaxed);
        body
    }
}

fn class(range: Range) -> usize {
    let bytes = match range {
        Range::All => return CLASSES.len() + 1,
        Range::Bytes { start, end } => end.saturating_sub(start),
        Range::Suffix(bytes) => bytes,
    };
    CLASSES.iter().position(|most| bytes <= *most).unwrap_or(CLASSES.len())
}

impl Objects for Hedge {
    fn put_new<'a>(&'a self, name: &'a str, body: Bytes) -> BoxFuture<'a, Result<()>> {
        self.inner.put_new(name, body)
    }

    fn get<'a>(&'a self, name: &'a str, range: Range) -> BoxFuture<'a, Result<Bytes>> {
        Box::pin(self.race(name, range))
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<Listed>>> {
        self.inner.list(prefix)
    }

    fn delete<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<()>> {
        self.inner.delete(name)
    }

    fn turn<'a>(&'a self, patience: Duration) -> BoxFuture<'a, Turn> {
        self.inner.turn(patience)
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }
}

#[cfg(test)]
mod tests;
