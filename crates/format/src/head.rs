//! A head: a volume's state as one numbered object. Heads chain; the highest in the chain is true.
//!
//! ```text
//! envelope "ESKRHEAD" version 3
//!   pool 16 │ volume 16 │ number u64 │ epoch u64 │ attempt 16
//!   kind u8: 0 data, 1 claim, 2 fence, 3 released, 4 deleted, 5 unborn, 6 frozen
//!   previous: u8 0, or u8 1 │ number u64 │ attempt 16 │ hash 32
//!   run 16 │ directory 16 │ log 16
//!   size u64, bytes │ written u64, ms since 1970 │ sequence u64
//!   root: u8 0, or u8 1 │ page reference 60
//!   root sequence u64
//!   tail: count u32 │ { writer u32 │ counter u32 │ first u64 │ last u64 │ object bytes u64 │ index hash 32 } …
//!   pieces: count u32 │ { head u64 │ first u64 │ last u64 │ bytes u32 │ hash 32 } …
//!   properties
//!   lineage, drawn in `head/lineage.rs`
//!   piece length u32 │ piece
//! ```
//! Versions: 3, it says where its volume comes from; kinds 5 and 6. 2, a tail may name pieces, and a head may carry one. 1, it has no list of pieces, and the length is 0.
//!
//! The tail states which sequences each segment and each piece covers (rule W7); what pieces are is told in
//! `head/piece.rs`.

mod lineage;
mod piece;

use std::fmt;

use crate::envelope::{self, Kind};
use crate::error::{ensure, same};
use crate::page::PAGE_REF_BYTES;
use crate::segment::SEGMENT_BYTES_MIN;
use crate::wire::{Put, Reader};
use crate::{
    AttemptId, BLOCK_BYTES, DirectoryId, FormatError, Hash, LogId, PageRef, PoolId, Properties, RunId,
    SegmentId, VolumeId,
};

pub use lineage::{LABEL_KEY_BYTES_MAX, LABEL_VALUE_BYTES_MAX, LABELS_MAX, Lineage, Source, valid_label};
pub use piece::{PIECE_BYTES_MAX, Piece, TAIL_PIECES_MAX, TailPiece};

pub(crate) const KIND: Kind = Kind { what: "head", magic: b"ESKRHEAD", version: 3 };
/// The oldest version that is read.
const VERSION_OLDEST: u16 = 1;

/// The most segments in a tail (rule H8).
pub const TAIL_SEGMENTS_MAX: usize = 64;
/// The largest volume: what a map of four levels covers, 8 PiB.
pub const SIZE_BYTES_MAX: u64 = 1 << 53;
/// Head numbers and sequences stay below this, so that counting on from them cannot overflow.
const COUNTER_MAX: u64 = 1 << 62;
const TAIL_SEGMENT_BYTES: usize = 4 + 4 + 8 + 8 + 8 + 32;

/// Why a head was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum HeadKind {
    /// New data by the volume's writer.
    Data = 0,
    /// A run became the writer.
    Claim = 1,
    /// Reclaim raised the epoch; nobody is the writer.
    Fence = 2,
    /// The writer drained and let go.
    Released = 3,
    /// The volume is gone (rule H6).
    Deleted = 4,
    /// A fork or a snapshot before its birth (rule R6).
    Unborn = 5,
    /// A snapshot: nobody writes it any more.
    Frozen = 6,
}

/// The head before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Previous {
    /// Its number: below this head's by one, or by more where strays hold the numbers between.
    pub number: u64,
    /// Its attempt (rule H3).
    pub attempt: AttemptId,
    /// The hash of its bytes.
    pub hash: Hash,
}

/// A segment that is not folded into pages yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TailSegment {
    /// The segment.
    pub id: SegmentId,
    /// The first sequence that it covers.
    pub first_sequence: u64,
    /// The last.
    pub last_sequence: u64,
    /// The size of its object.
    pub object_bytes: u64,
    /// The hash of its index.
    pub index_hash: Hash,
}

/// An object under `volumes/VOLUME/heads/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The pool.
    pub pool: PoolId,
    /// The volume.
    pub volume: VolumeId,
    /// The head's number, from 1.
    pub number: u64,
    /// The number of the head that made the claim.
    pub epoch: u64,
    /// Who wrote this object.
    pub attempt: AttemptId,
    /// The head before; none for number 1 only.
    pub previous: Option<Previous>,
    /// Why it was written.
    pub kind: HeadKind,
    /// The run that wrote it.
    pub run: RunId,
    /// The local directory of that run.
    pub directory: DirectoryId,
    /// The log that it was made from (rule H5).
    pub log: LogId,
    /// The volume's size.
    pub size_bytes: u64,
    /// When, in milliseconds since 1970, by the writer's clock.
    pub written_ms: u64,
    /// The last sequence that the store holds.
    pub sequence: u64,
    /// The map root; none while no block is mapped in pages.
    pub root: Option<PageRef>,
    /// The last sequence that the pages hold.
    pub root_sequence: u64,
    /// The segments after it, in order.
    pub tail: Vec<TailSegment>,
    /// The pieces after those, in order; the last one may be this head's own.
    pub pieces: Vec<TailPiece>,
    /// The volume's settings.
    pub properties: Properties,
    /// Where the volume comes from.
    pub lineage: Lineage,
    /// The bytes of this head's own piece; empty when it carries none.
    pub piece: Vec<u8>,
}

/// A head that was only parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnverifiedHead(Head);

impl HeadKind {
    fn parse(byte: u8) -> Result<HeadKind, FormatError> {
        Ok(match byte {
            0 => HeadKind::Data,
            1 => HeadKind::Claim,
            2 => HeadKind::Fence,
            3 => HeadKind::Released,
            4 => HeadKind::Deleted,
            5 => HeadKind::Unborn,
            6 => HeadKind::Frozen,
            _ => return Err(FormatError::newer(KIND.what, "kind", "0 to 6", byte)),
        })
    }
}

impl fmt::Display for HeadKind {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            HeadKind::Data => "data",
            HeadKind::Claim => "claim",
            HeadKind::Fence => "fence",
            HeadKind::Released => "released",
            HeadKind::Deleted => "deleted",
            HeadKind::Unborn => "unborn",
            HeadKind::Frozen => "frozen",
        })
    }
}

impl Head {
    /// The object's bytes; their [`Hash::of`] is the head's hash. Panics on a tail above [`TAIL_SEGMENTS_MAX`] or
    /// [`TAIL_PIECES_MAX`].
    pub fn encode(&self) -> Vec<u8> {
        assert!(self.tail.len() <= TAIL_SEGMENTS_MAX, "a tail has at most 64 segments (rule H8)");
        envelope::wrap(&KIND, |out| {
            out.put(&self.pool.0);
            out.put(&self.volume.0);
            out.put_u64(self.number);
            out.put_u64(self.epoch);
            out.put(&self.attempt.0);
            out.put_u8(self.kind as u8);
            out.put_u8(u8::from(self.previous.is_some()));
            if let Some(previous) = &self.previous {
                out.put_u64(previous.number);
                out.put(&previous.attempt.0);
                out.put(&previous.hash.0);
            }
            out.put(&self.run.0);
            out.put(&self.directory.0);
            out.put(&self.log.0);
            out.put_u64(self.size_bytes);
            out.put_u64(self.written_ms);
            out.put_u64(self.sequence);
            out.put_u8(u8::from(self.root.is_some()));
            if let Some(root) = &self.root {
                root.encode(out);
            }
            out.put_u64(self.root_sequence);
            out.put_u32(self.tail.len() as u32);
            self.tail.iter().for_each(|segment| segment.encode(out));
            self.encode_pieces(out);
            self.properties.encode(out);
            self.lineage.encode(out);
            self.encode_own_piece(out);
        })
    }

    /// Reads a whole object.
    pub fn parse(bytes: &[u8]) -> Result<UnverifiedHead, FormatError> {
        let (version, body) = envelope::unwrap_since(&KIND, VERSION_OLDEST, bytes)?;
        let mut from = Reader::new(KIND.what, body);
        let head = Head {
            pool: PoolId(from.array("pool")?),
            volume: VolumeId(from.array("volume")?),
            number: from.u64("number")?,
            epoch: from.u64("epoch")?,
            attempt: AttemptId(from.array("attempt")?),
            kind: HeadKind::parse(from.u8("kind")?)?,
            previous: Previous::parse(&mut from)?,
            run: RunId(from.array("run")?),
            directory: DirectoryId(from.array("directory")?),
            log: LogId(from.array("log")?),
            size_bytes: from.u64("size")?,
            written_ms: from.u64("time")?,
            sequence: from.u64("sequence")?,
            root: parse_root(&mut from)?,
            root_sequence: from.u64("root sequence")?,
            tail: parse_tail(&mut from)?,
            pieces: if version >= 2 { piece::parse_list(&mut from)? } else { Vec::new() },
            properties: Properties::parse(&mut from)?,
            lineage: if version >= 3 { Lineage::parse(&mut from)? } else { Lineage::default() },
            piece: piece::parse_own(&mut from, version)?,
        };
        from.finish()?;
        Ok(UnverifiedHead(head))
    }

    /// The last sequence that root and segments hold.
    pub fn covered(&self) -> u64 {
        self.tail.last().map_or(self.root_sequence, |segment| segment.last_sequence)
    }

    /// The segments begin after the root and have no gap and no overlap (rule W7).
    fn check_tail(&self) -> Result<(), FormatError> {
        let what = KIND.what;
        ensure(self.tail.len() <= TAIL_SEGMENTS_MAX, what, "tail", "at most 64 segments", self.tail.len())?;
        let mut covered = self.root_sequence;
        for segment in &self.tail {
            let next = covered.checked_add(1);
            let range = format_args!("{} to {}", segment.first_sequence, segment.last_sequence).to_string();
            if next != Some(segment.first_sequence) || segment.last_sequence < segment.first_sequence {
                let expected = format_args!("a range that follows sequence {covered}").to_string();
                return Err(FormatError::new(what, "tail", expected, range));
            }
            let bytes = segment.object_bytes;
            ensure(bytes >= SEGMENT_BYTES_MIN, what, "tail", "a segment's header, index and trailer", bytes)?;
            covered = segment.last_sequence;
        }
        Ok(())
    }

    fn check_chain(&self) -> Result<(), FormatError> {
        let what = KIND.what;
        let first = self.number == 1;
        ensure(
            first == self.previous.is_none(),
            what,
            "previous",
            "the head before, none for number 1",
            self.number,
        )?;
        let before = self.previous.map_or(0, |previous| previous.number);
        let below = before < self.number && (first || before > 0);
        ensure(below, what, "previous number", "1 up to the number below the head's", before)?;
        let claims = matches!(self.kind, HeadKind::Claim | HeadKind::Fence | HeadKind::Deleted);
        let epoch_fits = if claims || first { self.epoch == self.number } else { self.epoch < self.number };
        ensure(epoch_fits && self.epoch > 0, what, "epoch", "the number of the claim's head", self.epoch)
    }
}

impl UnverifiedHead {
    /// The head, if it is what its object's name says and does not contradict itself.
    pub fn verify(self, pool: PoolId, volume: VolumeId, number: u64) -> Result<Head, FormatError> {
        let head = self.0;
        same(KIND.what, "pool", pool, head.pool)?;
        same(KIND.what, "volume", volume, head.volume)?;
        same(KIND.what, "number", number, head.number)?;
        head.check_chain()?;
        ensure(head.number <= COUNTER_MAX, KIND.what, "number", "at most 2^62", head.number)?;
        ensure(head.sequence <= COUNTER_MAX, KIND.what, "sequence", "at most 2^62", head.sequence)?;
        let size = head.size_bytes;
        let whole_blocks = size > 0 && size <= SIZE_BYTES_MAX && size.is_multiple_of(BLOCK_BYTES as u64);
        ensure(whole_blocks, KIND.what, "size", "whole blocks, at most 8 PiB", size)?;
        head.check_tail()?;
        head.check_pieces()?;
        head.check_lineage()?;
        Ok(head)
    }

    /// The head as it was parsed, to look at.
    pub fn peek(&self) -> &Head {
        &self.0
    }
}

impl Previous {
    fn parse(from: &mut Reader<'_>) -> Result<Option<Previous>, FormatError> {
        match from.u8("previous")? {
            0 => Ok(None),
            1 => {
                let number = from.u64("previous number")?;
                let attempt = AttemptId(from.array("previous attempt")?);
                Ok(Some(Previous { number, attempt, hash: Hash(from.array("previous hash")?) }))
            }
            kind => Err(FormatError::newer(KIND.what, "previous", "0 or 1", kind)),
        }
    }
}

fn parse_root(from: &mut Reader<'_>) -> Result<Option<PageRef>, FormatError> {
    match from.u8("root")? {
        0 => Ok(None),
        1 => PageRef::parse(KIND.what, &from.array::<PAGE_REF_BYTES>("root")?).map(Some),
        kind => Err(FormatError::newer(KIND.what, "root", "0 or 1", kind)),
    }
}

fn parse_tail(from: &mut Reader<'_>) -> Result<Vec<TailSegment>, FormatError> {
    let count = from.count("count of the tail", TAIL_SEGMENT_BYTES)?;
    ensure(count <= TAIL_SEGMENTS_MAX, KIND.what, "tail", "at most 64 segments", count)?;
    (0..count).map(|_| TailSegment::parse(from)).collect()
}

impl TailSegment {
    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(self.id.writer);
        out.put_u32(self.id.counter);
        out.put_u64(self.first_sequence);
        out.put_u64(self.last_sequence);
        out.put_u64(self.object_bytes);
        out.put(&self.index_hash.0);
    }

    fn parse(from: &mut Reader<'_>) -> Result<TailSegment, FormatError> {
        let (writer, counter) = (from.u32("tail writer")?, from.u32("tail counter")?);
        Ok(TailSegment {
            id: SegmentId::from_words(KIND.what, writer, counter)?,
            first_sequence: from.u64("tail first sequence")?,
            last_sequence: from.u64("tail last sequence")?,
            object_bytes: from.u64("tail object bytes")?,
            index_hash: Hash(from.array("tail index hash")?),
        })
    }
}
