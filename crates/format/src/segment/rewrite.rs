//! What a rewrite keeps of a segment: some of its slots, under their own numbers, and what its runs say of them.
//!
//! ```text
//! sealed   │ 0 1 2 3 │ 4 5 6 7 │ 8 9 …        slots, in frames
//! dead         × ×       ×   ×
//! rewrite  │ 0 3 4 6 │ 8 9 …                   the slots that are left, in frames anew
//! place      0 1 2 3   4 5
//! ```
//! A frame of a rewrite is of consecutive *places*. Slots are in the order of LBAs where a seal made them, and so are
//! places.

use crate::error::ensure;
use crate::wire::{Put, Reader};
use crate::{AddressKind, FormatError, Hash};

use super::{Run, RunKind, SLOTS_MAX, SegmentIndex};

const STRETCH_BYTES_MIN: usize = 2;

/// Consecutive slots: the first, and how many.
pub type SlotRun = (u16, u32);

/// What the index of a rewrite says beyond that of a sealed segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewrite {
    /// The size of the object as it was sealed, which heads state.
    pub sealed_bytes: u64,
    /// The hash of its index, likewise.
    pub sealed_hash: Hash,
    /// The slots that are left, in stretches that ascend and do not touch.
    pub kept: Vec<SlotRun>,
    /// The place of each stretch's first slot; not stored.
    pub(super) places: Vec<u32>,
}

impl Rewrite {
    /// What is left of a segment that was sealed with this size and hash. Panics on stretches that overlap, touch or
    /// are out of order.
    pub fn new(sealed_bytes: u64, sealed_hash: Hash, kept: Vec<SlotRun>) -> Rewrite {
        let mut rewrite = Rewrite { sealed_bytes, sealed_hash, kept, places: Vec::new() };
        rewrite.count();
        let ascending =
            rewrite.kept.windows(2).all(|pair| u32::from(pair[0].0) + pair[0].1 < u32::from(pair[1].0));
        let in_range = rewrite.kept.iter().all(|run| run.1 > 0 && u32::from(run.0) + run.1 <= SLOTS_MAX);
        assert!(ascending && in_range, "stretches of slots in order");
        rewrite
    }

    fn count(&mut self) {
        let mut place = 0;
        let places = self.kept.iter().map(|(_, slots)| {
            place += slots;
            place - slots
        });
        self.places = places.collect();
    }

    /// How many slots are left.
    pub fn slots(&self) -> u32 {
        self.kept.iter().map(|run| run.1).sum()
    }

    /// The place of a slot, and how many consecutive slots are left from it on.
    pub(super) fn place_of(&self, slot: u32) -> Option<(u32, u32)> {
        let after = self.kept.partition_point(|run| u32::from(run.0) <= slot);
        let (first, slots) = *self.kept.get(after.checked_sub(1)?)?;
        let skip = slot - u32::from(first);
        (skip < slots).then(|| (self.places[after - 1] + skip, slots - skip))
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u64(self.sealed_bytes);
        out.put(&self.sealed_hash.0);
        put_slot_runs(out, &self.kept);
    }

    pub(super) fn parse(what: &'static str, from: &mut Reader<'_>) -> Result<Rewrite, FormatError> {
        let sealed_bytes = from.u64("sealed bytes")?;
        let sealed_hash = Hash(from.array("sealed index hash")?);
        let kept = slot_runs(what, from)?;
        let mut rewrite = Rewrite { sealed_bytes, sealed_hash, kept, places: Vec::new() };
        rewrite.count();
        Ok(rewrite)
    }
}

/// Stretches of slots: their number u32, then for each the gap from the end of the one before and the slots, as
/// numbers of seven bits a byte.
pub(crate) fn put_slot_runs(out: &mut Vec<u8>, runs: &[SlotRun]) {
    out.put_u32(u32::try_from(runs.len()).expect("at most 32,768 stretches"));
    let mut end = 0;
    for (first, slots) in runs {
        out.put_varint(u64::from(u32::from(*first) - end));
        out.put_varint(u64::from(*slots));
        end = u32::from(*first) + slots;
    }
}

pub(crate) fn slot_runs(what: &'static str, from: &mut Reader<'_>) -> Result<Vec<SlotRun>, FormatError> {
    let count = from.count("count of stretches", STRETCH_BYTES_MIN)?;
    let (mut runs, mut end) = (Vec::with_capacity(count), 0u64);
    for _ in 0..count {
        let (gap, slots) = (from.varint("stretch gap")?, from.varint("stretch slots")?);
        let all = u64::from(SLOTS_MAX);
        let fits = gap < all && (1..=all).contains(&slots) && end + gap + slots <= all;
        let apart = gap > 0 || runs.is_empty();
        ensure(fits && apart, what, "stretch", "slots below 65536, apart from each other", end)?;
        runs.push(((end + gap) as u16, slots as u32));
        end += gap + slots;
    }
    Ok(runs)
}

impl SegmentIndex {
    /// The slots that the object holds, in stretches.
    pub fn kept(&self) -> Vec<SlotRun> {
        match &self.rewrite {
            Some(rewrite) => rewrite.kept.clone(),
            None if self.slots == 0 => Vec::new(),
            None => vec![(0, self.slots)],
        }
    }

    /// The runs without what they say of slots that are not in `kept`. Every map that a root reaches stays what it is:
    /// where a root got an address from such a run, the slot was live.
    pub fn runs_of(&self, kept: &Rewrite) -> Vec<Run> {
        let mut runs = Vec::with_capacity(self.runs.len());
        for run in &self.runs {
            let Some(first) = self.own_slot(run) else {
                runs.push(*run);
                continue;
            };
            let (mut at, mut left) = (first, run.blocks as u32);
            while left > 0 {
                let Some((_, slots)) = kept.place_of(at) else {
                    (at, left) = (at + 1, left - 1);
                    continue;
                };
                let slots = slots.min(left);
                let skip = u64::from(at - first);
                runs.push(part(run, skip, u64::from(slots)));
                (at, left) = (at + slots, left - slots);
            }
        }
        runs
    }

    /// The first of its own slots that a run names.
    pub(super) fn own_slot(&self, run: &Run) -> Option<u32> {
        match run.kind {
            RunKind::Data { first_slot } => Some(u32::from(first_slot)),
            RunKind::Reference(address) => match address.kind() {
                AddressKind::Segment(id, slot) if id == self.id => Some(u32::from(slot)),
                _ => None,
            },
            RunKind::Hole | RunKind::Zero => None,
        }
    }

    /// Rewrites: the slots exist, and the runs name none that was dropped.
    pub(super) fn check_rewrite(&self, what: &'static str, rewrite: &Rewrite) -> Result<(), FormatError> {
        let end = rewrite.kept.last().map_or(0, |(first, slots)| u32::from(*first) + slots);
        ensure(end <= self.slots, what, "stretch", "slots that were sealed", end)?;
        for run in &self.runs {
            if let Some(first) = self.own_slot(run) {
                let left = rewrite.place_of(first).map_or(0, |(_, slots)| slots);
                let found = format_args!("{} from slot {first}", run.blocks).to_string();
                ensure(run.blocks <= u64::from(left), what, "run slots", "slots that were kept", found)?;
            }
        }
        Ok(())
    }
}

/// Some blocks of a run that names slots of its own segment.
fn part(run: &Run, skip: u64, blocks: u64) -> Run {
    let kind = match run.kind {
        RunKind::Data { first_slot } => RunKind::Data { first_slot: first_slot + skip as u16 },
        RunKind::Reference(address) => RunKind::Reference(address.plus(skip)),
        other => other,
    };
    Run { lba: run.lba + skip, blocks, sequence: run.sequence, kind }
}
