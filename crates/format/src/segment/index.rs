//! The index of a segment: its frames, and what its sequences did to the volume.
//!
//! ```text
//!   0 │ writer u32 │ counter u32 │ first sequence u64 │ last sequence u64
//!  24 │ slots u32 │ frames u32 │ runs u32
//!  36 │ of a rewrite, version 2 of the trailer, only:
//!     │ sealed object bytes u64 │ sealed index hash 32 │ stretches u32 │ { gap v │ slots v }   the slots that are left
//!     │ { stored bytes v │ blocks u8 │ codec u8 │ tag 16 }      one per frame, in slot order
//!     │ { gap v │ blocks v │ age v │ kind u8 │ … }             one per run, in LBA order
//!
//! v: a number of seven bits a byte. gap: from the end of the run before. age: last sequence − the run's.
//! kind 0 hole, 1 zero, 2 data │ slot − the next after the last data run, zigzag v, 3 reference │ address u64
//! ```
//! The frames' bytes are checked by the tags here, the index by the hash in the trailer and in the head.

use super::frame::{ENTRY_BYTES_MIN, Frame};
use super::rewrite::Rewrite;
use super::trailer::Trailer;
use super::{SEGMENT_HEADER_BYTES, SLOTS_MAX};
use crate::error::{ensure, same};
use crate::wire::{Put, Reader};
use crate::{Address, AddressKind, FormatError, Hash, SegmentId};

const WHAT: &str = "segment index";
const HEADER_BYTES: usize = 4 + 4 + 8 + 8 + 4 + 4 + 4;
const RUN_BYTES_MIN: usize = 4;
/// No index is shorter than this.
pub(super) const INDEX_BYTES_MIN: u64 = HEADER_BYTES as u64;
/// One past the highest LBA of any volume: 2^63 bytes.
pub const LBA_END: u64 = 1 << 51;

const _: () = assert!(HEADER_BYTES == 36);

/// What happened to a run of blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunKind {
    /// Written; the data is in this segment, in consecutive slots.
    Data {
        /// The slot of its first block.
        first_slot: u16,
    },
    /// Trimmed.
    Hole,
    /// Written with zeros.
    Zero,
    /// Written with data that is in consecutive slots of another segment, or elsewhere in this one.
    Reference(Address),
}

/// The last state, at the end of the segment's sequences, of some consecutive blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// The first block.
    pub lba: u64,
    /// How many.
    pub blocks: u64,
    /// The newest record in it.
    pub sequence: u64,
    /// What happened to them.
    pub kind: RunKind,
}

impl Run {
    /// Where the run's first block is, as the map says it, in segment `id`.
    pub fn address(&self, id: SegmentId) -> Address {
        match self.kind {
            RunKind::Data { first_slot } => Address::segment(id, first_slot),
            RunKind::Hole => Address::HOLE,
            RunKind::Zero => Address::ZERO,
            RunKind::Reference(address) => address,
        }
    }
}

/// A segment's index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentIndex {
    /// The segment.
    pub id: SegmentId,
    /// The first sequence that it covers.
    pub first_sequence: u64,
    /// The last.
    pub last_sequence: u64,
    /// Its frames, in slot order, of all the slots that it holds.
    pub frames: Vec<Frame>,
    /// Its runs, by LBA, disjoint.
    pub runs: Vec<Run>,
    /// The number of slots that were sealed.
    pub slots: u32,
    /// Of a rewrite: which of them are left.
    pub rewrite: Option<Rewrite>,
}

/// Where a slot's block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found<'a> {
    /// The frame.
    pub frame: &'a Frame,
    /// Blocks in the frame before it.
    pub skip: u32,
    /// Blocks of the frame from it on that are of consecutive slots.
    pub blocks: u32,
}

impl SegmentIndex {
    /// Where a slot's block is; `None` when the segment has no such slot, or it was dropped.
    #[inline]
    pub fn find(&self, slot: u32) -> Option<Found<'_>> {
        let (place, left) = match &self.rewrite {
            Some(rewrite) => rewrite.place_of(slot)?,
            None => (slot, u32::MAX),
        };
        let after = self.frames.partition_point(|frame| frame.first_place <= place);
        let frame = self.frames.get(after.checked_sub(1)?)?;
        let skip = place - frame.first_place;
        let blocks = u32::from(frame.blocks).checked_sub(skip).filter(|blocks| *blocks > 0)?;
        Some(Found { frame, skip, blocks: blocks.min(left) })
    }

    /// The frame with a slot.
    pub fn frame_of(&self, slot: u16) -> Option<&Frame> {
        self.find(u32::from(slot)).map(|found| found.frame)
    }

    /// The memory that it takes.
    pub fn memory_bytes(&self) -> usize {
        let rewrite = self.rewrite.as_ref().map_or(0, |rewrite| {
            rewrite.kept.capacity() * size_of::<super::SlotRun>()
                + rewrite.places.capacity() * size_of::<u32>()
        });
        size_of::<SegmentIndex>()
            + rewrite
            + self.frames.capacity() * size_of::<Frame>()
            + self.runs.capacity() * size_of::<Run>()
    }

    /// Reads an index whose place and hash the trailer states.
    pub fn parse(bytes: &[u8], trailer: &Trailer) -> Result<SegmentIndex, FormatError> {
        same(WHAT, "length", trailer.index_bytes as usize, bytes.len())?;
        same(WHAT, "hash", trailer.index_hash, Hash::of(bytes))?;
        let index = SegmentIndex::parse_body(bytes, trailer.rewritten)?;
        same(WHAT, "segment", trailer.id, index.id)?;
        let frames_end = index.frames.last().map_or(SEGMENT_HEADER_BYTES as u64, Frame::end);
        same(WHAT, "end of the frames", trailer.index_offset, frames_end)?;
        index.check()?;
        Ok(index)
    }

    fn parse_body(bytes: &[u8], rewritten: bool) -> Result<SegmentIndex, FormatError> {
        let mut from = Reader::new(WHAT, bytes);
        let (writer, counter) = (from.u32("writer")?, from.u32("counter")?);
        let mut index = SegmentIndex {
            id: SegmentId::from_words(WHAT, writer, counter)?,
            first_sequence: from.u64("first sequence")?,
            last_sequence: from.u64("last sequence")?,
            slots: from.u32("slots")?,
            frames: Vec::new(),
            runs: Vec::new(),
            rewrite: None,
        };
        ensure(index.slots <= SLOTS_MAX, WHAT, "slots", "at most 65536", index.slots)?;
        let frames = from.u32("count of frames")? as usize;
        let runs = from.u32("count of runs")? as usize;
        if rewritten {
            index.rewrite = Some(Rewrite::parse(WHAT, &mut from)?);
        }
        index.parse_frames(&mut from, frames)?;
        index.parse_runs(&mut from, runs)?;
        from.finish()?;
        Ok(index)
    }

    fn parse_frames(&mut self, from: &mut Reader<'_>, count: usize) -> Result<(), FormatError> {
        self.frames.reserve_exact(from.warranted("count of frames", count, ENTRY_BYTES_MIN)?);
        let (mut offset, mut place) = (SEGMENT_HEADER_BYTES as u64, 0);
        for _ in 0..count {
            let frame = Frame::parse(from, offset, place)?;
            offset = frame.end();
            place += u32::from(frame.blocks);
            ensure(place <= SLOTS_MAX, WHAT, "slots", "at most 65536", place)?;
            self.frames.push(frame);
        }
        same(WHAT, "slots of the frames", self.rewrite.as_ref().map_or(self.slots, Rewrite::slots), place)
    }

    fn parse_runs(&mut self, from: &mut Reader<'_>, count: usize) -> Result<(), FormatError> {
        self.runs.reserve_exact(from.warranted("count of runs", count, RUN_BYTES_MIN)?);
        let (mut lba, mut slot) = (0u64, 0u16);
        for _ in 0..count {
            let gap = from.varint("run gap")?;
            let blocks = from.varint("run blocks")?;
            let age = from.varint("run age")?;
            let kind = parse_kind(from, slot)?;
            let bounded = gap < LBA_END && blocks < LBA_END;
            ensure(bounded, WHAT, "run", "blocks below 2^51", format_args!("gap {gap}, blocks {blocks}"))?;
            lba += gap;
            let Some(sequence) = self.last_sequence.checked_sub(age) else {
                return Err(FormatError::new(
                    WHAT,
                    "run age",
                    format_args!("at most {}", self.last_sequence),
                    age,
                ));
            };
            self.runs.push(Run { lba, blocks, sequence, kind });
            lba += blocks;
            ensure(lba <= LBA_END, WHAT, "run", "blocks below 2^51", lba)?;
            if let RunKind::Data { first_slot } = kind {
                slot = first_slot.wrapping_add(blocks as u16);
            }
        }
        Ok(())
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES + self.frames.len() * 24 + self.runs.len() * 12);
        out.put_u32(self.id.writer);
        out.put_u32(self.id.counter);
        out.put_u64(self.first_sequence);
        out.put_u64(self.last_sequence);
        out.put_u32(self.slots);
        out.put_u32(self.frames.len() as u32);
        out.put_u32(self.runs.len() as u32);
        if let Some(rewrite) = &self.rewrite {
            rewrite.encode(&mut out);
        }
        self.frames.iter().for_each(|frame| frame.encode(&mut out));
        let (mut lba, mut slot) = (0, 0u16);
        for run in &self.runs {
            out.put_varint(run.lba - lba);
            out.put_varint(run.blocks);
            out.put_varint(self.last_sequence - run.sequence);
            match run.kind {
                RunKind::Hole => out.put_u8(0),
                RunKind::Zero => out.put_u8(1),
                RunKind::Data { first_slot } => {
                    out.put_u8(2);
                    out.put_zigzag(i64::from(first_slot) - i64::from(slot));
                    slot = first_slot.wrapping_add(run.blocks as u16);
                }
                RunKind::Reference(address) => {
                    out.put_u8(3);
                    out.put_u64(address.raw());
                }
            }
            lba = run.lba + run.blocks;
        }
        out
    }

    /// What holds for every index: sequences in order, runs sorted, disjoint and in range, slots that exist.
    pub(super) fn check(&self) -> Result<(), FormatError> {
        let (first, last) = (self.first_sequence, self.last_sequence);
        ensure(
            first >= 1 && first <= last,
            WHAT,
            "sequences",
            "an ascending range",
            format_args!("{first} to {last}"),
        )?;
        let mut end = 0;
        for run in &self.runs {
            ensure(run.lba >= end, WHAT, "runs", "ascending LBAs without overlap", run.lba)?;
            ensure(run.lba < LBA_END, WHAT, "runs", "blocks below 2^51", run.lba)?;
            ensure(
                (1..=LBA_END - run.lba).contains(&run.blocks),
                WHAT,
                "run blocks",
                "1 up to LBA 2^51",
                run.blocks,
            )?;
            end = run.lba + run.blocks;
            let sequence = run.sequence;
            ensure(
                (first..=last).contains(&sequence),
                WHAT,
                "run sequence",
                "one of the segment's",
                sequence,
            )?;
            self.check_slots(run)?;
        }
        if let Some(rewrite) = &self.rewrite {
            self.check_rewrite(WHAT, rewrite)?;
        }
        Ok(())
    }

    fn check_slots(&self, run: &Run) -> Result<(), FormatError> {
        let (first_slot, slots) = match run.kind {
            RunKind::Hole | RunKind::Zero => return Ok(()),
            RunKind::Data { first_slot } => (first_slot, self.slots),
            RunKind::Reference(address) if !address.is_segment() => {
                return Err(FormatError::new(WHAT, "reference", "an address in a segment", address));
            }
            RunKind::Reference(address) => match address.kind() {
                AddressKind::Segment(id, slot) if id == self.id => (slot, self.slots),
                AddressKind::Segment(_, slot) => (slot, SLOTS_MAX),
                _ => return Ok(()),
            },
        };
        let fits = run.blocks <= u64::from(slots.saturating_sub(u32::from(first_slot)));
        let found = format_args!("{} from slot {first_slot}", run.blocks).to_string();
        ensure(fits, WHAT, "run slots", "slots that exist", found)
    }
}

fn parse_kind(from: &mut Reader<'_>, next_slot: u16) -> Result<RunKind, FormatError> {
    Ok(match from.u8("run kind")? {
        0 => RunKind::Hole,
        1 => RunKind::Zero,
        2 => {
            let step = from.zigzag("run slot")?;
            let slot = i64::from(next_slot).checked_add(step).and_then(|slot| u16::try_from(slot).ok());
            match slot {
                Some(first_slot) => RunKind::Data { first_slot },
                None => {
                    return Err(FormatError::new(
                        WHAT,
                        "run slot",
                        "below 65536",
                        format_args!("{next_slot} + {step}"),
                    ));
                }
            }
        }
        3 => RunKind::Reference(Address::parse(from.u64("run reference")?)?),
        kind => return Err(FormatError::newer(WHAT, "run kind", "0 to 3", kind)),
    })
}
