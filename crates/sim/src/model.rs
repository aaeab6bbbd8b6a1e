//! What a volume must hold: its history, record by record in the order of its log, and how much of it may be lost.
//!
//! Each record has the sequence that the engine gives it, so after a crash there is nothing to search: the volume
//! says up to which sequence it was recovered, that sequence must lie between what may not be lost and what was
//! ever tried, and its image must be the history up to there, byte by byte.

use std::collections::VecDeque;

use bytes::Bytes;
use esker_engine::volume::Change;
use esker_format::{BLOCK_BYTES, chunk::RECORD_BLOCKS_MAX};

use crate::stamp;

const BLOCK: u64 = BLOCK_BYTES as u64;

/// A change that a test asks for.
#[derive(Debug, Clone)]
pub enum Operation {
    /// New contents.
    Write {
        /// First byte.
        offset: u64,
        /// The contents.
        data: Bytes,
    },
    /// A trim.
    Trim {
        /// First byte.
        offset: u64,
        /// Bytes.
        length: u64,
    },
    /// Zeros.
    Zero {
        /// First byte.
        offset: u64,
        /// Bytes.
        length: u64,
        /// Whether it may become a hole.
        may_trim: bool,
    },
}

/// What one record of the log does.
#[derive(Debug, Clone)]
pub(crate) enum Effect {
    /// Whole blocks.
    Write { lba: u64, data: Bytes },
    /// Bytes inside one block.
    Patch { offset: u64, data: Bytes },
    /// Blocks that read as zeros from then on.
    Clear { lba: u64, blocks: u64 },
}

impl Operation {
    fn range(&self) -> (u64, u64) {
        match self {
            Self::Write { offset, data } => (*offset, data.len() as u64),
            Self::Trim { offset, length } | Self::Zero { offset, length, .. } => (*offset, *length),
        }
    }

    /// The same change for the engine.
    pub fn borrow(&self) -> Change<'_> {
        match self {
            Self::Write { offset, data } => Change::Write { offset: *offset, data },
            Self::Trim { offset, length } => Change::Trim { offset: *offset, length: *length },
            Self::Zero { offset, length, may_trim } => {
                Change::Zero { offset: *offset, length: *length, may_trim: *may_trim }
            }
        }
    }

    /// Whether it is a write of whole blocks, which the engine appends together with its neighbours.
    pub fn is_whole(&self) -> bool {
        let (offset, length) = self.range();
        matches!(self, Self::Write { .. }) && offset.is_multiple_of(BLOCK) && length.is_multiple_of(BLOCK)
    }

    fn bytes(&self, from: u64, to: u64) -> Bytes {
        match self {
            Self::Write { offset, data } => data.slice((from - offset) as usize..(to - offset) as usize),
            Self::Trim { .. } | Self::Zero { .. } => Bytes::from(vec![0; (to - from) as usize]),
        }
    }

    /// The records that the change becomes, in order: the parts of blocks at its ends, then the whole blocks.
    pub(crate) fn effects(&self) -> Vec<Effect> {
        let (start, length) = self.range();
        let end = start + length;
        let (first, last) = (start.next_multiple_of(BLOCK), end / BLOCK * BLOCK);
        let mut effects = Vec::new();
        if !matches!(self, Self::Trim { .. }) {
            if first > last {
                return vec![Effect::Patch { offset: start, data: self.bytes(start, end) }];
            }
            for (from, to) in [(start, first), (last, end)] {
                if from < to {
                    effects.push(Effect::Patch { offset: from, data: self.bytes(from, to) });
                }
            }
        }
        if first >= last {
            return effects;
        }
        match self {
            Self::Write { .. } => {
                let mut from = first;
                while from < last {
                    let to = (from + RECORD_BLOCKS_MAX * BLOCK).min(last);
                    effects.push(Effect::Write { lba: from / BLOCK, data: self.bytes(from, to) });
                    from = to;
                }
            }
            Self::Trim { .. } | Self::Zero { .. } => {
                effects.push(Effect::Clear { lba: first / BLOCK, blocks: (last - first) / BLOCK });
            }
        }
        effects
    }
}

/// A volume's blocks; `None` is zeros.
#[derive(Debug, Clone)]
struct Image(Vec<Option<Bytes>>);

impl Image {
    fn apply(&mut self, effect: &Effect) {
        match effect {
            Effect::Write { lba, data } => {
                for index in 0..data.len() / BLOCK_BYTES {
                    let block = data.slice(index * BLOCK_BYTES..(index + 1) * BLOCK_BYTES);
                    self.0[*lba as usize + index] = Some(block);
                }
            }
            Effect::Patch { offset, data } => {
                let block = &mut self.0[(offset / BLOCK) as usize];
                let mut bytes = block.as_ref().map_or_else(|| vec![0; BLOCK_BYTES], |block| block.to_vec());
                let start = (offset % BLOCK) as usize;
                bytes[start..start + data.len()].copy_from_slice(data);
                *block = Some(bytes.into());
            }
            Effect::Clear { lba, blocks } => {
                self.0[*lba as usize..(lba + blocks) as usize].fill(None);
            }
        }
    }
}

/// What may be lost until the volume is opened again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// What was not acknowledged: the process was killed.
    Process,
    /// What is neither flushed nor committed: the power failed.
    Power,
    /// What is not committed: the local directory is gone, or another host goes on.
    Directory,
}

/// The model of one volume.
#[derive(Debug, Clone)]
pub struct Model {
    base: Image,
    /// The sequence that `base` is the image of.
    base_sequence: u64,
    /// What led to it, for those who ask for what a snapshot has.
    settled: Vec<Effect>,
    history: VecDeque<Effect>,
    /// Records that were tried and may be in the log: nothing follows them until the volume is opened again.
    tried: Vec<Effect>,
    acknowledged: u64,
    flushed: u64,
    committed: u64,
}

impl Model {
    /// An empty volume.
    pub fn new(size_bytes: u64) -> Self {
        Self {
            base: Image(vec![None; (size_bytes / BLOCK) as usize]),
            base_sequence: 0,
            settled: Vec::new(),
            history: VecDeque::new(),
            tried: Vec::new(),
            acknowledged: 0,
            flushed: 0,
            committed: 0,
        }
    }

    /// The volume may have so many blocks from now on; what is new is zeros.
    pub(crate) fn reach(&mut self, blocks: u64) {
        if blocks > self.blocks() {
            self.base.0.resize(blocks as usize, None);
        }
    }

    /// The most blocks that the volume ever had.
    pub fn blocks(&self) -> u64 {
        self.base.0.len() as u64
    }

    /// The last sequence that is in the log for certain.
    pub fn last(&self) -> u64 {
        self.base_sequence + self.history.len() as u64
    }

    /// The sequence up to which nothing may be lost whatever happens to the host.
    pub fn committed(&self) -> u64 {
        self.committed
    }

    /// These records are about to be tried.
    pub(crate) fn begin(&mut self, effects: &[Effect]) {
        self.tried = effects.to_vec();
    }

    /// The log has grown to `last`; a failed try may have left more behind.
    pub(crate) fn grown(&mut self, last: u64, failed: bool) -> Result<(), String> {
        let grown = last.checked_sub(self.last()).filter(|grown| *grown <= self.tried.len() as u64);
        let Some(grown) = grown else {
            return Err(format!(
                "the log went from sequence {} to {last} where {} records were tried",
                self.last(),
                self.tried.len()
            ));
        };
        self.history.extend(self.tried.drain(..grown as usize));
        if !failed {
            self.tried.clear();
        }
        Ok(())
    }

    /// Everything up to `sequence` was acknowledged.
    pub fn acknowledged(&mut self, sequence: u64) {
        self.acknowledged = self.acknowledged.max(sequence);
    }

    /// Everything up to `sequence` was acknowledged by a flush.
    pub fn flushed(&mut self, sequence: u64) {
        self.flushed = self.flushed.max(sequence);
    }

    /// The store is known to hold everything up to `sequence`.
    pub fn settled(&mut self, sequence: u64) -> Result<(), String> {
        if sequence > self.last() {
            return Err(format!("sequence {sequence} is committed, and only {} were written", self.last()));
        }
        self.committed = self.committed.max(sequence);
        // What is committed is never taken back, so nobody will ask for an older image.
        while self.base_sequence < self.committed {
            let effect = self.history.pop_front().expect("the history reaches to its last sequence");
            self.base.apply(&effect);
            self.settled.push(effect);
            self.base_sequence += 1;
        }
        Ok(())
    }

    /// Something happened that may lose data.
    pub fn lose(&mut self, loss: Loss) {
        let kept = match loss {
            Loss::Process => return,
            Loss::Power => self.flushed.max(self.committed),
            Loss::Directory => self.committed,
        };
        self.acknowledged = self.acknowledged.min(kept);
        self.flushed = self.flushed.min(kept);
    }

    /// The volume was opened again at `sequence`; from there its history goes on.
    pub fn reopened(&mut self, sequence: u64) -> Result<(), String> {
        let floor = self.acknowledged.max(self.flushed).max(self.committed);
        let ceiling = self.last() + self.tried.len() as u64;
        if sequence < floor || sequence > ceiling {
            return Err(format!(
                "the volume came back at sequence {sequence}, expected {floor} to {ceiling} (acknowledged {}, \
                 flushed {}, committed {})",
                self.acknowledged, self.flushed, self.committed
            ));
        }
        self.history.extend(self.tried.drain(..));
        self.history.truncate((sequence - self.base_sequence) as usize);
        // An opening syncs what it replays: it cannot be lost by a later power failure.
        self.acknowledged = sequence;
        self.flushed = sequence;
        Ok(())
    }

    fn image(&self) -> Image {
        let mut image = self.base.clone();
        self.history.iter().for_each(|effect| image.apply(effect));
        image
    }

    /// Compares `found`, which begins at block 0, with the state at a sequence.
    pub fn compare_at(&self, sequence: u64, found: &[u8]) -> Result<(), String> {
        let last = self.last();
        if sequence > last {
            return Err(format!("expected a state up to sequence {last}, found {sequence}"));
        }
        let mut image = Image(vec![None; self.base.0.len()]);
        self.settled
            .iter()
            .chain(&self.history)
            .take(sequence as usize)
            .for_each(|effect| image.apply(effect));
        Self::compare_with(&image, sequence, 0, found)
    }

    /// Compares `found`, which begins at block `lba`, with the newest state.
    pub fn compare(&self, lba: u64, found: &[u8]) -> Result<(), String> {
        Self::compare_with(&self.image(), self.last(), lba, found)
    }

    fn compare_with(image: &Image, last: u64, lba: u64, found: &[u8]) -> Result<(), String> {
        for (index, block) in found.chunks_exact(BLOCK_BYTES).enumerate() {
            let at = lba + index as u64;
            let expected = image.0[at as usize].as_deref();
            let same = match expected {
                Some(expected) => expected == block,
                None => block.iter().all(|byte| *byte == 0),
            };
            if !same {
                let expected = expected.unwrap_or(&[0; BLOCK_BYTES]);
                let differs = expected.iter().zip(block).position(|(expected, found)| expected != found);
                return Err(format!(
                    "block {at} at sequence {last}, from byte {}: expected {}, found {}",
                    differs.unwrap_or(0),
                    stamp::describe(expected),
                    stamp::describe(block)
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
