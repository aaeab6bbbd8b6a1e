//! A quarantine: a volume that cannot be read does not stop reclaim any more, and what it may need stays (rule R13).
//!
//! ```text
//! envelope "ESKRQUAR" version 1
//!   pool 16 │ volume 16 │ attempt 16 │ written u64, ms since 1970
//!   writers u32 │ each: writer u32 │ highest counter u32
//!   packs u32 │ each 16
//!   bundles u32 │ each 16
//! ```
//! It names all that was in the pool when it was made: a writer's counters ascend, so of his segments the highest says
//! which were there. Whatever came later is no business of this volume's. All lists ascend.

use crate::envelope::{self, Kind};
use crate::error::{ensure, same};
use crate::wire::{Put, Reader};
use crate::{AttemptId, Bulk, BundleId, FormatError, PackId, PoolId, SegmentId, VolumeId};

pub(crate) const KIND: Kind = Kind { what: "quarantine", magic: b"ESKRQUAR", version: 1 };

/// An object under `quarantine/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantine {
    /// The pool.
    pub pool: PoolId,
    /// The volume that cannot be read.
    pub volume: VolumeId,
    /// Who wrote this object.
    pub attempt: AttemptId,
    /// When, in milliseconds since 1970, by the writer's clock.
    pub written_ms: u64,
    /// The newest segment of each writer.
    pub newest: Vec<SegmentId>,
    /// The packs.
    pub packs: Vec<PackId>,
    /// The bundles.
    pub bundles: Vec<BundleId>,
}

/// A quarantine that was only parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnverifiedQuarantine(Quarantine);

impl Quarantine {
    /// Whether an object was there.
    pub fn keeps(&self, object: &Bulk) -> bool {
        match object {
            Bulk::Segment(id) => {
                let at = self.newest.binary_search_by_key(&id.writer, |newest| newest.writer);
                at.is_ok_and(|at| id.counter <= self.newest[at].counter)
            }
            Bulk::Pack(id) => self.packs.binary_search(id).is_ok(),
            Bulk::Bundle(id) => self.bundles.binary_search(id).is_ok(),
        }
    }

    /// The object's bytes.
    pub fn encode(&self) -> Vec<u8> {
        envelope::wrap(&KIND, |out| {
            out.put(&self.pool.0);
            out.put(&self.volume.0);
            out.put(&self.attempt.0);
            out.put_u64(self.written_ms);
            out.put_u32(u32::try_from(self.newest.len()).expect("fewer than 2^22 writers"));
            for newest in &self.newest {
                out.put_u32(newest.writer);
                out.put_u32(newest.counter);
            }
            out.put_u32(u32::try_from(self.packs.len()).expect("a bounded pool"));
            self.packs.iter().for_each(|pack| out.put(&pack.0));
            out.put_u32(u32::try_from(self.bundles.len()).expect("a bounded pool"));
            self.bundles.iter().for_each(|bundle| out.put(&bundle.0));
        })
    }

    /// Reads a whole object.
    pub fn parse(bytes: &[u8]) -> Result<UnverifiedQuarantine, FormatError> {
        let mut from = Reader::new(KIND.what, envelope::unwrap(&KIND, bytes)?);
        let mut found = Quarantine {
            pool: PoolId(from.array("pool")?),
            volume: VolumeId(from.array("volume")?),
            attempt: AttemptId(from.array("attempt")?),
            written_ms: from.u64("time")?,
            newest: Vec::new(),
            packs: Vec::new(),
            bundles: Vec::new(),
        };
        for _ in 0..from.count("writers", 8)? {
            let (writer, counter) = (from.u32("writer")?, from.u32("counter")?);
            found.newest.push(SegmentId::from_words(KIND.what, writer, counter)?);
        }
        for _ in 0..from.count("packs", 16)? {
            found.packs.push(PackId(from.array("pack")?));
        }
        for _ in 0..from.count("bundles", 16)? {
            found.bundles.push(BundleId(from.array("bundle")?));
        }
        from.finish()?;
        let ascending = found.newest.is_sorted_by(|a, b| a.writer < b.writer)
            && found.packs.is_sorted_by(|a, b| a < b)
            && found.bundles.is_sorted_by(|a, b| a < b);
        ensure(ascending, KIND.what, "lists", "in ascending order", "another order")?;
        Ok(UnverifiedQuarantine(found))
    }
}

impl UnverifiedQuarantine {
    /// The quarantine, if it is of this pool and of the volume of its object's name.
    pub fn verify(self, pool: PoolId, volume: VolumeId) -> Result<Quarantine, FormatError> {
        same(KIND.what, "pool", pool, self.0.pool)?;
        same(KIND.what, "volume", volume, self.0.volume)?;
        Ok(self.0)
    }

    /// The quarantine as it was parsed, to look at.
    pub fn peek(&self) -> &Quarantine {
        &self.0
    }
}
