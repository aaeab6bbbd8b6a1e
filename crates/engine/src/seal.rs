//! Turning a cut of the log into one segment: coalesce, find zeros, order by address, frame, compress.
//!
//! Nothing is written locally: until its commit the log is the durable copy, and a crash seals the same
//! records again under a new id.

use std::sync::Arc;

use esker_format::{
    BLOCK_BYTES,
    address::Address,
    chunk::RecordKind,
    ids::{LogPosition, SegmentId},
    property::Compression,
    segment::{EncodedSegment, Run, RunKind, SegmentHeader, SegmentWriter},
};

use crate::{
    Result,
    core::coalesce::{Kept, coalesce},
    log::{Cut, Log},
};

/// Blocks in one frame: 32 KiB, between what compresses well and what a random read can afford to decode.
const FRAME_BLOCKS: usize = 8;

/// A sealed cut: the segment to upload, and how the map changes once it is committed.
pub(crate) struct Sealed {
    pub(crate) id: SegmentId,
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

/// Seals `cut`. Reads the log and compresses: minutes of one core per 10 GiB, so it runs on the CPU pool.
pub(crate) fn seal(
    log: &Arc<Log>,
    cut: &Cut,
    header: SegmentHeader,
    compression: Compression,
) -> Result<Sealed> {
    let (first, last) = (&cut.records[0].record, &cut.records[cut.records.len() - 1].record);
    let records: Vec<_> = cut.records.iter().map(|pending| (pending.record, pending.position())).collect();
    let id = header.id;
    let mut sealing = Sealing::new(SegmentWriter::new(header, compression), id);
    for kept in coalesce(&records) {
        match kept.kind {
            RecordKind::Hole => sealing.run(kept.lba, kept.blocks, kept.sequence, RunKind::Hole),
            RecordKind::Zero => sealing.run(kept.lba, kept.blocks, kept.sequence, RunKind::Zero),
            RecordKind::Write => sealing.data(log, &kept)?,
        }
    }
    let (writer, runs, moves) = sealing.finish();
    let encoded = writer.finish(runs, first.sequence, last.sequence);
    let blocks_written = cut.records.iter().map(|pending| pending.data_blocks()).sum();
    Ok(Sealed { id, encoded, moves, blocks_written, end: cut.end })
}

/// The state of one seal.
struct Sealing {
    writer: SegmentWriter,
    id: SegmentId,
    frame: Vec<u8>,
    slots: u32,
    runs: Vec<Run>,
    moves: Vec<Move>,
    buffer: Vec<u8>,
}

impl Sealing {
    fn new(writer: SegmentWriter, id: SegmentId) -> Self {
        let frame = Vec::with_capacity(FRAME_BLOCKS * BLOCK_BYTES);
        Self { writer, id, frame, slots: 0, runs: Vec::new(), moves: Vec::new(), buffer: Vec::new() }
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
    fn data(&mut self, log: &Arc<Log>, kept: &Kept) -> Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(kept.blocks as usize * BLOCK_BYTES, 0);
        log.table().read(kept.position, &mut buffer)?;
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

    fn finish(mut self) -> (SegmentWriter, Vec<Run>, Vec<Move>) {
        if !self.frame.is_empty() {
            self.writer.push_frame(&self.frame);
        }
        (self.writer, self.runs, self.moves)
    }
}

/// Whether a block is all zeros.
fn is_zero(block: &[u8]) -> bool {
    block.chunks_exact(16).all(|word| u128::from_ne_bytes(word.try_into().expect("chunks of sixteen")) == 0)
}
