//! Counting requests, since each of them costs money and time.

use std::time::Duration;

use bytes::Bytes;

use super::{Listed, Objects, Range, Result, StoreErrorKind, Turn};
use crate::{
    BoxFuture,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// What was sent to a store since its counter was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// PUT requests.
    pub puts: u64,
    /// GET requests.
    pub gets: u64,
    /// LIST calls; one that spans several pages counts once.
    pub lists: u64,
    /// DELETE requests.
    pub deletes: u64,
    /// Requests of any kind that failed. "Exists" and "not found" are answers, not failures.
    pub errors: u64,
    /// Bytes of bodies sent, also by PUTs that failed.
    pub bytes_up: u64,
    /// Bytes of bodies received.
    pub bytes_down: u64,
}

#[derive(Debug, Default)]
struct Counters {
    puts: AtomicU64,
    gets: AtomicU64,
    lists: AtomicU64,
    deletes: AtomicU64,
    errors: AtomicU64,
    bytes_up: AtomicU64,
    bytes_down: AtomicU64,
}

/// Passes everything on and counts it. Below a [`Retry`](super::Retry) it counts every try.
pub struct Counted {
    inner: Arc<dyn Objects>,
    counters: Counters,
}

impl Counted {
    /// Counts what goes to `inner`.
    pub fn new(inner: Arc<dyn Objects>) -> Self {
        Self { inner, counters: Counters::default() }
    }

    /// The counts so far; each is exact, together they are of about the same moment.
    pub fn snapshot(&self) -> Traffic {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Traffic {
            puts: read(&self.counters.puts),
            gets: read(&self.counters.gets),
            lists: read(&self.counters.lists),
            deletes: read(&self.counters.deletes),
            errors: read(&self.counters.errors),
            bytes_up: read(&self.counters.bytes_up),
            bytes_down: read(&self.counters.bytes_down),
        }
    }

    fn answered<T>(&self, answer: Result<T>) -> Result<T> {
        if let Err(error) = &answer
            && !matches!(error.kind, StoreErrorKind::Exists | StoreErrorKind::NotFound)
        {
            add(&self.counters.errors, 1);
        }
        answer
    }
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

impl Objects for Counted {
    fn put_new<'a>(&'a self, name: &'a str, body: Bytes) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            add(&self.counters.puts, 1);
            add(&self.counters.bytes_up, body.len() as u64);
            self.answered(self.inner.put_new(name, body).await)
        })
    }

    fn get<'a>(&'a self, name: &'a str, range: Range) -> BoxFuture<'a, Result<Bytes>> {
        Box::pin(async move {
            add(&self.counters.gets, 1);
            let body = self.answered(self.inner.get(name, range).await)?;
            add(&self.counters.bytes_down, body.len() as u64);
            Ok(body)
        })
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<Listed>>> {
        Box::pin(async move {
            add(&self.counters.lists, 1);
            self.answered(self.inner.list(prefix).await)
        })
    }

    fn delete<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            add(&self.counters.deletes, 1);
            self.answered(self.inner.delete(name).await)
        })
    }

    fn turn<'a>(&'a self, patience: Duration) -> BoxFuture<'a, Turn> {
        self.inner.turn(patience)
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }
}
