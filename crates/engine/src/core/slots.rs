//! A set of the slots of one segment.

use esker_format::segment::SlotRun;

const WORD: u32 = u64::BITS;

/// Slots, one bit each up to the highest: at most 8 KiB.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Slots {
    words: Vec<u64>,
}

impl Slots {
    /// The slots of these stretches.
    pub fn of(runs: &[SlotRun]) -> Slots {
        let mut slots = Slots::default();
        runs.iter().for_each(|(first, count)| slots.insert(u32::from(*first), *count));
        slots
    }

    /// Adds consecutive slots.
    pub fn insert(&mut self, first: u32, count: u32) {
        let end = (first + count).div_ceil(WORD) as usize;
        if count > 0 && self.words.len() < end {
            self.words.resize(end, 0);
        }
        (first..first + count).for_each(|slot| self.words[(slot / WORD) as usize] |= 1 << (slot % WORD));
    }

    /// Whether a slot is in it.
    pub fn contains(&self, slot: u32) -> bool {
        self.words.get((slot / WORD) as usize).is_some_and(|word| word >> (slot % WORD) & 1 == 1)
    }

    /// Whether any of these slots is.
    pub fn touches(&self, first: u32, count: u64) -> bool {
        let end = (u64::from(first) + count).min(self.words.len() as u64 * u64::from(WORD)) as u32;
        (first..end).any(|slot| self.contains(slot))
    }

    /// How many there are.
    pub fn count(&self) -> u32 {
        self.words.iter().map(|word| word.count_ones()).sum()
    }

    /// Without those of another set.
    pub fn without(&self, other: &Slots) -> Slots {
        let word = |(at, word): (usize, &u64)| word & !other.words.get(at).copied().unwrap_or(0);
        Slots { words: self.words.iter().enumerate().map(word).collect() }
    }

    /// The stretches, in order, that do not touch.
    pub fn runs(&self) -> Vec<SlotRun> {
        let mut runs: Vec<SlotRun> = Vec::new();
        for slot in (0..self.words.len() as u32 * WORD).filter(|slot| self.contains(*slot)) {
            match runs.last_mut() {
                Some((first, count)) if u32::from(*first) + *count == slot => *count += 1,
                _ => runs.push((slot as u16, 1)),
            }
        }
        runs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_come_back_joined() {
        let slots = Slots::of(&[(3, 2), (5, 60), (200, 1), (65_535, 1)]);
        assert_eq!(slots.runs(), [(3, 62), (200, 1), (65_535, 1)]);
        assert_eq!(slots.count(), 64);
        assert!(slots.contains(64) && !slots.contains(65) && !slots.contains(2));
        assert!(slots.touches(65, 136) && !slots.touches(65, 135));
        assert!(slots.touches(201, 1 << 40) && !slots.touches(201, 65_334));
        let without = slots.without(&Slots::of(&[(0, 10), (200, 1)]));
        assert_eq!(without.runs(), [(10, 55), (65_535, 1)]);
        assert!(Slots::default().without(&slots).runs().is_empty());
    }
}
