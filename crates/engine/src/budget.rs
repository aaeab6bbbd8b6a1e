//! The dirty bound of the whole daemon: what all its volumes together may hold in logs.

use std::time::Duration;

use esker_io::sync::{
    Event,
    atomic::{AtomicU64, Ordering},
};

use crate::pace::Pacer;

/// How often pipelines are reminded, at most, that guests of other volumes are paced.
const REMINDER: Duration = Duration::from_millis(50);

/// Log bytes of all volumes that no applied commit covers, and their bound.
#[derive(Debug)]
pub(crate) struct Budget {
    used: AtomicU64,
    pacer: Pacer,
    /// Monotonic nanoseconds before which nobody is reminded again.
    remind_at: AtomicU64,
    /// There is room again: writes that wait look again.
    pub(crate) room: Event,
    /// Somebody waits: volumes that could wait with sealing do not.
    pub(crate) pressure: Event,
}

impl Budget {
    pub(crate) fn new(max: u64) -> Self {
        Self {
            used: AtomicU64::new(0),
            pacer: Pacer::new(max),
            remind_at: AtomicU64::new(0),
            room: Event::new(),
            pressure: Event::new(),
        }
    }

    pub(crate) fn take(&self, bytes: u64) {
        self.used.fetch_add(bytes, Ordering::AcqRel);
    }

    /// Gives back what was taken.
    pub(crate) fn give_back(&self, bytes: u64) {
        let before = self.used.fetch_sub(bytes, Ordering::AcqRel);
        assert!(before >= bytes, "{bytes} bytes of the daemon's dirty bound came back, {before} were out");
        if bytes > 0 {
            self.room.notify();
        }
    }

    /// Bytes taken and not given back.
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Acquire)
    }

    /// The bound.
    pub(crate) fn max(&self) -> u64 {
        self.pacer.bound()
    }

    /// How long a writer of `bytes` pauses for the daemon's sake. Volumes that could keep what they have are told.
    pub(crate) fn pause(&self, bytes: u64, now: Duration) -> Duration {
        let used = self.used();
        if self.pacer.paces(used) {
            let (now, next) = (now.as_nanos() as u64, (now + REMINDER).as_nanos() as u64);
            if now >= self.remind_at.load(Ordering::Relaxed)
                && now >= self.remind_at.swap(next, Ordering::Relaxed)
            {
                self.pressure.notify();
            }
        }
        self.pacer.pause(bytes, used, now)
    }

    /// Whether writers are paced.
    pub(crate) fn paces(&self) -> bool {
        self.pacer.paces(self.used())
    }

    /// Learns that `bytes` came back because they are in the store.
    pub(crate) fn came_back(&self, bytes: u64, now: Duration) {
        self.pacer.came_back(bytes, self.used(), now);
    }

    /// Whether writes have to wait.
    pub(crate) fn is_full(&self) -> bool {
        self.used() >= self.max()
    }

    /// Whether volumes should seal what they would rather keep for longer.
    pub(crate) fn is_pressed(&self) -> bool {
        self.used() >= self.max() / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_pressed_at_half_and_full_at_all() {
        let budget = Budget::new(100);
        budget.take(49);
        assert!(!budget.is_pressed());
        budget.take(1);
        assert!(budget.is_pressed() && !budget.is_full());
        budget.take(50);
        assert!(budget.is_full());
        let seen = budget.room.generation();
        budget.give_back(60);
        assert!(!budget.is_full() && budget.room.generation() > seen);
    }

    #[test]
    fn volumes_are_reminded_while_writers_are_paced_but_not_by_every_write() {
        let budget = Budget::new(1 << 30);
        budget.take(700 << 20);
        let reminded = |at_ms| {
            let seen = budget.pressure.generation();
            assert!(budget.pause(4096, Duration::from_millis(at_ms)) > Duration::ZERO);
            budget.pressure.generation() > seen
        };
        assert_eq!([1, 2, 40, 60, 61].map(reminded), [true, false, false, true, false]);
    }
}
