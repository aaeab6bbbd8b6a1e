//! What a read needs: which frames, which of their bytes go where, and in which ranges of an object to get them.

use std::collections::BTreeMap;

use esker_format::{
    BLOCK_BYTES,
    address::{Address, AddressKind},
    ids::SegmentId,
    segment::{Frame, SegmentIndex},
};

use super::{
    GET_BYTES_MAX, GET_FRAMES_MAX, GET_GAP_BYTES_MAX, damaged_segment, index::Opened, source::Source,
};
use crate::Result;

/// Blocks in consecutive slots of a segment, and where they go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// The first slot. A segment address.
    pub address: Address,
    /// How many.
    pub blocks: u64,
    /// Where the first block begins in the reader's buffer.
    pub offset: usize,
}

impl Part {
    /// Segment and first slot. Panics on other addresses: what is no segment has nothing to fetch.
    pub(super) fn place(&self) -> (SegmentId, u32) {
        match self.address.kind() {
            AddressKind::Segment(id, slot) => (id, u32::from(slot)),
            other => panic!("a part of a segment is read, not {other:?}"),
        }
    }
}

/// A frame: where its segment is, and its first place there.
pub(super) type FrameKey = (Source, u32);

/// Bytes of a frame that go into the reader's buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    /// First byte in the decoded frame.
    pub(super) from: usize,
    pub(super) bytes: usize,
    /// First byte in the buffer.
    pub(super) to: usize,
}

impl Piece {
    pub(super) fn copy(&self, frame: &[u8], buffer: &mut [u8]) {
        buffer[self.to..self.to + self.bytes].copy_from_slice(&frame[self.from..self.from + self.bytes]);
    }
}

/// A frame and what is wanted of it.
pub(super) struct Wanted {
    pub(super) frame: Frame,
    pub(super) pieces: Vec<Piece>,
}

/// Calls `take` for each frame of a part, in order; stops early when that returns false.
///
/// # Errors
/// When the segment has no such slots: the map and the segment contradict each other.
pub(super) fn each_piece(
    part: &Part,
    index: &SegmentIndex,
    mut take: impl FnMut(&Frame, Piece) -> bool,
) -> Result<()> {
    let (id, first_slot) = part.place();
    let (mut slot, end) = (first_slot, u64::from(first_slot) + part.blocks);
    if end > u64::from(index.slots) {
        let message = format!("the map names slots up to {}, the segment has {}", end - 1, index.slots);
        return Err(damaged_segment(id, message));
    }
    let mut to = part.offset;
    while u64::from(slot) < end {
        let Some(found) = index.find(slot) else {
            // Never zeros (I4).
            let dropped = index.rewrite.is_some();
            let what = if dropped { "was dropped by reclaim" } else { "is in no frame" };
            return Err(damaged_segment(id, format!("the map names slot {slot}, which {what}")));
        };
        let blocks = u64::from(found.blocks).min(end - u64::from(slot)) as u32;
        let bytes = blocks as usize * BLOCK_BYTES;
        if !take(found.frame, Piece { from: found.skip as usize * BLOCK_BYTES, bytes, to }) {
            return Ok(());
        }
        slot += blocks;
        to += bytes;
    }
    Ok(())
}

/// All frames that a read needs, in the order of segments and slots.
pub(super) fn wanted(
    parts: &[Part],
    indexes: &BTreeMap<SegmentId, Opened>,
) -> Result<BTreeMap<FrameKey, Wanted>> {
    let mut all: BTreeMap<FrameKey, Wanted> = BTreeMap::new();
    for part in parts {
        let id = part.place().0;
        let Opened { index, source, .. } = &indexes[&id];
        each_piece(part, index, |frame, piece| {
            let entry = all.entry((*source, frame.first_place));
            entry.or_insert_with(|| Wanted { frame: frame.clone(), pieces: Vec::new() }).pieces.push(piece);
            true
        })?;
    }
    Ok(all)
}

/// Frames of one object that one GET brings.
pub(super) struct Window<T> {
    pub(super) source: Source,
    pub(super) start: u64,
    pub(super) end: u64,
    /// In the order of their offsets, each with what the caller knows of it.
    pub(super) frames: Vec<(Frame, T)>,
}

/// Groups frames, which come in the order of segments and slots, into few ranges.
pub(super) fn windows<T>(frames: impl IntoIterator<Item = (Source, Frame, T)>) -> Vec<Window<T>> {
    let mut windows: Vec<Window<T>> = Vec::new();
    for (source, frame, with) in frames {
        let (start, end) = (frame.offset, frame.end());
        match windows.last_mut() {
            Some(last)
                if last.source == source
                    && last.end <= start
                    && start - last.end <= GET_GAP_BYTES_MAX
                    && end - last.start <= GET_BYTES_MAX
                    && last.frames.len() < GET_FRAMES_MAX =>
            {
                last.end = end;
                last.frames.push((frame, with));
            }
            _ => windows.push(Window { source, start, end, frames: vec![(frame, with)] }),
        }
    }
    windows
}
