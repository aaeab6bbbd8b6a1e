//! The object store: flat names, immutable bodies, one conditional primitive.

mod breaker;
mod bucket;
mod budget;
mod cloud;
mod counted;
mod file;
mod hedge;
mod memory;
mod name;
mod open;
mod retry;
mod sheltered;

pub use breaker::{Breaker, BreakerState};
pub use budget::Budget;
pub use cloud::{CloudObjects, Provider};
pub use counted::{Counted, Traffic};
pub use file::FileObjects;
pub use hedge::Hedge;
pub use memory::MemoryObjects;
pub use open::{OpenError, URLS, open, without_secrets};
pub use retry::{Retry, RetryLimits};
pub use sheltered::{Sheltered, Strain};

use std::{future::ready, time::Duration};

use bytes::Bytes;

use crate::BoxFuture;

/// What a caller can do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreErrorKind {
    /// Create-if-absent found an object of that name (which may be the caller's own, from a lost answer).
    Exists,
    /// No object of that name.
    NotFound,
    /// May pass: time-out, 5xx, throttling, broken connection. A PUT or DELETE **may have happened**.
    Transient,
    /// The store has too much to do and refused (503 SlowDown, 429): it asks to be left alone for so long, zero when it
    /// does not say.
    Throttled(Duration),
    /// Will not pass by itself: credentials, missing bucket, a request the store refuses.
    /// A PUT may still have happened when an earlier try was unclear.
    Permanent,
    /// The store answered something else than was asked (short body, wrong range).
    Protocol,
}

impl StoreErrorKind {
    /// Whether the same request may succeed later without anybody's doing.
    pub fn may_pass(self) -> bool {
        matches!(self, Self::Transient | Self::Throttled(_) | Self::Protocol)
    }
}

/// Whether a request that failed may be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Yes.
    Now,
    /// Yes: it was held back while the store was away, and the store is back.
    Held,
    /// Not within the time that was given. The next try may be refused without being sent.
    Later,
}

/// What went wrong, with which object.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{operation} {name}: {message}")]
pub struct StoreError {
    /// What a caller can do about it.
    pub kind: StoreErrorKind,
    /// The verb: put, get, list, delete.
    pub operation: &'static str,
    /// The object or prefix.
    pub name: String,
    /// The store's words.
    pub message: String,
}

/// The result of a store operation.
pub type Result<T> = std::result::Result<T, StoreError>;

/// Which part of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Range {
    /// All of it.
    All,
    /// Bytes `start..end`; the answer has exactly that length.
    Bytes {
        /// First byte.
        start: u64,
        /// One past the last byte.
        end: u64,
    },
    /// The last bytes; the whole object when it is shorter.
    Suffix(u64),
}

/// One line of a LIST.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The object's name, relative to the pool's prefix.
    pub name: String,
    /// Its size.
    pub bytes: u64,
}

/// An object store at a prefix. One call is one request; nothing here retries
/// (`objects::Retry` does, for the calls where that is safe).
pub trait Objects: Send + Sync {
    /// Creates an object if there is none of that name. Durable when it returns `Ok`.
    fn put_new<'a>(&'a self, name: &'a str, body: Bytes) -> BoxFuture<'a, Result<()>>;
    /// Reads an object or a part of it.
    fn get<'a>(&'a self, name: &'a str, range: Range) -> BoxFuture<'a, Result<Bytes>>;
    /// Lists all objects whose names begin with `prefix` (which ends with `/` or is empty), sorted by name.
    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<Listed>>>;
    /// Deletes an object; a missing one is fine.
    fn delete<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<()>>;
    /// Waits until a request that failed may be sent again, at most for `patience`. Whoever tries again asks first, after
    /// a pause of its own: so all of a process's tries together have a bound. A store without one says yes.
    fn turn<'a>(&'a self, _patience: Duration) -> BoxFuture<'a, Turn> {
        Box::pin(ready(Turn::Now))
    }
    /// How the store is called in messages, e.g. `s3://bucket/prefix`. Never contains credentials.
    fn describe(&self) -> String;
}

impl StoreError {
    fn new(kind: StoreErrorKind, operation: &'static str, name: &str, message: impl Into<String>) -> Self {
        Self { kind, operation, name: name.to_owned(), message: message.into() }
    }
}

impl Range {
    /// Which bytes of an object of `size` bytes are meant; `None` when it ends before the range does.
    fn within(self, size: u64) -> Option<std::ops::Range<u64>> {
        match self {
            Self::All => Some(0..size),
            Self::Bytes { start, end } => (start <= end && end <= size).then_some(start..end),
            Self::Suffix(bytes) => Some(size.saturating_sub(bytes)..size),
        }
    }
}

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod rehearsal;
#[cfg(test)]
mod tests;
