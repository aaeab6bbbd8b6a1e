//! A round of reclaim: what must get no new reference from anybody, for ever (rule R3).
//!
//! ```text
//! envelope "ESKRROND" version 1
//!   pool, number, attempt, run, written, the round before  as in every chain: chain.rs
//!   condemned u32 │ each: writer u32, counter u32          segments that will be deleted
//!   suspended u32 │ each: writer u32, counter u32 │ stretches u32 │ { gap v │ slots v }
//!                                                          segments that will be rewritten, and the slots that are
//!                                                          dropped from them: condemned like whole segments
//! ```
//! A suspended segment gets no new reference before its rewrite is in the segment table (rule G1); then its other slots
//! may. Both lists ascend. A round adds to those before it and takes nothing back.

use crate::chain::Place;
use crate::envelope::{self, Kind};
use crate::error::ensure;
use crate::segment::{SlotRun, put_slot_runs, slot_runs};
use crate::table::{put_segment, segment, segments};
use crate::wire::{Put, Reader};
use crate::{FormatError, PoolId, SegmentId};

pub(crate) const KIND: Kind = Kind { what: "round", magic: b"ESKRROND", version: 1 };

const SUSPENDED_BYTES_MIN: usize = 4 + 4 + 4;

/// A segment that will be rewritten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspended {
    /// Which.
    pub segment: SegmentId,
    /// The slots that are dropped.
    pub dropped: Vec<SlotRun>,
}

/// An object under `rounds/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoundRecord {
    /// Where it stands.
    pub place: Place,
    /// Segments that will be deleted.
    pub condemned: Vec<SegmentId>,
    /// Segments that will be rewritten.
    pub suspended: Vec<Suspended>,
}

/// A round that was only parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnverifiedRoundRecord(RoundRecord);

impl RoundRecord {
    /// The object's bytes.
    pub fn encode(&self) -> Vec<u8> {
        envelope::wrap(&KIND, |out| {
            self.place.put(out);
            self.place.put_previous(out);
            out.put_u32(u32::try_from(self.condemned.len()).expect("a bounded round"));
            self.condemned.iter().for_each(|segment| put_segment(out, *segment));
            out.put_u32(u32::try_from(self.suspended.len()).expect("a bounded round"));
            for suspended in &self.suspended {
                put_segment(out, suspended.segment);
                put_slot_runs(out, &suspended.dropped);
            }
        })
    }

    /// Reads a whole object.
    pub fn parse(bytes: &[u8]) -> Result<UnverifiedRoundRecord, FormatError> {
        let mut from = Reader::new(KIND.what, envelope::unwrap(&KIND, bytes)?);
        let mut place = Place::parse(&mut from)?;
        place.parse_previous(KIND.what, &mut from)?;
        let mut record =
            RoundRecord { place, condemned: segments(KIND.what, &mut from)?, suspended: Vec::new() };
        let count = from.count("suspended", SUSPENDED_BYTES_MIN)?;
        record.suspended.reserve_exact(count);
        for _ in 0..count {
            let segment = segment(KIND.what, &mut from)?;
            record.suspended.push(Suspended { segment, dropped: slot_runs(KIND.what, &mut from)? });
        }
        from.finish()?;
        let ascending = record.suspended.is_sorted_by(|a, b| a.segment < b.segment);
        ensure(ascending, KIND.what, "suspended", "in ascending order", "another order")?;
        Ok(UnverifiedRoundRecord(record))
    }
}

impl UnverifiedRoundRecord {
    /// The round, if it is of this pool and has the number of its object's name.
    pub fn verify(self, pool: PoolId, number: u64) -> Result<RoundRecord, FormatError> {
        let record = self.0;
        record.place.verify(KIND.what, pool, number)?;
        Ok(record)
    }

    /// The round as it was parsed, to look at.
    pub fn peek(&self) -> &RoundRecord {
        &self.0
    }
}
