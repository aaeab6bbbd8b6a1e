//! How much is whose, and why segments stay.

use serde::{Deserialize, Serialize};

use super::{Objects, Pool};

/// What a pool takes in its store. Every byte of `stored` is in one of the lines below it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Space {
    /// The pool.
    pub pool: Pool,
    /// Everything that the store lists.
    pub stored: Objects,
    /// Blocks that one volume or snapshot reaches, as they are stored.
    pub exclusive_bytes: u64,
    /// Blocks that several reach.
    pub shared_bytes: u64,
    /// Blocks that nothing reaches, in segments of which something reaches others.
    pub dead_bytes: u64,
    /// Headers, indexes and trailers of segments.
    pub index_bytes: u64,
    /// Packs of pages.
    pub pages: Objects,
    /// Uploaded, and not committed yet.
    pub in_flight: Objects,
    /// Dead segments and packs that wait for the end of the grace.
    pub waiting: Objects,
    /// Those for which it is over.
    pub due: Objects,
    /// Heads, names and everything else.
    pub records: Objects,
    /// What reclaim could free now: what is due, and dead blocks.
    pub reclaimable_bytes: u64,
    /// What stays, and for whose sake; the most first.
    pub pinned: Vec<Pinned>,
    /// By name.
    pub volumes: Vec<VolumeSpace>,
}

/// What stays although no volume's present state needs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pinned {
    /// For whose sake: `history of NAME`, `snapshot NAME`, `in flight`, `pages`.
    pub by: String,
    /// How much.
    pub bytes: u64,
}

/// What a volume or a snapshot takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeSpace {
    /// Its name; its id, where it has none.
    pub name: String,
    /// Its id.
    pub id: String,
    /// Whether it is a snapshot.
    pub snapshot: bool,
    /// Its size.
    pub size_bytes: u64,
    /// Blocks of it that hold data.
    pub mapped_bytes: u64,
    /// What its newest head reaches, as it is stored.
    pub referenced_bytes: u64,
    /// Of these, what others reach too.
    pub shared_bytes: u64,
    /// What nobody else reaches: it comes back when the volume is deleted.
    pub exclusive_bytes: u64,
    /// Of these, what only its older heads reach.
    pub history_bytes: u64,
}

/// Why the segments of a pool stay as they are, or what is to be done about them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reasons {
    /// Bytes of live blocks.
    pub live_bytes: u64,
    /// Bytes of all blocks of segments that live.
    pub stored_bytes: u64,
    /// By reason.
    pub reasons: Vec<ReasonSum>,
    /// The largest first.
    pub segments: Vec<SegmentReason>,
    /// How many more segments there are.
    pub left_out: u64,
}

/// All segments with one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReasonSum {
    /// The reason.
    pub reason: String,
    /// How many, and their size.
    pub segments: Objects,
    /// What of that is dead.
    pub dead_bytes: u64,
}

/// Why a segment stays, or what is to be done about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentReason {
    /// Its object.
    pub object: String,
    /// Its size.
    pub bytes: u64,
    /// Its blocks.
    pub slots: u32,
    /// Those that something reaches.
    pub live: u32,
    /// The reason.
    pub reason: String,
}
