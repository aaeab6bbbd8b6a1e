//! Where a block's bytes are, in one word. Stable for ever, and the same in every volume of the pool.
//!
//! ```text
//!  63 62 61        40 39         16 15      0
//! ┌─────┬────────────┬─────────────┬─────────┐
//! │ 0 0 │ 0 = hole, 1 = zero, 2 = unloaded   │
//! │ 0 1 │ log position, 62 bit               │
//! │ 1 0 │ writer 22  │ counter 24  │ slot 16 │
//! └─────┴────────────┴─────────────┴─────────┘
//! ```
//! Log positions and *unloaded* are words of a map in memory; nothing stored holds them.

use std::fmt;

use crate::{BLOCK_BYTES, FormatError, LogPosition, SegmentId};

const KIND_SHIFT: u32 = 62;
const COUNTER_SHIFT: u32 = 16;
const WRITER_SHIFT: u32 = 40;
const LOG: u64 = 1 << KIND_SHIFT;
const SEGMENT: u64 = 2 << KIND_SHIFT;
const PAYLOAD: u64 = (1 << KIND_SHIFT) - 1;
const SLOTS: u64 = 1 << COUNTER_SHIFT;

const _: () = {
    assert!(SegmentId::COUNTERS as u64 == 1 << (WRITER_SHIFT - COUNTER_SHIFT));
    assert!(SegmentId::WRITERS as u64 == 1 << (KIND_SHIFT - WRITER_SHIFT));
    assert!(LogPosition::END == 1 << KIND_SHIFT);
    assert!(size_of::<Address>() == 8);
};

/// Where one block is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(u64);

/// An address, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressKind {
    /// Never written, or trimmed: reads zeros, takes no space.
    Hole,
    /// Written with zeros.
    Zero,
    /// What the page says that the store has of it, which was not read yet; never in a stored map.
    Unloaded,
    /// In the local log; never in a stored map.
    Log(LogPosition),
    /// In a slot of a segment.
    Segment(SegmentId, u16),
}

impl Address {
    /// A block that was never written, or was trimmed.
    pub const HOLE: Address = Address(0);
    /// A block of zeros.
    pub const ZERO: Address = Address(1);
    /// A block whose page was not read yet.
    pub const UNLOADED: Address = Address(2);
    /// One past the last slot of a segment or the end of a log: equal to no block's address, in no map.
    pub const NOWHERE: Address = Address(u64::MAX);

    /// A block in the log. Panics at 2^62, which no log reaches.
    pub const fn log(position: LogPosition) -> Address {
        assert!(position.0 < LogPosition::END, "log position below 2^62");
        Address(LOG | position.0)
    }

    /// A block in a slot of a segment.
    pub const fn segment(id: SegmentId, slot: u16) -> Address {
        assert!(id.writer < SegmentId::WRITERS && id.counter < SegmentId::COUNTERS, "segment id in range");
        let writer = (id.writer as u64) << WRITER_SHIFT;
        let counter = (id.counter as u64) << COUNTER_SHIFT;
        Address(SEGMENT | writer | counter | slot as u64)
    }

    /// Takes the address apart. Panics on [`Address::NOWHERE`] and on a word that was never an address.
    pub const fn kind(self) -> AddressKind {
        match self.checked_kind() {
            Some(kind) => kind,
            None => panic!("a word that is no address"),
        }
    }

    const fn checked_kind(self) -> Option<AddressKind> {
        match self.0 >> KIND_SHIFT {
            0 if self.0 == 0 => Some(AddressKind::Hole),
            0 if self.0 == 1 => Some(AddressKind::Zero),
            0 if self.0 == 2 => Some(AddressKind::Unloaded),
            1 => Some(AddressKind::Log(LogPosition(self.0 & PAYLOAD))),
            2 => {
                let writer = ((self.0 & PAYLOAD) >> WRITER_SHIFT) as u32;
                let counter = (self.0 >> COUNTER_SHIFT) as u32 & (SegmentId::COUNTERS - 1);
                match SegmentId::new(writer, counter) {
                    Some(id) => Some(AddressKind::Segment(id, self.0 as u16)),
                    None => None,
                }
            }
            _ => None,
        }
    }

    /// True for a block in the log.
    pub const fn is_log(self) -> bool {
        self.0 >> KIND_SHIFT == 1
    }

    /// True for a block in a segment.
    pub const fn is_segment(self) -> bool {
        self.0 >> KIND_SHIFT == 2
    }

    /// The word.
    pub const fn raw(self) -> u64 {
        self.0
    }

    /// The address of a word that came from [`Address::raw`]. Not for stored bytes: see [`Address::parse`].
    pub const fn from_raw(word: u64) -> Address {
        Address(word)
    }

    /// The address of a stored word, if it is one.
    pub fn parse(word: u64) -> Result<Address, FormatError> {
        match Address(word).checked_kind() {
            Some(kind) if kind != AddressKind::Unloaded => Ok(Address(word)),
            _ => Err(FormatError::new(
                "address",
                "word",
                "hole, zero, log or segment",
                format_args!("{word:#018x}"),
            )),
        }
    }

    /// The address of the block `n` blocks on: the next slots, the next 4096 bytes of the log, the same for holes,
    /// zeros and what is not loaded. Past the end of the segment or log it is [`Address::NOWHERE`].
    pub const fn plus(self, n: u64) -> Address {
        let (first, end, step) = match self.0 >> KIND_SHIFT {
            0 => return self,
            1 => (self.0 & PAYLOAD, LogPosition::END, BLOCK_BYTES as u64),
            2 => (self.0 & (SLOTS - 1), SLOTS, 1),
            _ => return Address::NOWHERE,
        };
        // `n` is at most `end` in the product, so nothing overflows before the comparison.
        if n >= (end - first).div_ceil(step) {
            return Address::NOWHERE;
        }
        Address(self.0 + n * step)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.checked_kind() {
            Some(AddressKind::Hole) => to.write_str("hole"),
            Some(AddressKind::Zero) => to.write_str("zero"),
            Some(AddressKind::Unloaded) => to.write_str("unloaded"),
            Some(AddressKind::Log(position)) => write!(to, "log:{position}"),
            Some(AddressKind::Segment(id, slot)) => write!(to, "{id}/{slot}"),
            None => write!(to, "nowhere:{:#018x}", self.0),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, to)
    }
}
