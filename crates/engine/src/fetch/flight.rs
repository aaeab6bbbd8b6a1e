//! Single flight: of those who want one thing at one time, one fetches it and all get the answer.

use std::collections::BTreeMap;

use esker_io::sync::Mutex;
use futures_channel::oneshot;

use crate::Result;

/// What is being fetched now, and who waits for it.
pub(super) struct Flights<K, V> {
    waiting: Mutex<BTreeMap<K, Vec<oneshot::Sender<Result<V>>>>>,
}

/// What to do about one thing.
pub(super) enum Role<'a, K: Ord + Clone, V> {
    /// It has come meanwhile.
    Ready(V),
    /// Fetch it.
    Lead(Lead<'a, K, V>),
    /// Wait for the one who fetches it. A closed channel means that they have gone: join again.
    Wait(oneshot::Receiver<Result<V>>),
}

impl<K: Ord + Clone, V: Clone> Flights<K, V> {
    pub(super) fn new() -> Self {
        Self { waiting: Mutex::new(BTreeMap::new()) }
    }

    /// `cached` is asked under the lock. A leader caches its answer before it takes the flight off, so
    /// whoever sees no flight here sees the answer there, unless the cache dropped it.
    pub(super) fn join(&self, key: &K, cached: impl FnOnce() -> Option<V>) -> Role<'_, K, V> {
        let mut waiting = self.waiting.lock();
        if let Some(waiters) = waiting.get_mut(key) {
            let (sender, receiver) = oneshot::channel();
            waiters.push(sender);
            return Role::Wait(receiver);
        }
        if let Some(value) = cached() {
            return Role::Ready(value);
        }
        waiting.insert(key.clone(), Vec::new());
        Role::Lead(Lead { flights: self, key: key.clone(), answered: false })
    }

    /// The number of flights.
    pub(super) fn len(&self) -> usize {
        self.waiting.lock().len()
    }
}

/// The duty to answer. Dropped without an answer, for the one who wanted it has gone, it lets the waiters go:
/// they join again, and one of them leads.
pub(super) struct Lead<'a, K: Ord + Clone, V> {
    flights: &'a Flights<K, V>,
    key: K,
    answered: bool,
}

impl<K: Ord + Clone, V: Clone> Lead<'_, K, V> {
    /// What is to be fetched.
    pub(super) fn key(&self) -> &K {
        &self.key
    }

    /// Answers everybody who waits. What can be cached is cached already.
    pub(super) fn finish(mut self, answer: &Result<V>) {
        self.answered = true;
        let waiters = self.flights.waiting.lock().remove(&self.key).unwrap_or_default();
        for waiter in waiters {
            // Who has gone needs no answer.
            let _ = waiter.send(answer.clone());
        }
    }
}

impl<K: Ord + Clone, V> Drop for Lead<'_, K, V> {
    fn drop(&mut self) {
        // After an answer the flight of this key, if there is one, is somebody else's.
        if !self.answered {
            self.flights.waiting.lock().remove(&self.key);
        }
    }
}
