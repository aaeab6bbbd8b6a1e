//! Keeping the maps of all volumes of a daemon within their memory.
//!
//! One task a daemon. When maps take seven eighths of their bound it sweeps them, the largest first, in slices well
//! below a millisecond under the exclusive guard, until they take three quarters: `core/map/evict.rs` says what may
//! go. What no root holds cannot. Then pipelines are woken and make roots sooner; at the bound they seal and commit at
//! once, and changes that make a map grow wait for room as at the dirty bound.
//!
//! The bound is passed by little: changes that wait are let go on together, a read keeps the leaves that it has asked
//! for until it has read from them, and an opening takes what its tail and its log say. What maps of volumes that are
//! only read hold of tails no sweep can take.

use std::{ops::Range, sync::Arc};

use esker_io::{
    BoxFuture, Bug, Cpu, planted,
    sync::{
        Mutex, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use super::Volume;
use crate::core::map::{Facts, MAP_BYTES_MAX, MapMemory};

/// Work under one hold of the guard: as much as 32 flat leaves.
const SLICE_WORK: usize = 2048;
/// Slices of one job.
const JOB_SLICES: usize = 8;
/// How often the hand comes to the end in one sweep of a map: it may begin anywhere, and has to come by everything
/// twice.
const TURNS: usize = 3;

/// The maps of the volumes that are open.
pub(crate) struct Maps {
    memory: Arc<MapMemory>,
    volumes: Mutex<Vec<Weak<Volume>>>,
}

impl Default for Maps {
    fn default() -> Self {
        Self { memory: Arc::new(MapMemory::new(MAP_BYTES_MAX)), volumes: Mutex::new(Vec::new()) }
    }
}

impl Maps {
    pub(crate) fn memory(&self) -> &Arc<MapMemory> {
        &self.memory
    }

    pub(super) fn add(&self, volume: &Arc<Volume>) {
        let mut volumes = self.volumes.lock();
        volumes.retain(|volume| volume.strong_count() > 0);
        volumes.push(Arc::downgrade(volume));
    }

    /// There may be more to take away now.
    pub(super) fn look_again(&self) {
        if self.memory.is_crowded() {
            self.memory.crowded.notify();
        }
    }

    /// Open volumes, the one with the largest map first.
    fn by_size(&self) -> Vec<Arc<Volume>> {
        let mut volumes: Vec<_> = self.volumes.lock().iter().filter_map(Weak::upgrade).collect();
        // Sizes change while they are sorted: asked for once.
        let size = |volume: &Arc<Volume>| volume.map.read().memory_bytes();
        volumes.sort_by_cached_key(|volume| std::cmp::Reverse(size(volume)));
        volumes
    }

    /// Sweeps until there is room, or nothing more can go.
    async fn sweep(&self, cpu: &dyn Cpu) {
        let volumes = self.by_size();
        for volume in &volumes {
            let mut turns = 0;
            while turns < TURNS && !self.memory.is_roomy() {
                let volume = volume.clone();
                turns += esker_io::run(cpu, move || volume.sweep()).await;
            }
        }
        // Each of them is asked, so that each knows where this sweep ended.
        let left = volumes.iter().filter(|volume| !volume.is_swept_in_root()).count();
        self.memory.swept(left == 0);
        if self.memory.is_short() {
            volumes
                .iter()
                .filter_map(|volume| volume.writer.as_ref())
                .for_each(|writer| writer.wake.notify());
        }
    }
}

/// As long as a run has this, its maps are kept within their memory.
pub(crate) struct Keeper(Arc<Maps>);

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.memory.crowded.notify();
    }
}

/// Makes a keeper, and the task that does its work until it is dropped.
pub(crate) fn keep(maps: &Arc<Maps>, cpu: Arc<dyn Cpu>) -> (Arc<Keeper>, BoxFuture<'static, ()>) {
    let keeper = Arc::new(Keeper(maps.clone()));
    let (maps, alive) = (maps.clone(), Arc::downgrade(&keeper));
    let work = Box::pin(async move {
        loop {
            let seen = maps.memory.crowded.generation();
            if alive.strong_count() == 0 {
                return;
            }
            if maps.memory.is_crowded() {
                maps.sweep(&*cpu).await;
            }
            maps.memory.crowded.wait_past(seen).await;
        }
    });
    (keeper, work)
}

impl Volume {
    /// Sweeps a stretch of the map; returns how often the hand came to its end.
    fn sweep(&self) -> usize {
        for _ in 0..JOB_SLICES {
            // Before the guard is taken: roots only get newer.
            let root_sequence = self.stored.lock().sequence;
            let mut map = self.map.write();
            let pinned = self.pins.ranges.lock().clone();
            let pinned = if planted(Bug::FilledFromOlder) { Vec::new() } else { pinned };
            // What a volume that is only read holds of its tail is in no root.
            let last_sequence = self.writer.as_ref().map_or(u64::MAX, |writer| writer.log.last_sequence());
            let last_sequence = if planted(Bug::EvictedEarly) { 0 } else { last_sequence };
            #[cfg(feature = "planted")]
            if planted(Bug::EvictedInLog) {
                (0..map.leaves()).for_each(|leaf| map.forget(leaf));
            }
            let swept = map.sweep(&Facts { last_sequence, root_sequence, pinned: &pinned }, SLICE_WORK);
            drop(map);
            // Freeing takes a while: nobody waits for it.
            drop(swept.garbage);
            self.pool.maps().memory().count_evicted(swept.leaves);
            if swept.turned {
                return 1;
            }
        }
        0
    }

    /// Whether the newest root holds all that was there when the sweep before this one ended. What is written without
    /// a pause is never all in a root.
    fn is_swept_in_root(&self) -> bool {
        let Some(writer) = &self.writer else { return true };
        let root_sequence = self.stored.lock().sequence;
        let before = self.pins.swept.swap(writer.log.last_sequence(), Ordering::AcqRel);
        // One that has stopped makes no further root.
        self.has_stopped() || before <= root_sequence
    }

    /// Keeps the leaves of a range in the map, once they are there.
    pub(super) fn pin(&self, lba: u64, blocks: u64) -> Pin<'_> {
        let range = lba..lba.saturating_add(blocks);
        self.pins.ranges.lock().push(range.clone());
        Pin { pins: &self.pins, range }
    }
}

/// Blocks that somebody needs.
pub(super) struct Pins {
    ranges: Mutex<Vec<Range<u64>>>,
    /// The last sequence when a sweep last ended.
    swept: AtomicU64,
}

impl Default for Pins {
    fn default() -> Self {
        Self { ranges: Mutex::default(), swept: AtomicU64::new(u64::MAX) }
    }
}

/// Blocks that stay in the map as long as this is alive.
pub(super) struct Pin<'a> {
    pins: &'a Pins,
    range: Range<u64>,
}

impl Pin<'_> {
    pub(super) fn range(&self) -> Range<u64> {
        self.range.clone()
    }
}

impl Drop for Pin<'_> {
    fn drop(&mut self) {
        let mut ranges = self.pins.ranges.lock();
        if let Some(ours) = ranges.iter().position(|range| *range == self.range) {
            ranges.swap_remove(ours);
        }
    }
}
