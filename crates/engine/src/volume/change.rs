//! What guests ask for: changes at any alignment, and how they fall on blocks.

use bytes::Bytes;
use esker_format::BLOCK_BYTES;

use crate::{EngineError, log::Entry};

/// A change that a guest asks for, at any alignment.
#[derive(Debug, Clone, Copy)]
pub enum Change<'a> {
    /// New contents.
    Write {
        /// First byte.
        offset: u64,
        /// The contents.
        data: &'a [u8],
    },
    /// The range may be forgotten. Parts of blocks at its ends are left alone: a trim is advice.
    Trim {
        /// First byte.
        offset: u64,
        /// Bytes.
        length: u64,
    },
    /// The range reads as zeros.
    Zero {
        /// First byte.
        offset: u64,
        /// Bytes.
        length: u64,
        /// Whether it may become a hole.
        may_trim: bool,
    },
}

/// A [`Change`] that can wait.
#[derive(Debug, Clone)]
pub enum OwnedChange {
    /// New contents.
    Write {
        /// First byte.
        offset: u64,
        /// The contents.
        data: Bytes,
    },
    /// The range may be forgotten.
    Trim {
        /// First byte.
        offset: u64,
        /// Bytes.
        length: u64,
    },
    /// The range reads as zeros.
    Zero {
        /// First byte.
        offset: u64,
        /// Bytes.
        length: u64,
        /// Whether it may become a hole.
        may_trim: bool,
    },
}

impl OwnedChange {
    /// How many bytes of data it holds in memory.
    pub fn data_bytes(&self) -> usize {
        match self {
            Self::Write { data, .. } => data.len(),
            Self::Trim { .. } | Self::Zero { .. } => 0,
        }
    }

    /// The same change, borrowed.
    pub fn borrow(&self) -> Change<'_> {
        match self {
            Self::Write { offset, data } => Change::Write { offset: *offset, data },
            Self::Trim { offset, length } => Change::Trim { offset: *offset, length: *length },
            Self::Zero { offset, length, may_trim } => {
                Change::Zero { offset: *offset, length: *length, may_trim: *may_trim }
            }
        }
    }
}

impl Change<'_> {
    /// The same change with its data copied, for [`Device::change_later`].
    pub fn to_owned(&self) -> OwnedChange {
        match *self {
            Change::Write { offset, data } => {
                OwnedChange::Write { offset, data: Bytes::copy_from_slice(data) }
            }
            Change::Trim { offset, length } => OwnedChange::Trim { offset, length },
            Change::Zero { offset, length, may_trim } => OwnedChange::Zero { offset, length, may_trim },
        }
    }

    /// The contents of a write; nothing of anything else.
    pub(super) fn data(&self) -> &[u8] {
        match self {
            Self::Write { data, .. } => data,
            Self::Trim { .. } | Self::Zero { .. } => &[],
        }
    }

    pub(super) fn range(&self) -> (u64, u64) {
        match *self {
            Self::Write { offset, data } => (offset, data.len() as u64),
            Self::Trim { offset, length } | Self::Zero { offset, length, .. } => (offset, length),
        }
    }
}

/// How a change went.
#[derive(Debug, Clone)]
pub enum WriteStep {
    /// It is in the log: acknowledged.
    Done,
    /// It has to wait for room or for the store: call [`Volume::change_later`]. Nothing has happened, or a
    /// part of it, which doing it again does no harm to.
    Later,
    /// It failed, wholly or in part.
    Failed(EngineError),
}

/// What a caller keeps from batch to batch, so that one whose room is large enough allocates nothing.
#[derive(Default)]
pub struct Scratch {
    /// How each change of the last batch went.
    pub steps: Vec<WriteStep>,
    /// Of each block.
    pub(super) crcs: Vec<u32>,
    /// Empty between batches.
    pub(super) entries: Vec<Entry<'static>>,
    pub(super) positions: Vec<u64>,
}

/// A range cut at block borders.
pub(super) struct Cut {
    /// Bytes before the first whole block: offset and length.
    pub(super) head: Option<(u64, u64)>,
    /// First whole block and number of blocks.
    pub(super) body: Option<(u64, u64)>,
    /// Bytes behind the last whole block.
    pub(super) tail: Option<(u64, u64)>,
}

impl Cut {
    pub(super) fn of(offset: u64, length: u64) -> Self {
        let block = BLOCK_BYTES as u64;
        let end = offset + length;
        let (first, last) = (offset.next_multiple_of(block), end / block * block);
        if first > last {
            return Self { head: Some((offset, length)), body: None, tail: None };
        }
        Self {
            head: (offset < first).then_some((offset, first - offset)),
            body: (first < last).then_some((first / block, (last - first) / block)),
            tail: (last < end).then_some((last, end - last)),
        }
    }

    pub(super) fn parts(&self) -> impl Iterator<Item = (u64, u64)> + use<> {
        [self.head, self.tail].into_iter().flatten()
    }
}

/// The bytes of `change` (which begins at `offset`) for a part of it.
pub(super) fn part_of(change: &OwnedChange, offset: u64, part_offset: u64, part_length: u64) -> Bytes {
    match change {
        OwnedChange::Write { data, .. } => {
            let start = (part_offset - offset) as usize;
            data.slice(start..start + part_length as usize)
        }
        OwnedChange::Trim { .. } | OwnedChange::Zero { .. } => Bytes::from(vec![0; part_length as usize]),
    }
}
