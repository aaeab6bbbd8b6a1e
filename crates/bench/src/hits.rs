//! How often a cache on the disk would have what is asked for: what a real load reads, recorded below the memory's
//! caches and replayed through several policies.
//!
//! In numbered steps:
//! 1. A daemon without caches, its store behind a proxy that notes each GET of a segment. A script uses the volume as a
//!    block device: what it reads comes from the store, frame by frame.
//! 2. The indexes of the segments say which frames each GET has brought: a string of references, each with the bytes
//!    that the frame has in the store.
//! 3. The string goes through a memory of decoded frames in the order of use, as a daemon has one, and what that does not
//!    have through each policy, at several sizes.

mod policy;
mod record;

pub use policy::{Fifo, Lru, Ours, Policy, replay};
pub use record::{Config, record};

use esker_format::ids::SegmentId;

/// A frame that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reference {
    /// The segment.
    pub segment: SegmentId,
    /// The frame's first slot.
    pub slot: u16,
    /// What it has in the store.
    pub bytes: u32,
}

impl Reference {
    fn key(&self) -> (SegmentId, u16) {
        (self.segment, self.slot)
    }
}

/// The bytes of all frames that are asked for at least once.
pub fn distinct_bytes(trace: &[Reference]) -> u64 {
    let distinct: std::collections::BTreeMap<_, _> =
        trace.iter().map(|reference| (reference.key(), reference.bytes)).collect();
    distinct.values().map(|bytes| u64::from(*bytes)).sum()
}

/// What a memory of so many frames does not have.
pub fn behind_memory(trace: &[Reference], frames: usize) -> Vec<Reference> {
    let mut memory = Lru::of_entries(frames);
    trace.iter().filter(|reference| !memory.ask(reference)).copied().collect()
}
