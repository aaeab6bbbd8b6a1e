//! The retry budget: tries after a failure are a small share of all requests, so that a store in trouble is not hit by
//! a storm of them.
//!
//! ```text
//!   each request sent ──+0.1──▶ ┌────────┐
//!   each second ───────+10────▶ │ tokens │ ──1──▶ one more try          (none left: the try waits)
//!                               └────────┘ at most 100
//! ```
//!
//! 1. A try that is due asks for its [`Turn`]. It takes a token, or waits for one.
//! 2. Who waits for a PUT's outcome waits on (rule H4: it never gives up); a read waits until its deadline.
//! 3. What was held back while the store was away was refused here and cost the store nothing: it takes no token.
//!
//! So tries are at most a tenth of the requests, and ten a second besides, which lets a quiet daemon go on.

use std::time::Duration;

use bytes::Bytes;

use super::{Listed, Objects, Range, Result, Turn, bucket::Bucket};
use crate::{
    BoxFuture, Clock,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

/// Thousandths of a token for each request: a tenth of a try.
const EARNED_BY_A_REQUEST: u64 = 100;
/// Tries that a quiet daemon has each second.
const TRIES_PER_SECOND: u64 = 10;
/// Tries that can be saved up.
const TRIES_SAVED_MAX: u64 = 100;

/// Bounds the tries of everybody who asks for a turn.
pub struct Budget {
    inner: Arc<dyn Objects>,
    clock: Arc<dyn Clock>,
    bucket: Mutex<Bucket>,
    tries: AtomicU64,
    waits: AtomicU64,
}

impl Budget {
    /// A full budget.
    pub fn new(inner: Arc<dyn Objects>, clock: Arc<dyn Clock>) -> Self {
        let bucket = Mutex::new(Bucket::new(TRIES_SAVED_MAX, TRIES_PER_SECOND));
        Self { inner, clock, bucket, tries: AtomicU64::new(0), waits: AtomicU64::new(0) }
    }

    /// How many requests were sent again.
    pub fn tries(&self) -> u64 {
        self.tries.load(Ordering::Relaxed)
    }

    /// How often one had to wait because the budget was used up.
    pub fn waits(&self) -> u64 {
        self.waits.load(Ordering::Relaxed)
    }

    fn earn(&self) {
        self.bucket.lock().earn(EARNED_BY_A_REQUEST);
    }

    async fn next_turn(&self, patience: Duration) -> Turn {
        let end = self.clock.monotonic().saturating_add(patience);
        let turn = self.inner.turn(patience).await;
        if turn == Turn::Now && !self.token_by(end).await {
            return Turn::Later;
        }
        if turn != Turn::Later {
            self.tries.fetch_add(1, Ordering::Relaxed);
        }
        turn
    }

    async fn token_by(&self, end: Duration) -> bool {
        let mut waited = false;
        loop {
            let now = self.clock.monotonic();
            let Err(wait) = self.bucket.lock().take(now) else { return true };
            if !waited {
                self.waits.fetch_add(1, Ordering::Relaxed);
                waited = true;
            }
            if now.saturating_add(wait) > end {
                self.clock.sleep(end.saturating_sub(now)).await;
                return false;
            }
            self.clock.sleep(wait).await;
        }
    }
}

impl Objects for Budget {
    fn put_new<'a>(&'a self, name: &'a str, body: Bytes) -> BoxFuture<'a, Result<()>> {
        self.earn();
        self.inner.put_new(name, body)
    }

    fn get<'a>(&'a self, name: &'a str, range: Range) -> BoxFuture<'a, Result<Bytes>> {
        self.earn();
        self.inner.get(name, range)
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<Listed>>> {
        self.earn();
        self.inner.list(prefix)
    }

    fn delete<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<()>> {
        self.earn();
        self.inner.delete(name)
    }

    fn turn<'a>(&'a self, patience: Duration) -> BoxFuture<'a, Turn> {
        Box::pin(self.next_turn(patience))
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }
}

#[cfg(test)]
mod tests;
