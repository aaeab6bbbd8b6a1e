//! Makes a segment in memory, frame by frame.

use super::{
    FRAME_BLOCKS_MAX, Frame, INDEX_BYTES_MAX, Rewrite, Run, SEGMENT_HEADER_BYTES, SLOTS_MAX, SegmentHeader,
    SegmentIndex, TRAILER_BYTES, Trailer,
};
use crate::codec::Compressor;
use crate::{BLOCK_BYTES, Compression, Hash};

/// A segment under construction.
#[derive(Debug)]
pub struct SegmentWriter {
    header: SegmentHeader,
    compressor: Compressor,
    bytes: Vec<u8>,
    frames: Vec<Frame>,
    slots: u32,
}

/// A finished segment.
#[derive(Debug, Clone)]
pub struct EncodedSegment {
    /// The object.
    pub bytes: Vec<u8>,
    /// Its index.
    pub index: SegmentIndex,
    /// The index's hash, for the head's tail.
    pub index_hash: Hash,
}

impl SegmentWriter {
    /// An empty segment.
    pub fn new(header: SegmentHeader, compression: Compression) -> SegmentWriter {
        let bytes = header.encode().to_vec();
        SegmentWriter {
            header,
            compressor: Compressor::new(compression),
            bytes,
            frames: Vec::new(),
            slots: 0,
        }
    }

    /// Appends the next slots as one frame. Panics unless `raw` is 1 to [`FRAME_BLOCKS_MAX`] whole blocks that fit in
    /// the segment.
    pub fn push_frame(&mut self, raw: &[u8]) {
        let blocks = raw.len() / BLOCK_BYTES;
        assert!(
            raw.len().is_multiple_of(BLOCK_BYTES) && (1..=FRAME_BLOCKS_MAX).contains(&blocks),
            "whole blocks"
        );
        assert!(self.slots + blocks as u32 <= SLOTS_MAX, "a segment has at most 65,536 slots");
        let (codec, stored) = self.compressor.compress(raw);
        self.frames.push(Frame {
            offset: self.bytes.len() as u64,
            stored_bytes: stored.len() as u32,
            first_place: self.slots,
            blocks: blocks as u16,
            codec,
            tag: Frame::tag_of(&stored),
        });
        self.bytes.extend_from_slice(&stored);
        self.slots += blocks as u32;
    }

    /// The bytes of header and frames so far.
    pub fn stored_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// The slots so far; the next frame's first slot.
    pub fn slots(&self) -> u32 {
        self.slots
    }

    /// Appends index and trailer. Panics on runs that [`SegmentIndex::parse`] would refuse, and on an
    /// index above 8 MiB, which takes some 300,000 runs.
    pub fn finish(mut self, runs: Vec<Run>, first_sequence: u64, last_sequence: u64) -> EncodedSegment {
        let (id, slots, frames) = (self.header.id, self.slots, std::mem::take(&mut self.frames));
        let rewrite = None;
        self.close(SegmentIndex { id, first_sequence, last_sequence, frames, runs, slots, rewrite })
    }

    /// The same for a rewrite of the segment whose index is `of`: the frames hold the slots that `rewrite` keeps, in
    /// order. Panics when they are of another number.
    pub fn finish_rewrite(mut self, of: &SegmentIndex, rewrite: Rewrite) -> EncodedSegment {
        assert_eq!(self.slots, rewrite.slots(), "a rewrite holds what it keeps");
        let (frames, runs) = (std::mem::take(&mut self.frames), of.runs_of(&rewrite));
        let (first_sequence, last_sequence, slots) = (of.first_sequence, of.last_sequence, of.slots);
        let (id, rewrite) = (of.id, Some(rewrite));
        self.close(SegmentIndex { id, first_sequence, last_sequence, frames, runs, slots, rewrite })
    }

    fn close(self, index: SegmentIndex) -> EncodedSegment {
        let SegmentWriter { header, mut bytes, .. } = self;
        if let Err(error) = index.check() {
            panic!("a segment that nobody could read: {error}");
        }
        let encoded = index.encode();
        assert!(encoded.len() <= INDEX_BYTES_MAX as usize, "an index of at most 8 MiB");
        let index_hash = Hash::of(&encoded);
        let index_offset = bytes.len() as u64;
        assert!(index_offset >= SEGMENT_HEADER_BYTES as u64, "the header comes first");
        let trailer = Trailer {
            pool: header.pool,
            id: header.id,
            attempt: header.attempt,
            key_id: header.key_id,
            salt: header.salt,
            rewritten: index.rewrite.is_some(),
            object_bytes: index_offset + (encoded.len() + TRAILER_BYTES) as u64,
            index_offset,
            index_bytes: u32::try_from(encoded.len()).expect("an index below 4 GiB"),
            fingerprints_bytes: 0,
            index_hash,
        };
        bytes.extend_from_slice(&encoded);
        trailer.encode(&mut bytes);
        assert_eq!(bytes.len() as u64, trailer.object_bytes, "the drawing of the segment");
        EncodedSegment { bytes, index, index_hash }
    }
}
