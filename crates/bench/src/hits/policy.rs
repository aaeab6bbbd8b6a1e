//! Policies of a cache, each asked for one frame after the other.

use std::collections::{BTreeMap, VecDeque};

use esker_engine::core::kept::{Kept, Next, Shape, Survivor};
use esker_format::{
    cache::{CacheEntry, CacheKey, CacheQueue},
    ids::SegmentId,
};

use super::Reference;

type Key = (SegmentId, u16);

/// A cache.
pub trait Policy {
    /// Whether the frame is there; it is afterwards, as far as the policy wants it.
    fn ask(&mut self, reference: &Reference) -> bool;
}

/// The part of the references that the policy has.
pub fn replay(trace: &[Reference], mut policy: impl Policy) -> f64 {
    let found = trace.iter().filter(|reference| policy.ask(reference)).count();
    found as f64 / trace.len().max(1) as f64
}

/// Who came first goes first.
pub struct Fifo {
    line: VecDeque<(Key, u32)>,
    held: BTreeMap<Key, ()>,
    free: u64,
}

impl Fifo {
    /// A cache of so many bytes.
    pub fn new(bytes: u64) -> Self {
        Self { line: VecDeque::new(), held: BTreeMap::new(), free: bytes }
    }
}

impl Policy for Fifo {
    fn ask(&mut self, reference: &Reference) -> bool {
        let key = reference.key();
        if self.held.insert(key, ()).is_some() {
            return true;
        }
        self.line.push_back((key, reference.bytes));
        while self.free < u64::from(reference.bytes) {
            let Some((key, bytes)) = self.line.pop_front() else { break };
            self.held.remove(&key);
            self.free += u64::from(bytes);
        }
        self.free = self.free.saturating_sub(reference.bytes.into());
        false
    }
}

/// Who was used longest ago goes first.
pub struct Lru {
    /// By the time of the last use.
    line: BTreeMap<u64, (Key, u64)>,
    held: BTreeMap<Key, u64>,
    free: u64,
    now: u64,
    /// What an entry weighs, where it is not its bytes.
    weight: Option<u64>,
}

impl Lru {
    /// A cache of so many bytes.
    pub fn new(bytes: u64) -> Self {
        Self { line: BTreeMap::new(), held: BTreeMap::new(), free: bytes, now: 0, weight: None }
    }

    /// A cache of so many entries.
    pub fn of_entries(entries: usize) -> Self {
        Self { weight: Some(1), ..Self::new(entries as u64) }
    }
}

impl Policy for Lru {
    fn ask(&mut self, reference: &Reference) -> bool {
        self.now += 1;
        let (key, weight) = (reference.key(), self.weight.unwrap_or(reference.bytes.into()));
        let before = self.held.insert(key, self.now);
        if let Some(before) = before {
            self.line.remove(&before);
        } else {
            while self.free < weight {
                let Some((_, (key, weight))) = self.line.pop_first() else { break };
                self.held.remove(&key);
                self.free += weight;
            }
            self.free = self.free.saturating_sub(weight);
        }
        self.line.insert(self.now, (key, weight));
        before.is_some()
    }
}

/// The disk cache's own: `core/kept.rs`, asked as the cache asks it.
pub struct Ours(Kept);

impl Ours {
    /// A cache of so many bytes; none if they are too few for one.
    pub fn new(bytes: u64) -> Option<Self> {
        Some(Self(Kept::new(Shape::within(bytes)?)))
    }

    fn insert(&mut self, queue: CacheQueue, entry: CacheEntry, uses: u8) {
        loop {
            let room = self.0.room(queue).filter(|room| room.bytes >= entry.bytes.into() && room.entries > 0);
            if let Some(room) = room {
                self.0.add(room.order, entry, uses);
                return;
            }
            let mut moving: Vec<Survivor> = Vec::new();
            let number = loop {
                match self.0.next() {
                    Next::Free(number) => break number,
                    Next::Again(order) => moving.extend(self.0.empty(order, |_| false)),
                }
            };
            self.0.begin(queue, number, 0);
            for survivor in moving {
                self.insert(CacheQueue::Main, survivor.place.entry, survivor.uses);
            }
        }
    }
}

impl Policy for Ours {
    fn ask(&mut self, reference: &Reference) -> bool {
        let key = CacheKey::frame(reference.segment, reference.slot);
        let found = self.0.find(key).is_some();
        if let Some(queue) = self.0.queue_of(key, reference.bytes as usize) {
            self.insert(queue, CacheEntry { key, bytes: reference.bytes, crc: 0 }, 0);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(number: u16) -> Reference {
        Reference { segment: SegmentId::new(1, 1).unwrap(), slot: number, bytes: 10 << 10 }
    }

    #[test]
    fn each_policy_does_what_it_is_called() {
        // Room for three. The first is used again before the fourth comes.
        let trace = [1, 2, 3, 1, 4, 1, 2].map(reference);
        let room = 30 << 10;
        assert_eq!(replay(&trace, Fifo::new(room)) * 7.0, 1.0);
        assert_eq!(replay(&trace, Lru::new(room)) * 7.0, 2.0);
        assert_eq!(replay(&trace, Ours::new(1 << 20).unwrap()) * 7.0, 3.0);
        assert!(Ours::new(room).is_none());
    }

    #[test]
    fn a_bound_holds_whatever_comes() {
        let mut ours = Ours::new(1 << 20).unwrap();
        let mut state = 1_u32;
        for _ in 0..20_000 {
            state = state.wrapping_mul(1_103_515_245).wrapping_add(12_345);
            ours.ask(&reference((state >> 16) as u16 % 500));
            assert!(ours.0.bytes() <= 1 << 20);
        }
    }
}
