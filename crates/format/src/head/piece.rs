//! A piece: a stretch of the log inside a head, for what no segment holds yet.
//!
//! ```text
//! sequences    1 ......... 500 ... 600 ........ 900 ... 950 ... 990
//!              | root          | segment | segment |
//!                                              | piece of head 40 | piece of head 41, its own |
//! ```
//! A piece is the image of a small segment ([`crate::segment`]) whose id stands for nothing. Each states which sequences
//! it covers (rule W7): the first one begins right behind the segments or before their end, each follows the one before
//! without a gap, each reaches beyond the segments, and the last one ends with the head's sequence. So a piece that
//! reaches beyond the segments is newer than they are in all that it says, and is laid over them whole.
//!
//! Only a volume's own heads are named (rule H7); the hash binds the bytes of those that lie in other heads.

use super::{Head, HeadKind, KIND};
use crate::error::{ensure, same};
use crate::segment::{SEGMENT_BYTES_MIN, SegmentHeader, SegmentIndex, Trailer, open_frame};
use crate::wire::{Put, Reader};
use crate::{FormatError, Hash, PoolId, SegmentId};

/// The most pieces that a tail names (rule H8).
pub const TAIL_PIECES_MAX: usize = 64;
/// The largest piece.
pub const PIECE_BYTES_MAX: usize = 4 << 20;
/// The most slots of a piece: what all pieces of a tail say fits into one segment.
const PIECE_SLOTS_MAX: u32 = 1_024;
const TAIL_PIECE_BYTES: usize = 8 + 8 + 8 + 4 + 32;
const WHAT: &str = "piece";

const _: () = assert!(PIECE_SLOTS_MAX as usize * TAIL_PIECES_MAX <= crate::segment::SLOTS_MAX as usize);

/// A piece that a head names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TailPiece {
    /// The number of the head of this volume that carries it.
    pub head: u64,
    /// The first sequence that it covers.
    pub first_sequence: u64,
    /// The last.
    pub last_sequence: u64,
    /// The length of its bytes.
    pub bytes: u32,
    /// Their hash.
    pub hash: Hash,
}

/// A piece that was verified to the last frame.
#[derive(Debug)]
pub struct Piece {
    /// What it says; a slot is the number of a block below.
    pub index: SegmentIndex,
    /// Its blocks, in order of their slots.
    pub blocks: Vec<u8>,
}

impl TailPiece {
    /// The id that the image of every piece has: the last one, which no segment ever gets.
    pub const fn id() -> SegmentId {
        SegmentId { writer: SegmentId::WRITERS - 1, counter: SegmentId::COUNTERS - 1 }
    }

    /// Opens the bytes of this piece.
    pub fn open(&self, pool: PoolId, bytes: &[u8]) -> Result<Piece, FormatError> {
        same(WHAT, "length", self.bytes as usize, bytes.len())?;
        same(WHAT, "hash", self.hash, Hash::of(bytes))?;
        let trailer = Trailer::parse(bytes)?.verify(pool, TailPiece::id(), Some(bytes.len() as u64))?;
        let header = SegmentHeader::parse(bytes)?;
        ensure(header == trailer.header(), WHAT, "header", "the trailer's", format_args!("{header:?}"))?;
        let start = trailer.index_offset as usize;
        let index = SegmentIndex::parse(&bytes[start..start + trailer.index_bytes as usize], &trailer)?;
        same(WHAT, "first sequence", self.first_sequence, index.first_sequence)?;
        same(WHAT, "last sequence", self.last_sequence, index.last_sequence)?;
        ensure(index.slots <= PIECE_SLOTS_MAX, WHAT, "slots", "at most 1024", index.slots)?;
        let mut blocks = Vec::with_capacity(index.frames.iter().map(|frame| frame.raw_bytes()).sum());
        for frame in &index.frames {
            blocks.extend(open_frame(frame, &bytes[frame.offset as usize..frame.end() as usize])?);
        }
        Ok(Piece { index, blocks })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u64(self.head);
        out.put_u64(self.first_sequence);
        out.put_u64(self.last_sequence);
        out.put_u32(self.bytes);
        out.put(&self.hash.0);
    }

    fn parse(from: &mut Reader<'_>) -> Result<TailPiece, FormatError> {
        Ok(TailPiece {
            head: from.u64("piece head")?,
            first_sequence: from.u64("piece first sequence")?,
            last_sequence: from.u64("piece last sequence")?,
            bytes: from.u32("piece bytes")?,
            hash: Hash(from.array("piece hash")?),
        })
    }
}

impl Head {
    pub(super) fn encode_pieces(&self, out: &mut Vec<u8>) {
        assert!(self.pieces.len() <= TAIL_PIECES_MAX, "a tail has at most 64 pieces (rule H8)");
        out.put_u32(self.pieces.len() as u32);
        self.pieces.iter().for_each(|piece| piece.encode(out));
    }

    pub(super) fn encode_own_piece(&self, out: &mut Vec<u8>) {
        assert!(self.piece.len() <= PIECE_BYTES_MAX, "a piece has at most 4 MiB");
        out.put_u32(self.piece.len() as u32);
        out.put(&self.piece);
    }

    /// The pieces follow each other and reach from the segments' end to the head's sequence (rule W7).
    pub(super) fn check_pieces(&self) -> Result<(), FormatError> {
        let what = KIND.what;
        let covered = self.covered();
        let (mut last, mut carrier) = (covered, 0);
        for (at, piece) in self.pieces.iter().enumerate() {
            let range = format_args!("{} to {}", piece.first_sequence, piece.last_sequence).to_string();
            let next = last.saturating_add(1);
            let follows = if at == 0 { piece.first_sequence <= next } else { piece.first_sequence == next };
            let ascends = piece.first_sequence >= 1 && piece.first_sequence <= piece.last_sequence;
            if !follows || !ascends || piece.last_sequence <= covered {
                let expected =
                    format_args!("a range that follows sequence {last}, beyond {covered}").to_string();
                return Err(FormatError::new(what, "pieces", expected, range));
            }
            let ascends = piece.head > carrier && piece.head <= self.number;
            ensure(ascends, what, "piece head", "ascending numbers up to the head's own", piece.head)?;
            let bytes = u64::from(piece.bytes);
            let fits = (SEGMENT_BYTES_MIN..=PIECE_BYTES_MAX as u64).contains(&bytes);
            ensure(fits, what, "piece bytes", "a small segment, at most 4 MiB", bytes)?;
            (last, carrier) = (piece.last_sequence, piece.head);
        }
        same(what, "sequence at the end of the tail", self.sequence, last)?;
        self.check_own_piece()
    }

    fn check_own_piece(&self) -> Result<(), FormatError> {
        let what = KIND.what;
        match self.pieces.last().filter(|piece| piece.head == self.number) {
            None => same(what, "piece length of a head that names no own piece", 0, self.piece.len()),
            Some(own) => {
                ensure(self.kind == HeadKind::Data, what, "kind", "data, of a head with a piece", self.kind)?;
                same(what, "piece length", own.bytes as usize, self.piece.len())?;
                same(what, "piece hash", own.hash, Hash::of(&self.piece))
            }
        }
    }
}

pub(super) fn parse_list(from: &mut Reader<'_>) -> Result<Vec<TailPiece>, FormatError> {
    let count = from.count("count of pieces", TAIL_PIECE_BYTES)?;
    ensure(count <= TAIL_PIECES_MAX, KIND.what, "pieces", "at most 64", count)?;
    (0..count).map(|_| TailPiece::parse(from)).collect()
}

pub(super) fn parse_own(from: &mut Reader<'_>, version: u16) -> Result<Vec<u8>, FormatError> {
    let bytes = from.u32("piece length")? as usize;
    if version == 1 && bytes > 0 {
        return Err(FormatError::newer(KIND.what, "piece", "none", format_args!("{bytes} bytes")));
    }
    ensure(bytes <= PIECE_BYTES_MAX, KIND.what, "piece length", "at most 4 MiB", bytes)?;
    Ok(from.take("piece", bytes)?.to_vec())
}
