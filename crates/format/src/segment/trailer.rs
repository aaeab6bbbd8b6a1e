//! The last bytes of a segment.
//!
//! ```text
//!   0 │ magic "ESKRTRLR" │ version u16 │ flags u16, 0 │ key id u32
//!  16 │ pool 16 │ writer u32 │ counter u32 │ attempt 16 │ salt 32
//!  88 │ object bytes u64 │ index offset u64 │ index bytes u32 │ fingerprints bytes u32, 0
//! 112 │ index hash 32
//! 144 │ room 64, 0
//! 208 │ tag 16, 0 = not encrypted
//! 224 │ BLAKE3 of bytes 0..224
//! ```

use super::{IDENTITY_BYTES, INDEX_BYTES_MAX, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::envelope::{self, HASH_BYTES};
use crate::error::{ensure, same};
use crate::wire::{Put, Reader, START_BYTES};
use crate::{AttemptId, FormatError, Hash, PoolId, SegmentId};

const WHAT: &str = "segment trailer";
pub(crate) const MAGIC: &[u8; 8] = b"ESKRTRLR";
/// 2: the index is that of a rewrite. 1: of a sealed segment; nothing else differs, and seals write it still.
const VERSION: u16 = 2;
const SEALED: u16 = 1;

/// The size of a trailer.
pub const TRAILER_BYTES: usize = 256;
const PLACES_AT: usize = START_BYTES + IDENTITY_BYTES;
const INDEX_HASH_AT: usize = PLACES_AT + 8 + 8 + 4 + 4;
const ROOM_AT: usize = INDEX_HASH_AT + HASH_BYTES;
const HASH_AT: usize = TRAILER_BYTES - HASH_BYTES;
const TAG_AT: usize = HASH_AT - 16;

const _: () =
    assert!(PLACES_AT == 88 && INDEX_HASH_AT == 112 && ROOM_AT == 144 && TAG_AT == 208 && HASH_AT == 224);

/// Where the parts of a segment are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trailer {
    /// The pool.
    pub pool: PoolId,
    /// The segment.
    pub id: SegmentId,
    /// Who wrote this object.
    pub attempt: AttemptId,
    /// 0 = not encrypted.
    pub key_id: u32,
    /// As in the header.
    pub salt: [u8; 32],
    /// Whether slots may be missing: the index is that of a rewrite.
    pub rewritten: bool,
    /// The size of the whole object.
    pub object_bytes: u64,
    /// The first byte of the index.
    pub index_offset: u64,
    /// Its length.
    pub index_bytes: u32,
    /// The length of the fingerprints behind it: 0.
    pub fingerprints_bytes: u32,
    /// The hash of the index.
    pub index_hash: Hash,
}

/// A trailer that was only parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnverifiedTrailer(Trailer);

impl Trailer {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.put_start(MAGIC, if self.rewritten { VERSION } else { SEALED });
        self.header().encode_identity(out);
        out.put_u64(self.object_bytes);
        out.put_u64(self.index_offset);
        out.put_u32(self.index_bytes);
        out.put_u32(self.fingerprints_bytes);
        out.put(&self.index_hash.0);
        out.resize(start + HASH_AT, 0);
        let hash = Hash::of(&out[start..]);
        out.put(&hash.0);
    }

    /// The header of the same object.
    pub fn header(&self) -> SegmentHeader {
        let Trailer { pool, id, attempt, key_id, salt, .. } = self.clone();
        SegmentHeader { pool, id, attempt, key_id, salt }
    }

    /// Reads the trailer from the last bytes of an object, [`TRAILER_BYTES`] or more.
    pub fn parse(suffix: &[u8]) -> Result<UnverifiedTrailer, FormatError> {
        let Some(bytes) = suffix.last_chunk::<TRAILER_BYTES>() else {
            return Err(FormatError::short(WHAT, "trailer", TRAILER_BYTES, suffix.len()));
        };
        let mut from = Reader::new(WHAT, bytes);
        let version = from.start_since(MAGIC, SEALED, VERSION)?;
        envelope::check_hash(WHAT, bytes)?;
        let SegmentHeader { pool, id, attempt, key_id, salt } =
            SegmentHeader::parse_identity(WHAT, &mut from)?;
        let trailer = Trailer {
            pool,
            id,
            attempt,
            key_id,
            salt,
            rewritten: version != SEALED,
            object_bytes: from.u64("object bytes")?,
            index_offset: from.u64("index offset")?,
            index_bytes: from.u32("index bytes")?,
            fingerprints_bytes: from.u32("fingerprints bytes")?,
            index_hash: Hash(from.array("index hash")?),
        };
        from.room("room", TAG_AT - ROOM_AT)?;
        from.room("tag", HASH_AT - TAG_AT)?;
        Ok(UnverifiedTrailer(trailer))
    }
}

impl UnverifiedTrailer {
    /// The trailer, if it is of this segment, and of an object of that size where the caller knows it.
    pub fn verify(
        self,
        pool: PoolId,
        id: SegmentId,
        object_bytes: Option<u64>,
    ) -> Result<Trailer, FormatError> {
        let trailer = self.0;
        same(WHAT, "pool", pool, trailer.pool)?;
        same(WHAT, "segment", id, trailer.id)?;
        same(WHAT, "object bytes", object_bytes.unwrap_or(trailer.object_bytes), trailer.object_bytes)?;
        let bytes = trailer.fingerprints_bytes;
        if bytes != 0 {
            return Err(FormatError::newer(WHAT, "fingerprints", "none", format_args!("{bytes} bytes")));
        }
        let after_index = u64::from(trailer.index_bytes) + TRAILER_BYTES as u64;
        same(WHAT, "end", trailer.object_bytes, trailer.index_offset.saturating_add(after_index))?;
        let offset = trailer.index_offset;
        ensure(
            offset >= SEGMENT_HEADER_BYTES as u64,
            WHAT,
            "index offset",
            "a place behind the header",
            offset,
        )?;
        let bytes = trailer.index_bytes;
        ensure(bytes <= INDEX_BYTES_MAX, WHAT, "index bytes", "at most 8 MiB", bytes)?;
        Ok(trailer)
    }

    /// The trailer as it was parsed, to look at.
    pub fn peek(&self) -> &Trailer {
        &self.0
    }
}
