//! Which heads show the same.

use esker_format::{
    head::Head,
    ids::{PackId, SegmentId},
};

/// All that decides what a head shows, but for its pieces: they are in no segment, and hide no more than the head shows.
/// Up to 600 bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct State {
    root: Option<(PackId, u64)>,
    size_bytes: u64,
    tail: Vec<SegmentId>,
}

impl State {
    /// That of a head.
    pub fn of(head: &Head) -> State {
        let tail = head.tail.iter().map(|segment| segment.id).collect();
        let root = head.root.map(|root| (root.pack, root.offset));
        State { root, size_bytes: head.size_bytes, tail }
    }
}
