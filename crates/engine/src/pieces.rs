//! The pieces that a head's tail names, read back into memory.
//!
//! ```text
//! root and segments     ...............|          covered
//! pieces                          [ 890 .. 950 ][ 951 .. 990 ]     laid over them whole, in order
//! ```
//! Who opens for reading lays them over the map, and reads their blocks from here. Who opens for writing makes one
//! segment of them, or a few, from the end of the segments to the head's sequence, in numbered steps:
//! 1. The claim names the same pieces as the head before it.
//! 2. They are read, coalesced, and uploaded as one segment, or as several where they are more than fits in one. What the log says beyond the head is not looked at: it may
//!    be lost, and this must stay (rule W6).
//! 3. The map is built with these segments in the tail; guests connect.
//! 4. The pipeline's first commits name them in order, and so drop the pieces that they hold (rule W7).
//!
//! A crash before 4 leaves orphan segments, and heads that say what they said before: the next opening does the same
//! again. Nothing of it is in the log, so it does not matter which host that is.

mod memory;

use std::{ops::Range, sync::Arc};

use esker_format::{
    BLOCK_BYTES,
    chunk::{Record, RecordKind},
    head::{Head, Piece, TailPiece},
    ids::LogPosition,
    names,
    segment::{Run, RunKind},
};
use esker_io::{Bug, planted};
use futures_util::{StreamExt, TryStreamExt, stream};

pub(crate) use memory::Reader;
pub use memory::{PIECES_BYTES_MAX, PieceMemory};

use self::memory::Held;
use crate::{
    EngineError, Result,
    core::{fold::check_runs, map::Map, policy::SEGMENT_BLOCKS_SURE},
    pool::Pool,
    seal::{Blocks, Intake},
};

/// Heads that are read for their pieces at the same time.
const HEADS_IN_FLIGHT: usize = 16;

/// What is in pieces only.
pub(crate) struct Pieces {
    /// The last sequence that root and segments hold.
    covered: u64,
    last_sequence: u64,
    /// What each piece says, in order.
    laid: Vec<Laid>,
    /// Decoded blocks, each at its position.
    blocks: Vec<u8>,
    held: Held,
}

/// What a piece says beyond the segments.
struct Laid {
    last_sequence: u64,
    /// Its runs, each with the position of its first block.
    runs: Vec<(Run, u64)>,
}

impl Laid {
    fn data_blocks(&self) -> u64 {
        let data = self.runs.iter().filter(|(run, _)| matches!(run.kind, RunKind::Data { .. }));
        data.map(|(run, _)| run.blocks).sum()
    }
}

impl Pieces {
    /// Reads and verifies the pieces that `head` names; `None` when it names none.
    pub(crate) async fn read(pool: &Pool, head: &Head, reader: Reader) -> Result<Option<Pieces>> {
        if head.pieces.is_empty() {
            return Ok(None);
        }
        let mut pieces = Pieces {
            covered: head.covered(),
            last_sequence: head.sequence,
            laid: Vec::new(),
            blocks: Vec::new(),
            held: Held::new(pool.pieces().clone(), reader),
        };
        let mut reads = reads(pool, head);
        if planted(Bug::PiecesOutOfOrder) {
            reads.reverse();
        }
        let mut opened = stream::iter(reads).buffered(HEADS_IN_FLIGHT);
        while let Some(piece) = opened.try_next().await? {
            let runs = piece.index.runs.len() * size_of::<(Run, u64)>();
            pieces.held.grow((piece.blocks.len() + runs) as u64)?;
            pieces.lay(piece);
        }
        drop(opened);
        Ok(Some(pieces))
    }

    /// These, and sequences up to `last` in which nothing happens.
    pub(crate) fn up_to(pool: &Pool, pieces: Option<Pieces>, head: &Head, last_sequence: u64) -> Pieces {
        assert!(last_sequence > head.sequence, "a head is followed by what is newer");
        match pieces {
            Some(pieces) => Pieces { last_sequence, ..pieces },
            None => Pieces {
                covered: head.covered(),
                last_sequence,
                laid: Vec::new(),
                blocks: Vec::new(),
                held: Held::new(pool.pieces().clone(), Reader::Passes),
            },
        }
    }

    /// Adds the next piece. A run of several records has the sequence of the newest: what says nothing beyond the
    /// segments is left out, the rest is newer than they are or the same.
    fn lay(&mut self, piece: Piece) {
        let base = self.blocks.len() as u64;
        self.blocks.extend(piece.blocks);
        let newer = piece.index.runs.into_iter().filter(|run| run.sequence > self.covered);
        let placed = newer.map(|run| {
            let slot = match run.kind {
                RunKind::Data { first_slot } => u64::from(first_slot),
                _ => 0,
            };
            (run, base + slot * BLOCK_BYTES as u64)
        });
        self.laid.push(Laid { last_sequence: piece.index.last_sequence, runs: placed.collect() });
    }

    /// Without what a record of the log touches: what rule W6 forbids.
    #[cfg(feature = "planted")]
    pub(crate) fn without(mut self, records: &[crate::log::Pending]) -> Self {
        let touches = |run: &Run, record: &Record| {
            record.lba < run.lba + run.blocks && run.lba < record.lba + record.blocks
        };
        let lost = |run: &Run| records.iter().any(|pending| touches(run, &pending.record));
        self.laid.iter_mut().for_each(|laid| laid.runs.retain(|(run, _)| !lost(run)));
        self
    }

    /// Lays them over the map of root and segments; data is then named by its position here.
    pub(crate) fn lay_over(&self, map: &mut Map) {
        for (run, position) in self.laid.iter().flat_map(|laid| &laid.runs) {
            match run.kind {
                RunKind::Data { .. } => map.replay_write(run.lba, run.blocks, LogPosition(*position)),
                _ => map.apply_run(run, TailPiece::id()),
            }
        }
    }

    /// What the segments in their place are made of, each of whole pieces: one, unless they have more blocks than fit in
    /// one whatever they are.
    pub(crate) fn intakes(self) -> Vec<Intake> {
        let pieces = Arc::new(self);
        let (mut intakes, mut from, mut blocks) = (Vec::new(), 0, 0);
        for (at, laid) in pieces.laid.iter().enumerate() {
            blocks += laid.data_blocks();
            if blocks > SEGMENT_BLOCKS_SURE && at > from {
                intakes.push(pieces.intake(from..at));
                (from, blocks) = (at, laid.data_blocks());
            }
        }
        intakes.push(pieces.intake(from..pieces.laid.len()));
        intakes
    }

    fn intake(self: &Arc<Self>, range: Range<usize>) -> Intake {
        let record = |run: &Run| Record {
            sequence: run.sequence,
            lba: run.lba,
            blocks: run.blocks,
            kind: match run.kind {
                RunKind::Hole => RecordKind::Hole,
                RunKind::Zero => RecordKind::Zero,
                RunKind::Data { .. } | RunKind::Reference(_) => RecordKind::Write,
            },
            synced_sequence: 0,
        };
        let before = range.start.checked_sub(1).map_or(self.covered, |at| self.laid[at].last_sequence);
        let last = if range.end == self.laid.len() {
            self.last_sequence
        } else {
            self.laid[range.end - 1].last_sequence
        };
        let runs = self.laid[range].iter().flat_map(|laid| &laid.runs);
        let records = runs.map(|(run, position)| (record(run), *position)).collect();
        Intake { from: self.clone(), records, sequences: (before + 1, last), end: 0 }
    }
}

impl Blocks for Pieces {
    fn read(&self, position: u64, buffer: &mut [u8]) -> Result<()> {
        let start = position as usize;
        buffer.copy_from_slice(&self.blocks[start..start + buffer.len()]);
        Ok(())
    }
}

/// Reads and verifies the pieces that `head` names, oldest first, each with the number of the head that carries it.
pub(crate) async fn read_all(pool: &Pool, head: &Head) -> Result<Vec<(u64, Piece)>> {
    let opened: Vec<Piece> = stream::iter(reads(pool, head)).buffered(HEADS_IN_FLIGHT).try_collect().await?;
    Ok(head.pieces.iter().map(|named| named.head).zip(opened).collect())
}

/// The reads of the pieces that `head` names, oldest first.
fn reads<'a>(pool: &'a Pool, head: &'a Head) -> Vec<impl Future<Output = Result<Piece>> + 'a> {
    head.pieces.iter().map(|named| read_piece(pool, head, named)).collect()
}

async fn read_piece(pool: &Pool, head: &Head, named: &TailPiece) -> Result<Piece> {
    let object = names::head(head.volume, named.head);
    let carrier;
    let from = if named.head == head.number {
        head
    } else {
        carrier = pool.head(head.volume, named.head).await?.ok_or_else(|| EngineError::Damaged {
            object: object.clone(),
            message: format!("head {} names its piece, and it is not there", head.number),
        })?;
        &carrier
    };
    let (named, pool_id, bytes) = (named.clone(), pool.id(), from.piece.clone());
    let opened = esker_io::run(&*pool.world().cpu, move || {
        let piece = named.open(pool_id, &bytes)?;
        let referring = piece.index.runs.iter().any(|run| matches!(run.kind, RunKind::Reference(_)));
        Ok::<_, esker_format::FormatError>((piece, referring))
    });
    let damaged = |message: String| EngineError::Damaged { object, message };
    match opened.await {
        Ok((piece, false)) => {
            check_runs(piece.index.id, &piece.index.runs, head.size_bytes / BLOCK_BYTES as u64)?;
            Ok(piece)
        }
        Ok((_, true)) => {
            Err(damaged("expected a piece that holds all its data, found a reference".to_owned()))
        }
        Err(error) => Err(damaged(error.to_string())),
    }
}
