//! The handle of a spawned task.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker},
};

/// The task was dropped before it finished: its host crashed or was killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the task was dropped before it finished")]
pub struct Cancelled;

/// The answer of a spawned task. Dropping the handle does not stop the task.
pub struct Task<T> {
    slot: Arc<Mutex<Slot<T>>>,
}

struct Slot<T> {
    answer: Option<Result<T, Cancelled>>,
    waker: Option<Waker>,
}

/// Fills the slot, with [`Cancelled`] when the task's future is dropped early.
struct Filler<T> {
    slot: Arc<Mutex<Slot<T>>>,
    filled: bool,
}

impl<T> Filler<T> {
    fn fill(&mut self, answer: Result<T, Cancelled>) {
        self.filled = true;
        let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        slot.answer = Some(answer);
        let waker = slot.waker.take();
        drop(slot);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Drop for Filler<T> {
    fn drop(&mut self) {
        if !self.filled {
            self.fill(Err(Cancelled));
        }
    }
}

impl<T: Send + 'static> Task<T> {
    /// Splits a future into what the executor runs and the handle to its answer.
    pub(crate) fn split(
        future: impl Future<Output = T> + Send + 'static,
    ) -> (impl Future<Output = ()> + Send + 'static, Self) {
        let slot = Arc::new(Mutex::new(Slot { answer: None, waker: None }));
        let mut filler = Filler { slot: slot.clone(), filled: false };
        let run = async move {
            let answer = future.await;
            filler.fill(Ok(answer));
        };
        (run, Self { slot })
    }
}

impl<T> Task<T> {
    /// Whether the task has finished or was dropped.
    pub fn is_done(&self) -> bool {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner).answer.is_some()
    }

    /// Takes the answer if there is one.
    pub fn take(&self) -> Option<Result<T, Cancelled>> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner).answer.take()
    }
}

impl<T> Future for Task<T> {
    type Output = Result<T, Cancelled>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        match slot.answer.take() {
            Some(answer) => Poll::Ready(answer),
            None => {
                slot.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}
