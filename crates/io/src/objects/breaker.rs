//! The circuit breaker: while most requests fail, none is sent but a probe now and then.
//!
//! ```text
//!            half of the last 10 s' answers failed, 8 at least, of 2 objects
//!   ┌────────┐ ─────────────────────────────────────▶ ┌──────┐
//!   │ closed │                                        │ open │ ◀─┐ it fails: the pause doubles
//!   └────────┘ ◀─────────────── ┌─────────┐ ◀──────── └──────┘   │ it is dropped: the next one at once
//!              the probe is     │ probing │  the pause is over,  │
//!              answered         └─────────┘  one request passes ─┘
//! ```
//!
//! 1. Closed: everything passes. Only failures that may pass count as such; "exists", "not found" and a refusal are
//!    answers of a store that is there.
//! 2. Open: a request fails at once, without being sent. Who wants to try again waits for its [`Turn`] instead: until
//!    the pause is over or the breaker closes.
//! 3. The first request after the pause is the probe; the others still fail at once. One that has no answer after ten
//!    seconds does not keep the next one from being sent, but its late answer closes the breaker all the same.
//! 4. A pause is drawn between half of its length and all of it, so that hosts do not come back in step. Those who were
//!    held back come spread over a second.
//! 5. A single object that fails for ever is no weather: failures count from two objects on, and an object whose probe has
//!    failed lets others go first. So a volume with a broken object does not hold up the others.
//! 6. A store that throttles says for how long it wants to be left alone: tries wait for that, and so does a probe.
//!
//! [`state`] decides, from what it is told and when; this file sends and waits.

mod state;

use std::time::Duration;

use bytes::Bytes;

use super::{Listed, Objects, Range, Result, StoreError, StoreErrorKind, Turn};
use crate::{
    BoxFuture, Bug, Clock, Random, planted,
    sync::{
        Arc, Event, Mutex,
        atomic::{AtomicU64, Ordering},
        either,
    },
};
use state::{Object, Outcome, State, Ticket};

/// Over how much time those come back who were held.
const SPREAD: Duration = Duration::from_secs(1);

/// What a breaker lets pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// Everything.
    Closed,
    /// A probe that is on its way, and nothing else.
    Probing,
    /// Nothing.
    Open,
}

/// Keeps requests from a store that is away.
pub struct Breaker {
    inner: Arc<dyn Objects>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    state: Mutex<State>,
    /// The state has changed: who waits looks again.
    changed: Event,
    refused: AtomicU64,
}

impl Breaker {
    /// A closed breaker.
    pub fn new(inner: Arc<dyn Objects>, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        let (state, changed) = (Mutex::new(State::new()), Event::new());
        Self { inner, clock, random, state, changed, refused: AtomicU64::new(0) }
    }

    /// What it lets pass now.
    pub fn state(&self) -> BreakerState {
        self.state.lock().shown()
    }

    /// How often it has opened.
    pub fn opened(&self) -> u64 {
        self.state.lock().opened()
    }

    /// Requests that were not sent.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Sends a request, or does not even make it.
    async fn pass<'a, T>(
        &'a self,
        operation: &'static str,
        name: &'a str,
        request: impl FnOnce() -> BoxFuture<'a, Result<T>> + Send,
    ) -> Result<T> {
        let now = self.clock.monotonic();
        let admitted = self.state.lock().admit(Object::named(name), now);
        let ticket = match admitted {
            Ok(ticket) => ticket,
            Err(until) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                let wait = until.saturating_sub(now).as_secs_f64();
                let message = format!("not sent: most requests fail; the next is tried in {wait:.1} s");
                return Err(StoreError::new(StoreErrorKind::Transient, operation, name, message));
            }
        };
        let mut sent = Sent { breaker: self, ticket, outcome: Outcome::Dropped };
        let answer = request().await;
        sent.outcome = match &answer {
            Ok(_) => Outcome::Answered,
            Err(error) => match error.kind {
                StoreErrorKind::Transient => Outcome::Failed,
                StoreErrorKind::Throttled(pause) => Outcome::Throttled(pause),
                _ => Outcome::Answered,
            },
        };
        answer
    }

    /// What became of a request.
    fn settle(&self, ticket: Ticket, outcome: Outcome) {
        if planted(Bug::BreakerStaysOpen) && ticket.is_probe() {
            return;
        }
        let now = self.clock.monotonic();
        let jitter = |longest: Duration| self.below(longest);
        let before = self.state.lock().shown();
        let changed = self.state.lock().settle(ticket, outcome, now, jitter);
        if !changed {
            return;
        }
        match (before, self.state()) {
            (BreakerState::Closed, BreakerState::Open) => {
                tracing::warn!(store = %self.describe(), "most requests to the store fail: held back, and probed");
            }
            (_, BreakerState::Closed) => {
                tracing::info!(store = %self.describe(), "the store answers again");
            }
            _ => {}
        }
        self.changed.notify();
    }

    fn below(&self, longest: Duration) -> Duration {
        let micros = u64::try_from(longest.as_micros()).unwrap_or(u64::MAX - 1);
        Duration::from_micros(self.random.below(micros + 1))
    }

    async fn next_turn(&self, patience: Duration) -> Turn {
        let end = self.clock.monotonic().saturating_add(patience);
        let mut held = false;
        loop {
            let seen = self.changed.generation();
            let now = self.clock.monotonic();
            let (state, at) = {
                let state = self.state.lock();
                (state.shown(), state.next_try(now))
            };
            let Some(at) = at else { break };
            if now >= end {
                return Turn::Later;
            }
            held |= state != BreakerState::Closed;
            let pause = at.min(end).saturating_sub(now);
            either(self.changed.wait_past(seen), self.clock.sleep(pause)).await;
        }
        if !held {
            return Turn::Now;
        }
        if self.state() == BreakerState::Closed {
            let rest = end.saturating_sub(self.clock.monotonic());
            self.clock.sleep(self.below(SPREAD).min(rest)).await;
        }
        Turn::Held
    }
}

/// A request that was let pass; dropped before its answer, it has none.
struct Sent<'a> {
    breaker: &'a Breaker,
    ticket: Ticket,
    outcome: Outcome,
}

impl Drop for Sent<'_> {
    fn drop(&mut self) {
        self.breaker.settle(self.ticket, self.outcome);
    }
}

impl Objects for Breaker {
    fn put_new<'a>(&'a self, name: &'a str, body: Bytes) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.pass("put", name, move || self.inner.put_new(name, body)))
    }

    fn get<'a>(&'a self, name: &'a str, range: Range) -> BoxFuture<'a, Result<Bytes>> {
        Box::pin(self.pass("get", name, move || self.inner.get(name, range)))
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<Listed>>> {
        Box::pin(self.pass("list", prefix, move || self.inner.list(prefix)))
    }

    fn delete<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.pass("delete", name, move || self.inner.delete(name)))
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
