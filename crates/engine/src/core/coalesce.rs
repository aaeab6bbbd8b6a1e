//! What a seal keeps of a stretch of the log: the newest record of every block in it.
//!
//! Leaving out what was overwritten is right only inside one seal, because a commit moves by whole
//! seals (rule W6).

use std::collections::BTreeMap;

use esker_format::chunk::{Record, RecordKind};

/// A stretch of blocks that survives in a seal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// First block.
    pub lba: u64,
    /// Number of blocks.
    pub blocks: u64,
    /// The record's sequence.
    pub sequence: u64,
    /// What the record did.
    pub kind: RecordKind,
    /// For writes: log position of the first block.
    pub position: u64,
}

/// The surviving stretches of `records` (each with the position of its first block), in order of address.
pub fn coalesce(records: &[(Record, u64)]) -> Vec<Kept> {
    let mut kept = Vec::with_capacity(records.len());
    let mut taken = Taken::default();
    for (record, position) in records.iter().rev() {
        taken.claim(record.lba, record.lba + record.blocks, |start, end| {
            let skipped = start - record.lba;
            let position = match record.kind {
                RecordKind::Write => position + skipped * esker_format::BLOCK_BYTES as u64,
                RecordKind::Hole | RecordKind::Zero => 0,
            };
            kept.push(Kept {
                lba: start,
                blocks: end - start,
                sequence: record.sequence,
                kind: record.kind,
                position,
            });
        });
    }
    kept.sort_unstable_by_key(|stretch| stretch.lba);
    kept
}

/// The blocks that a newer record has taken: disjoint ranges, start → end.
#[derive(Default)]
struct Taken {
    ranges: BTreeMap<u64, u64>,
}

impl Taken {
    /// Takes `start..end`; calls `free` for each part that was not taken before.
    fn claim(&mut self, start: u64, end: u64, mut free: impl FnMut(u64, u64)) {
        let mut from = start;
        let mut merged = (start, end);
        let first = self.ranges.range(..=start).next_back().filter(|(_, e)| **e >= start).map(|(s, _)| *s);
        let overlapping: Vec<(u64, u64)> =
            self.ranges.range(first.unwrap_or(start)..=end).map(|(s, e)| (*s, *e)).collect();
        for (taken_start, taken_end) in overlapping {
            if taken_start > from {
                free(from, taken_start);
            }
            from = from.max(taken_end);
            merged = (merged.0.min(taken_start), merged.1.max(taken_end));
            self.ranges.remove(&taken_start);
        }
        if from < end {
            free(from, end);
        }
        self.ranges.insert(merged.0, merged.1);
    }
}

#[cfg(test)]
mod tests;
