//! Waiting for virtual time.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use super::Executor;

/// A wait for a moment of virtual time. Dropped, it leaves no timer behind.
pub(crate) struct Sleep {
    executor: Executor,
    when: Duration,
    key: Option<(Duration, u64)>,
}

impl Sleep {
    pub(super) fn new(executor: Executor, when: Duration) -> Self {
        Self { executor, when, key: None }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let executor = self.executor.clone();
        let mut state = executor.shared.lock();
        if state.now >= self.when {
            return Poll::Ready(());
        }
        let key = match self.key {
            Some(key) => key,
            None => (self.when, state.id()),
        };
        self.key = Some(key);
        let replaced = state.timers.insert(key, context.waker().clone());
        drop(state);
        drop(replaced);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            let waker = self.executor.shared.lock().timers.remove(&key);
            drop(waker);
        }
    }
}
