//! A segment: an immutable object of frames, then an index.
//!
//! ```text
//! 0        128                                                             object bytes − 256
//! ┌────────┬─────────┬─────────┬─────┬───────┬──────────────────┬─────────┐
//! │ header │ frame 0 │ frame 1 │  …  │ index │ fingerprints (0) │ trailer │
//! └────────┴─────────┴─────────┴─────┴───────┴──────────────────┴─────────┘
//!
//! header, 128 bytes:
//!    0 │ magic "ESKRSEGM" │ version u16 │ flags u16, 0 │ key id u32
//!   16 │ pool 16 │ writer u32 │ counter u32 │ attempt 16 │ salt 32
//!   88 │ room 24, 0
//!  112 │ BLAKE3 of bytes 0..112, its first 16 bytes
//! ```
//! A frame is 1 to 16 consecutive slots, compressed together; in a rewrite, of those that are left: see `rewrite`. The index is drawn in `index`, the trailer in `trailer`;
//! the trailer repeats what is needed to read frames, so one GET of a suffix opens a segment.

mod frame;
mod index;
mod rewrite;
mod trailer;
mod writer;

#[cfg(test)]
mod tests;

pub use frame::{FRAME_BLOCKS_MAX, Frame, open_frame};
pub use index::{Found, LBA_END, Run, RunKind, SegmentIndex};
pub use rewrite::{Rewrite, SlotRun};
pub(crate) use rewrite::{put_slot_runs, slot_runs};
pub use trailer::{TRAILER_BYTES, Trailer, UnverifiedTrailer};
pub use writer::{EncodedSegment, SegmentWriter};

use crate::error::same;
use crate::wire::{Put, Reader, START_BYTES};
use crate::{AttemptId, FormatError, Hash, PoolId, SegmentId};

const WHAT: &str = "segment header";
pub(crate) const MAGIC: &[u8; 8] = b"ESKRSEGM";
const VERSION: u16 = 1;

/// The most slots of a segment.
pub const SLOTS_MAX: u32 = 1 << 16;
/// The size of a segment's header.
pub const SEGMENT_HEADER_BYTES: usize = 128;
/// No segment is shorter than this.
pub const SEGMENT_BYTES_MIN: u64 = (SEGMENT_HEADER_BYTES + TRAILER_BYTES) as u64 + index::INDEX_BYTES_MIN;
/// No index is longer than this: 65,536 frames and as many runs of the longest form, and as many holes between them.
const INDEX_BYTES_MAX: u32 = 8 << 20;

/// Identity of a segment's bytes: pool 16, id 8, attempt 16, salt 32.
const IDENTITY_BYTES: usize = 16 + 8 + 16 + 32;
const CHECK_BYTES: usize = 16;
const CHECK_AT: usize = SEGMENT_HEADER_BYTES - CHECK_BYTES;
const ROOM_BYTES: usize = CHECK_AT - START_BYTES - IDENTITY_BYTES;

const _: () = assert!(ROOM_BYTES == 24 && CHECK_AT == 112);

/// Which segment some bytes are, and by whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The pool.
    pub pool: PoolId,
    /// The segment.
    pub id: SegmentId,
    /// Who wrote this object.
    pub attempt: AttemptId,
    /// The key that the frames are encrypted with; 0 = not encrypted, and the only one that this version knows.
    pub key_id: u32,
    /// Drawn afresh for every attempt to encrypt (rule G4).
    pub salt: [u8; 32],
}

impl SegmentHeader {
    /// The header's bytes. Panics on a key id, which this version cannot use.
    pub fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut fields = Vec::with_capacity(SEGMENT_HEADER_BYTES);
        fields.put_start(MAGIC, VERSION);
        self.encode_identity(&mut fields);
        fields.put(&[0; ROOM_BYTES]);
        let check = Hash::of(&fields);
        fields.put(&check.0[..CHECK_BYTES]);
        std::array::from_fn(|i| fields[i])
    }

    /// Reads a header from the start of an object. Compare pool, id and attempt with what is expected.
    pub fn parse(bytes: &[u8]) -> Result<SegmentHeader, FormatError> {
        let Some(bytes) = bytes.first_chunk::<SEGMENT_HEADER_BYTES>() else {
            return Err(FormatError::short(WHAT, "header", SEGMENT_HEADER_BYTES, bytes.len()));
        };
        let mut from = Reader::new(WHAT, bytes);
        from.start(MAGIC, VERSION)?;
        let header = SegmentHeader::parse_identity(WHAT, &mut from)?;
        let room = from.room("room", ROOM_BYTES);
        let check = hex_of(&Hash::of(&bytes[..CHECK_AT]).0[..CHECK_BYTES]);
        same(WHAT, "check", check, hex_of(from.take("check", CHECK_BYTES)?))?;
        room.map(|()| header)
    }

    fn encode_identity(&self, out: &mut Vec<u8>) {
        assert_eq!(self.key_id, 0, "segments of this version are not encrypted");
        out.put(&self.pool.0);
        out.put_u32(self.id.writer);
        out.put_u32(self.id.counter);
        out.put(&self.attempt.0);
        out.put(&self.salt);
    }

    fn parse_identity(what: &'static str, from: &mut Reader<'_>) -> Result<SegmentHeader, FormatError> {
        let pool = PoolId(from.array("pool")?);
        let (writer, counter) = (from.u32("writer")?, from.u32("counter")?);
        let id = SegmentId::from_words(what, writer, counter)?;
        let attempt = AttemptId(from.array("attempt")?);
        Ok(SegmentHeader { pool, id, attempt, key_id: 0, salt: from.array("salt")? })
    }
}

fn hex_of(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
