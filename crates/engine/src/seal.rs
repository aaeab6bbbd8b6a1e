//! Turning a cut of the log into one segment: coalesce, find zeros, order by address, frame, compress.
//!
//! Nothing is written locally: until its commit the log is the durable copy, and a crash seals the same
//! records again under a new id.

use std::sync::Arc;

use esker_format::{
    BLOCK_BYTES,
    address::Address,
    chunk::{Record, RecordKind},
    ids::{LogPosition, SegmentId},
    property::Compression,
    segment::{EncodedSegment, Run, RunKind, SegmentHeader, SegmentWriter},
};

use esker_io::Cpu;

use crate::{
    Result,
    core::{
        coalesce::{Kept, coalesce},
        policy::{SEGMENT_BLOCKS_SURE, SEGMENT_FRAME_BYTES_MAX},
    },
    log::{Cut, Log},
};

/// Where the blocks of a seal lie.
pub(crate) trait Blocks: Send + Sync {
    /// Reads whole consecutive blocks that start at `position`.
    fn read(&self, position: u64, buffer: &mut [u8]) -> Result<()>;
}

impl Blocks for Log {
    fn read(&self, position: u64, buffer: &mut [u8]) -> Result<()> {
        self.table().read(position, buffer)
    }
}

/// What a seal is made of.
pub(crate) struct Intake {
    pub(crate) from: Arc<dyn Blocks>,
    /// In order, each with the position of its first block.
    pub(crate) records: Vec<(Record, u64)>,
    /// The first and the last sequence that are covered.
    pub(crate) sequences: (u64, u64),
    /// Logical log position behind it.
    pub(crate) end: u64,
}

impl Intake {
    /// A stretch of the log.
    pub(crate) fn of(log: Arc<Log>, cut: &Cut) -> Self {
        let (first, last) = (&cut.records[0].record, &cut.records[cut.records.len() - 1].record);
        Self {
            from: log,
            records: cut.records.iter().map(|pending| (pending.record, pending.position())).collect(),
            sequences: (first.sequence, last.sequence),
            end: cut.end,
        }
    }

    /// Seals all of it, slice by slice, so that other volumes and reads get their turn; unless it is too much for one
    /// segment.
    pub(crate) async fn seal(
        self,
        cpu: &dyn Cpu,
        header: SegmentHeader,
        compression: Compression,
    ) -> Result<Outcome> {
        let mut sealing = esker_io::run(cpu, move || Sealing::begin(&self, header, compression)).await;
        loop {
            match esker_io::run(cpu, move || sealing.go_on()).await? {
                Progress::More(rest) => sealing = *rest,
                Progress::Done(sealed) => return Ok(Outcome::Sealed(sealed)),
                Progress::Full { blocks } => return Ok(Outcome::TooMuch { blocks }),
            }
        }
    }
}

/// Blocks in one frame: 32 KiB, between what compresses well and what a random read can afford to decode.
const FRAME_BLOCKS: usize = 8;
/// Blocks in one go, some four milliseconds of a core; other work has its turn in between.
const SLICE_BLOCKS: usize = 256;

/// What became of an intake.
pub(crate) enum Outcome {
    Sealed(Box<Sealed>),
    /// So many of its blocks are more than a segment may be; it was not made.
    TooMuch {
        blocks: u64,
    },
}

impl Outcome {
    /// The segment, where it cannot be too much.
    pub(crate) fn sure(self) -> Sealed {
        match self {
            Outcome::Sealed(sealed) => *sealed,
            Outcome::TooMuch { blocks } => {
                panic!("{blocks} blocks are too much for a segment, and more than {SEGMENT_BLOCKS_SURE}")
            }
        }
    }
}

/// A sealed cut: the segment to upload, and how the map changes once it is committed.
pub(crate) struct Sealed {
    pub(crate) encoded: EncodedSegment,
    pub(crate) moves: Vec<Move>,
    /// Blocks that the cut's records wrote, before anything was dropped.
    pub(crate) blocks_written: u64,
    /// Logical log position behind the cut.
    pub(crate) end: u64,
}

/// A block leaves the log for the segment, if no newer write came.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Move {
    pub(crate) lba: u64,
    pub(crate) from: LogPosition,
    pub(crate) to: Address,
}

/// How far a seal is.
enum Progress {
    More(Box<Sealing>),
    Done(Box<Sealed>),
    Full { blocks: u64 },
}

/// A seal that is being made, slice by slice. Reads the log and compresses: about 16 µs of one core a block.
struct Sealing {
    from: Arc<dyn Blocks>,
    kept: std::vec::IntoIter<Kept>,
    writer: SegmentWriter,
    id: SegmentId,
    frame: Vec<u8>,
    slots: u32,
    runs: Vec<Run>,
    moves: Vec<Move>,
    buffer: Vec<u8>,
    sequences: (u64, u64),
    blocks_written: u64,
    end: u64,
}

impl Sealing {
    /// Decides what is kept.
    fn begin(intake: &Intake, header: SegmentHeader, compression: Compression) -> Self {
        let blocks = |(record, _): &(Record, u64)| match record.kind {
            RecordKind::Write => record.blocks,
            RecordKind::Hole | RecordKind::Zero => 0,
        };
        Self {
            from: intake.from.clone(),
            kept: coalesce(&intake.records).into_iter(),
            id: header.id,
            writer: SegmentWriter::new(header, compression),
            frame: Vec::with_capacity(FRAME_BLOCKS * BLOCK_BYTES),
            slots: 0,
            runs: Vec::new(),
            moves: Vec::new(),
            buffer: Vec::new(),
            sequences: intake.sequences,
            blocks_written: intake.records.iter().map(blocks).sum(),
            end: intake.end,
        }
    }

    /// Does the next slice.
    fn go_on(mut self) -> Result<Progress> {
        let before = self.moves.len();
        while let Some(kept) = self.kept.next() {
            match kept.kind {
                RecordKind::Hole => self.run(kept.lba, kept.blocks, kept.sequence, RunKind::Hole),
                RecordKind::Zero => self.run(kept.lba, kept.blocks, kept.sequence, RunKind::Zero),
                RecordKind::Write if self.is_full(kept.blocks) => {
                    return Ok(Progress::Full { blocks: self.moves.len() as u64 });
                }
                RecordKind::Write => self.data(&kept)?,
            }
            if self.moves.len() - before >= SLICE_BLOCKS {
                return Ok(Progress::More(Box::new(self)));
            }
        }
        Ok(Progress::Done(Box::new(self.finish())))
    }

    /// Whether so many more blocks may be too much, however well they compress.
    fn is_full(&self, blocks: u64) -> bool {
        let next = (self.frame.len() + blocks as usize * BLOCK_BYTES) as u64;
        self.writer.stored_bytes() + next > SEGMENT_FRAME_BYTES_MAX
    }

    /// Adds a stretch to the runs, joined to the one before where it continues it.
    fn run(&mut self, lba: u64, blocks: u64, sequence: u64, kind: RunKind) {
        if let Some(last) = self.runs.last_mut() {
            let continues = match (&last.kind, &kind) {
                (RunKind::Hole, RunKind::Hole) | (RunKind::Zero, RunKind::Zero) => true,
                (RunKind::Data { first_slot: a }, RunKind::Data { first_slot: b }) => {
                    u64::from(*a) + last.blocks == u64::from(*b)
                }
                _ => false,
            };
            if continues && last.lba + last.blocks == lba {
                last.blocks += blocks;
                last.sequence = last.sequence.max(sequence);
                return;
            }
        }
        self.runs.push(Run { lba, blocks, sequence, kind });
    }

    /// Adds written blocks: zeros become a run, everything else a slot.
    fn data(&mut self, kept: &Kept) -> Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(kept.blocks as usize * BLOCK_BYTES, 0);
        self.from.read(kept.position, &mut buffer)?;
        for (index, block) in buffer.chunks_exact(BLOCK_BYTES).enumerate() {
            let lba = kept.lba + index as u64;
            let from = LogPosition(kept.position + (index * BLOCK_BYTES) as u64);
            let to = if is_zero(block) {
                self.run(lba, 1, kept.sequence, RunKind::Zero);
                Address::ZERO
            } else {
                let slot = u16::try_from(self.slots).expect("a cut has at most 65,536 blocks");
                self.run(lba, 1, kept.sequence, RunKind::Data { first_slot: slot });
                self.slots += 1;
                self.push(block);
                Address::segment(self.id, slot)
            };
            self.moves.push(Move { lba, from, to });
        }
        self.buffer = buffer;
        Ok(())
    }

    fn push(&mut self, block: &[u8]) {
        self.frame.extend_from_slice(block);
        if self.frame.len() == FRAME_BLOCKS * BLOCK_BYTES {
            self.writer.push_frame(&self.frame);
            self.frame.clear();
        }
    }

    fn finish(mut self) -> Sealed {
        if !self.frame.is_empty() {
            self.writer.push_frame(&self.frame);
        }
        let (first, last) = self.sequences;
        Sealed {
            encoded: self.writer.finish(self.runs, first, last),
            moves: self.moves,
            blocks_written: self.blocks_written,
            end: self.end,
        }
    }
}

/// Whether a block is all zeros.
fn is_zero(block: &[u8]) -> bool {
    block.chunks_exact(16).all(|word| u128::from_ne_bytes(word.try_into().expect("chunks of sixteen")) == 0)
}
