//! "Something changed": a wake-up that needs no runtime.
//!
//! An event counts its notifications. A waiter reads the count, looks at the state it cares about,
//! and waits until the count has moved past what it read: a notification in between is never lost.
//! Tasks of any executor and plain threads can wait for the same event.

use std::{
    pin::Pin,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use super::{
    Condvar, Mutex,
    atomic::{AtomicU64, Ordering},
};

/// Who waits.
#[derive(Debug)]
struct Waiting {
    /// Tasks, each under the ticket of its wait.
    wakers: Vec<(u64, Waker)>,
    /// The next wait's ticket.
    next_ticket: u64,
    /// Threads inside [`Event::blocking_wait_past`].
    threads: usize,
}

/// A counter of notifications that can be waited for.
#[derive(Debug)]
pub struct Event {
    generation: AtomicU64,
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

impl Event {
    /// An event that was never notified: generation 0.
    pub const fn new() -> Self {
        Self {
            generation: AtomicU64::new(0),
            waiting: Mutex::new(Waiting { wakers: Vec::new(), next_ticket: 0, threads: 0 }),
            changed: Condvar::new(),
        }
    }

    /// How often it was notified. Read this *before* the state that the wait is for.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Counts one more and wakes everybody. Call it *after* the state was changed.
    pub fn notify(&self) {
        let wakers = {
            let mut waiting = self.waiting.lock();
            self.generation.fetch_add(1, Ordering::Release);
            if waiting.threads > 0 {
                self.changed.notify_all();
            }
            std::mem::take(&mut waiting.wakers)
        };
        // Outside the lock: a waker may run its task at once, and that task may wait again.
        for (_, waker) in wakers {
            waker.wake();
        }
    }

    /// Waits until the generation is above `seen`, and returns it.
    pub fn wait_past(&self, seen: u64) -> impl Future<Output = u64> + Send + use<'_> {
        WaitPast { event: self, seen, ticket: None }
    }

    /// Blocks the thread until the generation is above `seen`, or for `timeout`; returns the
    /// generation, which is `seen` or less only when the time was up.
    pub fn blocking_wait_past(&self, seen: u64, timeout: Duration) -> u64 {
        let now = self.generation();
        if now > seen {
            return now;
        }
        let deadline = Instant::now().checked_add(timeout);
        let mut waiting = self.waiting.lock();
        waiting.threads += 1;
        loop {
            let now = self.generation();
            // A time-out beyond what the clock can say is none.
            let left =
                deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(Instant::now()));
            if now > seen || left.is_zero() {
                waiting.threads -= 1;
                return now;
            }
            (waiting, _) = self.changed.wait_timeout(waiting, left);
        }
    }
}

impl Default for Event {
    fn default() -> Self {
        Self::new()
    }
}

/// One wait of one task.
struct WaitPast<'a> {
    event: &'a Event,
    seen: u64,
    /// Under what its waker was left with the event.
    ticket: Option<u64>,
}

impl Future for WaitPast<'_> {
    type Output = u64;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u64> {
        let now = self.event.generation();
        if now > self.seen {
            return Poll::Ready(now);
        }
        let mut waiting = self.event.waiting.lock();
        // Again under the lock: `notify` counts under it, so from here on it sees our waker.
        let now = self.event.generation();
        if now > self.seen {
            return Poll::Ready(now);
        }
        let ticket = *self.ticket.get_or_insert(waiting.next_ticket);
        match waiting.wakers.iter_mut().find(|(other, _)| *other == ticket) {
            Some((_, waker)) => waker.clone_from(context.waker()),
            None => {
                waiting.wakers.push((ticket, context.waker().clone()));
                waiting.next_ticket = waiting.next_ticket.max(ticket + 1);
            }
        }
        Poll::Pending
    }
}

impl Drop for WaitPast<'_> {
    /// A wait that is given up (a time-out won, say) leaves nothing behind.
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.event.waiting.lock().wakers.retain(|(other, _)| *other != ticket);
        }
    }
}

#[cfg(test)]
mod tests;
