//! Segments that are worth rewriting.

use esker_format::{ids::SegmentId, segment::SlotRun};

/// A segment to be rewritten, and what of it lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Victim {
    /// Which.
    pub segment: SegmentId,
    /// Its live slots: the first and how many, sorted, disjoint.
    pub live: Vec<SlotRun>,
}
