//! Trying again, where that cannot change what is stored.

use std::time::Duration;

use bytes::Bytes;

use super::{Listed, Objects, Range, Result, Turn};
use crate::{BoxFuture, Clock, Random, sync::Arc};

/// When to try again and when to give up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryLimits {
    /// The longest pause before the second try; it doubles with each further one.
    pub first_pause: Duration,
    /// What the longest pause doubles up to.
    pub longest_pause: Duration,
    /// No try starts later than this after the first.
    pub deadline: Duration,
}

impl Default for RetryLimits {
    fn default() -> Self {
        Self {
            first_pause: Duration::from_millis(50),
            longest_pause: Duration::from_secs(5),
            deadline: Duration::from_secs(30),
        }
    }
}

/// Retries reads, lists and deletes that failed in a way that may pass, with exponential backoff and
/// full jitter (each pause is drawn between zero and the longest, so that hosts do not return in step).
///
/// A PUT is never retried here. After an unclear answer it may have happened, and only its maker can
/// tell an object of its own from another's (rule H4): the engine settles it, by sending the same
/// bytes again and comparing what holds the name. A retry out of its sight would turn its own success
/// into "exists".
pub struct Retry {
    inner: Arc<dyn Objects>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    limits: RetryLimits,
}

impl Retry {
    /// Retries with the default limits.
    pub fn new(inner: Arc<dyn Objects>, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        Self { inner, clock, random, limits: RetryLimits::default() }
    }

    /// The same with other limits.
    pub fn with_limits(self, limits: RetryLimits) -> Self {
        Self { limits, ..self }
    }

    async fn again<'a, T>(&'a self, request: impl Fn() -> BoxFuture<'a, Result<T>> + Send) -> Result<T> {
        let start = self.clock.monotonic();
        let mut longest = self.limits.first_pause;
        loop {
            let error = match request().await {
                Err(error) if error.kind.may_pass() => error,
                answer => return answer,
            };
            let pause = self.pause(longest);
            if self.clock.monotonic().saturating_sub(start) + pause > self.limits.deadline {
                return Err(error);
            }
            tracing::debug!(%error, ?pause, "trying again");
            self.clock.sleep(pause).await;
            let rest = (start + self.limits.deadline).saturating_sub(self.clock.monotonic());
            if self.inner.turn(rest).await == Turn::Later {
                return Err(error);
            }
            longest = (longest * 2).min(self.limits.longest_pause);
        }
    }

    fn pause(&self, longest: Duration) -> Duration {
        let micros = u64::try_from(longest.as_micros()).unwrap_or(u64::MAX - 1);
        Duration::from_micros(self.random.below(micros + 1))
    }
}

impl Objects for Retry {
    fn put_new<'a>(&'a self, name: &'a str, body: Bytes) -> BoxFuture<'a, Result<()>> {
        self.inner.put_new(name, body)
    }

    fn get<'a>(&'a self, name: &'a str, range: Range) -> BoxFuture<'a, Result<Bytes>> {
        Box::pin(self.again(move || self.inner.get(name, range)))
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<Listed>>> {
        Box::pin(self.again(move || self.inner.list(prefix)))
    }

    fn delete<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.again(move || self.inner.delete(name)))
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
