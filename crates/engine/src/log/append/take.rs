//! What seals, pieces and commits take from the records that no applied commit of a segment covers.

use std::collections::VecDeque;

use esker_io::{Bug, planted};

use super::{Appender, Pending};
use crate::log::{Backlog, Cut, Log};

impl Appender {
    /// What lies above the last cut.
    pub(crate) fn backlog(&self) -> Backlog {
        let oldest_ms = self.pending.get(self.cut).map(|pending| pending.at_ms);
        Backlog { blocks: self.uncut_blocks, oldest_ms }
    }

    /// Takes the next records for a seal: at most `blocks_max` blocks, but at least one record, and none beyond a stop.
    pub(crate) fn cut(&mut self, blocks_max: u64) -> Option<Cut> {
        let next = self.pending.get(self.cut)?.record.sequence;
        while self.stops.pop_front_if(|stop| *stop < next).is_some() {}
        let stop = self.stops.front().copied().filter(|_| !planted(Bug::PointNotCut)).unwrap_or(u64::MAX);
        let mut cut = Cut::default();
        let mut blocks = 0;
        for pending in self.pending.range(self.cut..) {
            blocks += pending.weight();
            if pending.record.sequence > stop || (blocks > blocks_max && !cut.records.is_empty()) {
                break;
            }
            self.uncut_blocks -= pending.weight();
            cut.end = pending.end;
            cut.records.push(*pending);
        }
        self.cut += cut.records.len();
        (!cut.records.is_empty()).then_some(cut)
    }

    /// Lets the cuts end at the last record that there is now; returns its sequence.
    pub(crate) fn stop_here(&mut self) -> u64 {
        let last = self.next_sequence - 1;
        if self.stops.back() != Some(&last) {
            self.stops.push_back(last);
        }
        last
    }

    /// The sequence of the first record that no seal has taken.
    pub(crate) fn next_cut(&self) -> u64 {
        self.pending.get(self.cut).map_or(self.next_sequence, |pending| pending.record.sequence)
    }

    /// The records from sequence `from` on, for a piece: at most `blocks_max` blocks, but at least one record. A seal
    /// takes them all the same. `None` when there are none, or when some of them are not in this log.
    pub(crate) fn copy(&self, from: u64, blocks_max: u64) -> Option<Cut> {
        let first = self.pending.front()?.record.sequence;
        let skipped = usize::try_from(from.checked_sub(first)?).ok()?;
        let mut cut = Cut::default();
        let mut blocks = 0;
        for pending in self.pending.iter().skip(skipped) {
            blocks += pending.weight();
            if blocks > blocks_max && !cut.records.is_empty() {
                break;
            }
            cut.end = pending.end;
            cut.records.push(*pending);
        }
        (!cut.records.is_empty()).then_some(cut)
    }

    /// What lies above the sequence that the newest head holds.
    pub(crate) fn uncommitted(&self) -> Backlog {
        let oldest = self.index_of(self.figures.committed + 1).and_then(|at| self.pending.get(at));
        Backlog { blocks: self.figures.uncommitted_blocks, oldest_ms: oldest.map(|pending| pending.at_ms) }
    }

    /// A head holds everything up to `sequence`, in segments or in pieces. Said before its segments' records are
    /// released.
    pub(crate) fn committed(&mut self, sequence: u64) {
        assert!(sequence >= self.figures.committed, "a commit takes nothing back");
        if let Some(from) = self.index_of(self.figures.committed + 1) {
            let count = (sequence - self.figures.committed) as usize;
            let weights = self.pending.iter().skip(from).take(count).map(Pending::weight);
            self.figures.uncommitted_blocks -= weights.sum::<u64>();
        }
        self.figures.committed = sequence;
    }

    /// Where the record of a sequence stands among the pending ones.
    fn index_of(&self, sequence: u64) -> Option<usize> {
        let first = self.pending.front()?.record.sequence;
        usize::try_from(sequence.checked_sub(first)?).ok()
    }

    /// Drops pending records that end at or below `end`; returns the position below which nothing is needed.
    pub(crate) fn release(&mut self, end: u64) -> u64 {
        while self.pending.front().is_some_and(|pending| pending.end <= end) {
            assert!(self.cut > 0, "only records that were sealed are released");
            self.figures.unsealed_blocks -= self.pending.pop_front().map_or(0, |pending| pending.weight());
            self.cut -= 1;
        }
        let tail = self.active.base() + self.offset;
        self.pending.front().map_or(tail, |pending| pending.start)
    }

    /// Records that no applied commit covers.
    pub(crate) fn pending_records(&self) -> u64 {
        self.pending.len() as u64
    }
}

impl Cut {
    /// Its records in several cuts of at most `blocks_max` blocks each, but at least one record.
    pub(crate) fn divided(self, blocks_max: u64) -> VecDeque<Cut> {
        let (mut cuts, mut blocks) = (VecDeque::from([Cut::default()]), 0);
        for pending in self.records {
            blocks += pending.weight();
            if blocks > blocks_max && cuts.back().is_some_and(|cut: &Cut| !cut.records.is_empty()) {
                cuts.push_back(Cut::default());
                blocks = pending.weight();
            }
            let cut = cuts.back_mut().expect("there is one from the beginning");
            cut.end = pending.end;
            cut.records.push(pending);
        }
        cuts
    }

    /// Blocks written by its records, and one for each trim or zero.
    pub(crate) fn blocks(&self) -> u64 {
        self.records.iter().map(Pending::weight).sum()
    }
}

impl Log {
    /// Lets the cuts end at the last record that there is now, all of which is acknowledged or will be; returns its
    /// sequence.
    pub(crate) fn stop_here(&self) -> u64 {
        self.appender.lock().stop_here()
    }

    /// The sequence of the first record that no seal has taken.
    pub(crate) fn next_cut(&self) -> u64 {
        self.appender.lock().next_cut()
    }
}
