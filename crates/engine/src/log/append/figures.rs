//! What a status and the policy are told of the end of the log.

use super::{Appender, Pending};

/// Sums over the pending records, kept so that nobody has to walk them.
#[derive(Debug)]
pub(super) struct Figures {
    /// The newest head holds everything up to this sequence.
    pub(super) committed: u64,
    /// The weight of the records above it.
    pub(super) uncommitted_blocks: u64,
    /// The weight of all pending records: what no commit of a segment covers.
    pub(super) unsealed_blocks: u64,
}

impl Figures {
    /// Of an opening whose head holds everything up to `committed`, and whose log has so much beyond.
    pub(super) fn new(committed: u64, blocks: u64) -> Self {
        Self { committed, uncommitted_blocks: blocks, unsealed_blocks: blocks }
    }

    pub(super) fn appended(&mut self, pending: &Pending) {
        self.uncommitted_blocks += pending.weight();
        self.unsealed_blocks += pending.weight();
    }
}

impl Appender {
    /// The weight of the records that no commit of a segment covers.
    pub(crate) fn unsealed_blocks(&self) -> u64 {
        self.figures.unsealed_blocks
    }

    /// Files of the log, in use and spare.
    pub(crate) fn files(&self) -> usize {
        self.files.count()
    }
}
