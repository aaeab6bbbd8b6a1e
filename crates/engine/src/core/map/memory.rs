//! The memory that all maps of a daemon may take, and what they take.

use esker_io::sync::{
    Arc, Event,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

/// What a map may take when nobody says otherwise.
pub const MAP_BYTES_MAX: u64 = 1 << 30;

/// A leaf at its largest: the bound gives way by no less.
const LEAF_BYTES_MAX: u64 = 16 << 10;

/// Bytes of all maps, and their bound.
///
/// ```text
/// 0            ¾               ⅞                            1
/// |            | swept down to | swept; what is in no root   | what makes a map grow waits,
/// |            |               | is folded sooner            | everything is sealed at once
/// ```
#[derive(Debug)]
pub struct MapMemory {
    used: AtomicU64,
    bound: AtomicU64,
    /// What no sweep can take away though roots hold everything: the bound gives way to that.
    least: AtomicU64,
    /// The last sweep has left more than it should.
    short: AtomicBool,
    loaded: AtomicU64,
    evicted: AtomicU64,
    waits: AtomicU64,
    /// There is more to sweep.
    pub(crate) crowded: Event,
    /// There is room again: writes that wait look again.
    pub(crate) room: Event,
}

impl MapMemory {
    /// Memory of at most so many bytes.
    pub fn new(bound: u64) -> Self {
        Self {
            used: AtomicU64::new(0),
            bound: AtomicU64::new(bound),
            least: AtomicU64::new(0),
            short: AtomicBool::new(false),
            loaded: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
            waits: AtomicU64::new(0),
            crowded: Event::new(),
            room: Event::new(),
        }
    }

    /// Sets the bound.
    pub fn set_bound(&self, bound: u64) {
        self.bound.store(bound, Ordering::Release);
    }

    /// The bound as it was set.
    pub fn bound(&self) -> u64 {
        self.bound.load(Ordering::Acquire)
    }

    /// Bytes of all maps.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Acquire)
    }

    /// Leaves whose pages were read into a map.
    pub fn loaded(&self) -> u64 {
        self.loaded.load(Ordering::Relaxed)
    }

    /// Leaves that a sweep took out of a map.
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// Changes that had to wait because a map could not grow.
    pub fn waits(&self) -> u64 {
        self.waits.load(Ordering::Relaxed)
    }

    pub(crate) fn count_loaded(&self) {
        self.loaded.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_evicted(&self, leaves: u64) {
        self.evicted.fetch_add(leaves, Ordering::Relaxed);
    }

    pub(crate) fn count_wait(&self) {
        self.waits.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether maps should give memory back.
    pub(crate) fn is_crowded(&self) -> bool {
        self.used() >= self.soft()
    }

    /// Whether a sweep need not go on.
    pub(crate) fn is_roomy(&self) -> bool {
        self.used() < self.bound() / 4 * 3
    }

    /// Whether what makes a map grow waits.
    pub(crate) fn is_full(&self) -> bool {
        self.used() >= self.bound().max(self.least.load(Ordering::Acquire))
    }

    /// Whether a sweep could not make room, so that more has to get into roots first.
    pub(crate) fn is_short(&self) -> bool {
        self.short.load(Ordering::Acquire) && self.is_crowded()
    }

    /// Learns how a sweep of all maps ended.
    pub(crate) fn swept(&self, nothing_is_left: bool) {
        let used = self.used();
        self.short.store(self.is_crowded(), Ordering::Release);
        // A bound below what maps take at the least would stop every write for ever.
        let more = (self.bound() / 16).max(LEAF_BYTES_MAX);
        let least = if nothing_is_left && self.is_full() { used + more } else { 0 };
        if least > 0 || !self.is_crowded() {
            self.least.store(least, Ordering::Release);
        }
        if !self.is_full() {
            self.room.notify();
        }
    }

    fn soft(&self) -> u64 {
        self.bound() / 8 * 7
    }

    fn grew(&self, bytes: u64) {
        let before = self.used.fetch_add(bytes, Ordering::AcqRel);
        // Again after each further sixty-fourth: a sweep may find more than the one before.
        let step = (self.bound() / 64).max(1);
        if before + bytes >= self.soft() && before / step != (before + bytes) / step {
            self.crowded.notify();
        }
    }

    fn shrank(&self, bytes: u64) {
        let was_full = self.is_full();
        let before = self.used.fetch_sub(bytes, Ordering::AcqRel);
        assert!(before >= bytes, "{bytes} bytes of maps came back, {before} were out");
        if was_full && !self.is_full() {
            self.room.notify();
        }
    }
}

/// One map's part of the memory, given back when it is dropped.
#[derive(Default)]
pub(super) struct Share {
    memory: Option<Arc<MapMemory>>,
    reported: usize,
}

impl Share {
    pub(super) fn of(memory: Arc<MapMemory>) -> Self {
        Self { memory: Some(memory), reported: 0 }
    }

    /// Learns what the map takes now.
    pub(super) fn report(&mut self, bytes: usize) {
        let Some(memory) = &self.memory else { return };
        match bytes.checked_sub(self.reported) {
            Some(0) => {}
            Some(more) => memory.grew(more as u64),
            None => memory.shrank((self.reported - bytes) as u64),
        }
        self.reported = bytes;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.report(0);
    }
}
