//! Whose the stored bytes are: what a block takes, and who reaches it.
//!
//! A slot is *shared* when several volumes reach it. When only one does, it is that volume's: its newest head reaches it,
//! or only its older ones do. Each slot is held in one way, so the sums add up.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use esker_format::{ids::SegmentId, segment::SegmentIndex};

use super::slots::Slots;

/// How something is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holder {
    /// By the newest head of one volume, and perhaps by older ones.
    Newest(u32),
    /// By older heads of one volume only.
    Older(u32),
    /// By several volumes.
    Shared,
}

impl Holder {
    /// How something is held that both hold.
    pub fn and(self, other: Holder) -> Holder {
        match (self.volume(), other.volume()) {
            (Some(one), Some(two)) if one == two => self.min(other),
            _ => Holder::Shared,
        }
    }

    /// The one volume.
    pub fn volume(self) -> Option<u32> {
        match self {
            Holder::Newest(volume) | Holder::Older(volume) => Some(volume),
            Holder::Shared => None,
        }
    }
}

/// The slots of one segment, by how they are held.
///
/// Each slot is in one set, and a set takes a bit a slot at most: so all of them together take up to a bit a slot for
/// each volume that holds some of the segment alone. Of an ordinary image that is a run or two.
#[derive(Debug, Clone, Default)]
pub struct Held(Vec<(Holder, Slots)>);

impl Held {
    /// Some slots are held, too.
    pub fn hold(&mut self, first: u16, count: u32, by: Holder) {
        let mut fresh = Slots::default();
        fresh.insert(first, count);
        let mut moved = Vec::new();
        for (holder, slots) in &mut self.0 {
            let both = holder.and(by);
            for (first, count) in slots.overlap(first, count) {
                fresh.remove(first, count);
                if both != *holder {
                    slots.remove(first, count);
                    moved.push((both, first, count));
                }
            }
        }
        let fresh = fresh.runs().into_iter().map(|(first, count)| (by, first, count));
        for (holder, first, count) in moved.into_iter().chain(fresh) {
            match self.0.iter_mut().find(|(known, _)| *known == holder) {
                Some((_, slots)) => slots.insert(first, count),
                None => {
                    let mut slots = Slots::default();
                    slots.insert(first, count);
                    self.0.push((holder, slots));
                }
            }
        }
        self.0.retain(|(_, slots)| !slots.is_empty());
    }

    /// What is held, and how.
    pub fn by_holder(&self) -> &[(Holder, Slots)] {
        &self.0
    }

    /// The memory that it takes.
    pub fn memory_bytes(&self) -> usize {
        let sets = self.0.iter().map(|(_, slots)| slots.memory_bytes() - size_of::<Slots>());
        self.0.capacity() * size_of::<(Holder, Slots)>() + sets.sum::<usize>()
    }
}

/// What the slots of a segment take in the store. The bytes of a frame are those of its slots in equal parts; what is
/// left over goes to the first ones, a byte each. So the parts of a frame add up to it.
///
/// Two bytes a frame of eight blocks: 64 MiB for a TiB of blocks.
#[derive(Debug, Clone)]
pub struct Weights {
    /// Places of slots in frames: of a segment as it was sealed, its slots.
    places: u32,
    /// Of a rewrite: first slot, count and place of each stretch that is left.
    kept: Vec<(u16, u32, u32)>,
    /// Places of every frame but the last one, if that is so.
    even: Option<u32>,
    /// First places, where it is not.
    starts: Vec<u16>,
    /// Stored bytes of each frame less one, so that 64 KiB fit.
    frames: Vec<u16>,
}

impl Weights {
    /// Those of a segment.
    pub fn of(index: &SegmentIndex) -> Self {
        let frames = &index.frames;
        let first = frames.first().map_or(1, |frame| u32::from(frame.blocks));
        let even = frames.iter().zip(0..).all(|(frame, at)| frame.first_place == at * first);
        let starts = frames.iter().map(|frame| frame.first_place as u16);
        let mut places = 0;
        let mut stretch = |(first, count): (u16, u32)| {
            places += count;
            (first, count, places - count)
        };
        let kept: Vec<_> = index.kept().into_iter().map(&mut stretch).collect();
        Self {
            places,
            kept: if index.rewrite.is_some() { kept } else { Vec::new() },
            even: even.then_some(first),
            starts: if even { Vec::new() } else { starts.collect() },
            frames: frames.iter().map(|frame| (frame.stored_bytes - 1) as u16).collect(),
        }
    }

    /// How many slots are left.
    pub fn slots(&self) -> u32 {
        self.places
    }

    /// All frames.
    pub fn total(&self) -> u64 {
        self.frames.iter().map(|bytes| u64::from(*bytes) + 1).sum()
    }

    /// The stored bytes of `count` slots from `first`; `None` when the segment does not have them.
    pub fn of_slots(&self, first: u16, count: u32) -> Option<u64> {
        let (mut slot, end) = (u32::from(first), u32::from(first) + count);
        if self.kept.is_empty() {
            return (end <= self.places).then(|| self.of_places(slot, end));
        }
        let mut bytes = 0;
        while slot < end {
            let after = self.kept.partition_point(|(first, ..)| u32::from(*first) <= slot);
            let (first, count, place) = *self.kept.get(after.checked_sub(1)?)?;
            let (skip, left) = (slot - u32::from(first), u32::from(first) + count);
            let behind = end.min(left);
            if slot >= left {
                return None;
            }
            bytes += self.of_places(place + skip, place + skip + behind - slot);
            slot = behind;
        }
        Some(bytes)
    }

    /// Those of `count` slots from `first` that the segment has: first and count.
    pub fn left_of(&self, first: u16, count: u32) -> Vec<(u16, u32)> {
        let (slot, end) = (u32::from(first), u32::from(first) + count);
        let clip = |from: u32, to: u32| {
            let (from, to) = (from.max(slot), to.min(end));
            (from < to).then(|| (from as u16, to - from))
        };
        if self.kept.is_empty() {
            return clip(0, self.places).into_iter().collect();
        }
        let from = self.kept.partition_point(|(first, count, _)| u32::from(*first) + count <= slot);
        let stretches = self.kept[from..].iter().take_while(|(first, ..)| u32::from(*first) < end);
        stretches.filter_map(|(first, count, _)| clip((*first).into(), u32::from(*first) + count)).collect()
    }

    fn of_places(&self, mut place: u32, end: u32) -> u64 {
        let mut bytes = 0;
        while place < end {
            let frame = self.frame_of(place);
            let (start, behind) = (self.start(frame), self.start(frame + 1));
            let (blocks, stored) = (u64::from(behind - start), u64::from(self.frames[frame]) + 1);
            let (from, to) = (u64::from(place - start), u64::from(end.min(behind) - start));
            let left_over = stored % blocks;
            bytes += (to - from) * (stored / blocks) + to.min(left_over) - from.min(left_over);
            place = behind;
        }
        bytes
    }

    /// The memory that they take.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>()
            + self.kept.capacity() * size_of::<(u16, u32, u32)>()
            + (self.starts.capacity() + self.frames.capacity()) * size_of::<u16>()
    }

    fn frame_of(&self, place: u32) -> usize {
        match self.even {
            // The last frame may be longer than the others.
            Some(blocks) => ((place / blocks) as usize).min(self.frames.len() - 1),
            None => self.starts.partition_point(|start| u32::from(*start) <= place) - 1,
        }
    }

    /// The first place of a frame.
    fn start(&self, frame: usize) -> u32 {
        if frame == self.frames.len() {
            return self.places;
        }
        match self.even {
            Some(blocks) => frame as u32 * blocks,
            None => self.starts[frame].into(),
        }
    }
}

/// Bytes of slots, by how they are held.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sums {
    /// By holder.
    pub held: BTreeMap<Holder, u64>,
    /// Slots that nobody holds, in segments of which somebody holds others.
    pub dead: u64,
}

impl Sums {
    /// Adds a segment.
    ///
    /// # Errors
    /// A slot is held that the segment does not have.
    pub fn add(
        &mut self,
        segment: SegmentId,
        held: &Held,
        weights: &Weights,
    ) -> std::result::Result<(), String> {
        let mut dead = weights.total();
        for (holder, slots) in held.by_holder() {
            for (first, count) in slots.runs() {
                let bytes = weights.of_slots(first, count).ok_or_else(|| {
                    let slots = weights.slots();
                    format!("a map names {count} slots from {first} of segment {segment}, which has {slots}")
                })?;
                *self.held.entry(*holder).or_default() += bytes;
                dead -= bytes;
            }
        }
        self.dead += dead;
        Ok(())
    }

    /// What is held so.
    pub fn of(&self, holder: Holder) -> u64 {
        self.held.get(&holder).copied().unwrap_or(0)
    }

    /// All that is held.
    pub fn live(&self) -> u64 {
        self.held.values().sum()
    }
}
