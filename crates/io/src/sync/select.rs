//! Waiting for the first of two things, in a fixed order so that simulation repeats itself.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
    time::Duration,
};

use crate::Clock;

/// Which of two futures was first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Either<A, B> {
    /// The first one.
    Left(A),
    /// The second one.
    Right(B),
}

/// Runs both until one is done; when both are, the first counts. The other is dropped.
pub async fn either<A: Future, B: Future>(a: A, b: B) -> Either<A::Output, B::Output> {
    let mut a = pin!(a);
    let mut b = pin!(b);
    poll_fn(|context| {
        if let Poll::Ready(answer) = a.as_mut().poll(context) {
            return Poll::Ready(Either::Left(answer));
        }
        b.as_mut().poll(context).map(Either::Right)
    })
    .await
}

/// Runs `future` for at most `duration`; `None` when the time was up (and the future is dropped).
pub async fn timeout<F: Future>(clock: &dyn Clock, duration: Duration, future: F) -> Option<F::Output> {
    match either(future, clock.sleep(duration)).await {
        Either::Left(answer) => Some(answer),
        Either::Right(()) => None,
    }
}

#[cfg(test)]
mod tests;
