//! The dirty bound of the whole daemon: what all its volumes together may hold in logs.

use esker_io::sync::{
    Event,
    atomic::{AtomicU64, Ordering},
};

/// Log bytes of all volumes that no applied commit covers, and their bound.
#[derive(Debug)]
pub(crate) struct Budget {
    used: AtomicU64,
    max: u64,
    /// There is room again: writes that wait look again.
    pub(crate) room: Event,
    /// Somebody waits: volumes that could wait with sealing do not.
    pub(crate) pressure: Event,
}

impl Budget {
    pub(crate) fn new(max: u64) -> Self {
        Self { used: AtomicU64::new(0), max, room: Event::new(), pressure: Event::new() }
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

    /// Whether writes have to wait.
    pub(crate) fn is_full(&self) -> bool {
        self.used() >= self.max
    }

    /// Whether volumes should seal what they would rather keep for longer.
    pub(crate) fn is_pressed(&self) -> bool {
        self.used() >= self.max / 2
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
}
