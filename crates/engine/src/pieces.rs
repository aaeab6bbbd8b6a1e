//! The pieces that a head's tail names, read back into memory.
//!
//! ```text
//! root and segments     ...............|          covered
//! pieces                          [ 890 .. 950 ][ 951 .. 990 ]     laid over them whole, in order
//! ```
//! Who opens for reading lays them over the map, and reads their blocks from here. Who opens for writing makes one
//! segment of them, from the end of the segments to the head's sequence, in numbered steps:
//! 1. The claim names the same pieces as the head before it.
//! 2. They are read, coalesced, and uploaded as one segment. What the log says beyond the head is not looked at: it may
//!    be lost, and this must stay (rule W6).
//! 3. The map is built with that segment in the tail; guests connect.
//! 4. The pipeline's first commit names the segment, and so drops the pieces (rule W7).
//!
//! A crash before 4 leaves an orphan segment, and heads that say what they said before: the next opening does the same
//! again. Nothing of it is in the log, so it does not matter which host that is.

mod memory;

use std::sync::Arc;

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
    core::{fold::check_runs, map::Map},
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
    /// Runs that reach beyond the segments, in order, each with the position of its first block.
    runs: Vec<(Run, u64)>,
    /// Decoded blocks, each at its position.
    blocks: Vec<u8>,
    held: Held,
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
            runs: Vec::new(),
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
                runs: Vec::new(),
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
        for run in piece.index.runs.into_iter().filter(|run| run.sequence > self.covered) {
            let slot = match run.kind {
                RunKind::Data { first_slot } => u64::from(first_slot),
                _ => 0,
            };
            self.runs.push((run, base + slot * BLOCK_BYTES as u64));
        }
    }

    /// Without what a record of the log touches: what rule W6 forbids.
    #[cfg(feature = "planted")]
    pub(crate) fn without(mut self, records: &[crate::log::Pending]) -> Self {
        let touches = |run: &Run, record: &Record| {
            record.lba < run.lba + run.blocks && run.lba < record.lba + record.blocks
        };
        self.runs.retain(|(run, _)| !records.iter().any(|pending| touches(run, &pending.record)));
        self
    }

    /// Lays them over the map of root and segments; data is then named by its position here.
    pub(crate) fn lay_over(&self, map: &mut Map) {
        for (run, position) in &self.runs {
            match run.kind {
                RunKind::Data { .. } => map.replay_write(run.lba, run.blocks, LogPosition(*position)),
                _ => map.apply_run(run, TailPiece::id()),
            }
        }
    }

    /// What a segment in their place is made of.
    pub(crate) fn intake(self) -> Intake {
        let first = self.covered + 1;
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
        let records = self.runs.iter().map(|(run, position)| (record(run), *position)).collect();
        let sequences = (first, self.last_sequence);
        Intake { from: Arc::new(self), records, sequences, end: 0 }
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
