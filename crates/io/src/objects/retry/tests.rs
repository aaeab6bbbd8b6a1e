use std::{collections::VecDeque, future::ready, time::Duration};

use bytes::Bytes;

use super::{Retry, RetryLimits};
use crate::{
    BoxFuture, Clock, Listed, Objects, Random, Range, StoreError, StoreErrorKind,
    objects::Result,
    sync::{Arc, Mutex},
};

/// A clock that a sleep moves on.
#[derive(Default)]
struct Jumping(Mutex<Duration>);

impl Clock for Jumping {
    fn monotonic(&self) -> Duration {
        *self.0.lock()
    }

    fn wall_ms(&self) -> u64 {
        0
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        *self.0.lock() += duration;
        Box::pin(ready(()))
    }
}

/// Always the largest number.
struct Largest;

impl Random for Largest {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(0);
    }

    fn below(&self, bound: u64) -> u64 {
        bound - 1
    }
}

/// Fails in the given ways, one after the other (then in the last way for ever, or not at all).
struct Failing {
    kinds: Mutex<VecDeque<StoreErrorKind>>,
    for_ever: bool,
    tries: Mutex<u32>,
}

impl Failing {
    fn answer<T: Send + 'static>(&self, good: T) -> BoxFuture<'static, Result<T>> {
        *self.tries.lock() += 1;
        let mut kinds = self.kinds.lock();
        let kind = if self.for_ever { kinds.front().copied() } else { kinds.pop_front() };
        Box::pin(ready(match kind {
            Some(kind) => Err(StoreError::new(kind, "try", "name", "planted")),
            None => Ok(good),
        }))
    }
}

impl Objects for Failing {
    fn put_new<'a>(&'a self, _: &'a str, _: Bytes) -> BoxFuture<'a, Result<()>> {
        self.answer(())
    }

    fn get<'a>(&'a self, _: &'a str, _: Range) -> BoxFuture<'a, Result<Bytes>> {
        self.answer(Bytes::new())
    }

    fn list<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Vec<Listed>>> {
        self.answer(Vec::new())
    }

    fn delete<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<()>> {
        self.answer(())
    }

    fn describe(&self) -> String {
        String::new()
    }
}

struct Bench {
    retry: Retry,
    inner: Arc<Failing>,
    clock: Arc<Jumping>,
}

fn bench(kinds: &[StoreErrorKind], for_ever: bool) -> Bench {
    let kinds = Mutex::new(kinds.iter().copied().collect());
    let inner = Arc::new(Failing { kinds, for_ever, tries: Mutex::new(0) });
    let clock = Arc::new(Jumping::default());
    let retry = Retry::new(inner.clone(), clock.clone(), Arc::new(Largest));
    Bench { retry, inner, clock }
}

use StoreErrorKind::{Exists, NotFound, Permanent, Protocol, Transient};

#[tokio::test]
async fn what_may_pass_is_tried_again_with_growing_pauses() {
    let bench = bench(&[Transient, Protocol, Transient], false);
    bench.retry.get("a", Range::All).await.unwrap();
    assert_eq!(*bench.inner.tries.lock(), 4);
    assert_eq!(bench.clock.monotonic(), Duration::from_millis(50 + 100 + 200));
}

#[tokio::test]
async fn lists_and_deletes_are_tried_again() {
    let bench = bench(&[Transient], false);
    bench.retry.list("").await.unwrap();
    bench.inner.kinds.lock().push_back(Transient);
    bench.retry.delete("a").await.unwrap();
    assert_eq!(*bench.inner.tries.lock(), 4);
}

#[tokio::test]
async fn what_will_not_pass_is_not_tried_again() {
    for kind in [Exists, NotFound, Permanent] {
        let bench = bench(&[kind], true);
        assert_eq!(bench.retry.get("a", Range::All).await.unwrap_err().kind, kind);
        assert_eq!(*bench.inner.tries.lock(), 1);
    }
}

#[tokio::test]
async fn a_put_is_never_tried_again() {
    let bench = bench(&[Transient], false);
    assert_eq!(bench.retry.put_new("a", Bytes::new()).await.unwrap_err().kind, Transient);
    assert_eq!(*bench.inner.tries.lock(), 1);
}

#[tokio::test]
async fn the_deadline_ends_it() {
    let bench = bench(&[Transient], true);
    assert_eq!(bench.retry.get("a", Range::All).await.unwrap_err().kind, Transient);
    let waited = bench.clock.monotonic();
    assert!(waited <= Duration::from_secs(30) && waited >= Duration::from_secs(25), "{waited:?}");
    let limits = RetryLimits { deadline: Duration::ZERO, ..RetryLimits::default() };
    let tries = *bench.inner.tries.lock();
    let retry = bench.retry.with_limits(limits);
    retry.get("a", Range::All).await.unwrap_err();
    assert_eq!(*bench.inner.tries.lock(), tries + 1);
}
