//! Reading ahead: ranges that volumes ask for wait in a short line, and one task of the daemon fetches them.
//!
//! It never stands in a guest's way: it has a small share of the GETs in flight, frames count as being fetched only from
//! the moment when their GET may start, and when the line is full the oldest range is forgotten.

use std::{
    collections::VecDeque,
    ops::Range,
    sync::{Arc, Weak},
};

use esker_io::{
    BoxFuture,
    sync::{Event, Mutex, either},
};
use futures_util::{StreamExt, stream::FuturesUnordered};

/// Ranges that wait at most.
const RANGES_WAITING_MAX: usize = 64;
/// Ranges that are fetched at a time.
const RANGES_AT_ONCE: usize = 4;

/// Who wants blocks before anybody asks for them.
pub(crate) trait Foresees: Send + Sync {
    /// Fetches them.
    fn read_ahead(self: Arc<Self>, blocks: Range<u64>) -> BoxFuture<'static, ()>;
}

/// Ranges that wait.
#[derive(Default)]
pub(crate) struct Line {
    state: Mutex<State>,
    changed: Event,
}

#[derive(Default)]
struct State {
    ranges: VecDeque<(Weak<dyn Foresees>, Range<u64>)>,
    /// Somebody takes them.
    served: bool,
}

impl Line {
    /// Asks for blocks of a volume.
    pub(crate) fn ask(&self, volume: Weak<dyn Foresees>, blocks: Range<u64>) {
        let mut state = self.state.lock();
        if !state.served {
            return;
        }
        if state.ranges.len() >= RANGES_WAITING_MAX {
            state.ranges.pop_front();
        }
        state.ranges.push_back((volume, blocks));
        drop(state);
        self.changed.notify();
    }

    /// Nobody takes them any more.
    pub(crate) fn close(&self) {
        *self.state.lock() = State::default();
        self.changed.notify();
    }

    fn is_served(&self) -> bool {
        self.state.lock().served
    }

    fn next(&self) -> Option<(Weak<dyn Foresees>, Range<u64>)> {
        self.state.lock().ranges.pop_front()
    }
}

/// Fetches what is asked for until the line is closed.
pub(crate) fn work(line: Arc<Line>) -> impl Future<Output = ()> + Send {
    line.state.lock().served = true;
    async move {
        let mut running = FuturesUnordered::new();
        loop {
            let seen = line.changed.generation();
            while running.len() < RANGES_AT_ONCE
                && let Some((volume, blocks)) = line.next()
            {
                if let Some(volume) = volume.upgrade() {
                    running.push(volume.read_ahead(blocks));
                }
            }
            if !line.is_served() {
                return;
            }
            let asked = line.changed.wait_past(seen);
            if running.is_empty() {
                asked.await;
            } else {
                // Either way the line is looked at again.
                let _ = either(running.next(), asked).await;
            }
        }
    }
}
