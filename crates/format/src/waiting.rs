//! What reclaim found dead and waits to delete: a local file of a daemon, never an object.
//!
//! ```text
//! envelope "ESKRWAIT" version 2 │ pool 16 │ wall time of the round u64, ms │ objects u32 │ each, 33 bytes:
//!   kind u8: 1 segment, 2 pack, 3 bundle (since version 2) │ id 16 (a segment: writer u32, counter u32, 8 zeros) │ dead for u64, ms │ bytes u64
//! ```
//! The objects are in ascending order, each once.

use crate::envelope::{self, Kind};
use crate::error::{ensure, same};
use crate::names;
use crate::wire::{Put, Reader};
use crate::{BundleId, FormatError, PackId, PoolId, SegmentId};

pub(crate) const KIND: Kind = Kind { what: "list of dead objects", magic: b"ESKRWAIT", version: 2 };

const SEGMENT: u8 = 1;
const PACK: u8 = 2;
const BUNDLE: u8 = 3;
const ITEM_BYTES: usize = 1 + 16 + 8 + 8;

/// An object that only other objects name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bulk {
    /// A segment.
    Segment(SegmentId),
    /// A pack of pages.
    Pack(PackId),
    /// A bundle of rewritten segments.
    Bundle(BundleId),
}

impl Bulk {
    /// Its object's name.
    pub fn name(&self) -> String {
        match self {
            Bulk::Segment(id) => names::segment(*id),
            Bulk::Pack(id) => names::pack(*id),
            Bulk::Bundle(id) => names::bundle(*id),
        }
    }
}

/// A dead object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dead {
    /// Which.
    pub object: Bulk,
    /// For how long it has been seen dead, in every round without a break.
    pub for_ms: u64,
    /// Its size.
    pub bytes: u64,
}

/// The file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingList {
    /// The pool.
    pub pool: PoolId,
    /// When the round was that wrote this.
    pub wall_ms: u64,
    /// Ascending.
    pub dead: Vec<Dead>,
}

/// A list that was only parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnverifiedWaitingList(WaitingList);

impl WaitingList {
    /// The file's bytes.
    pub fn encode(&self) -> Vec<u8> {
        envelope::wrap(&KIND, |out| {
            out.put(&self.pool.0);
            out.put_u64(self.wall_ms);
            out.put_u32(u32::try_from(self.dead.len()).expect("a bounded list"));
            for dead in &self.dead {
                put_object(out, &dead.object);
                out.put_u64(dead.for_ms);
                out.put_u64(dead.bytes);
            }
        })
    }

    /// Reads a whole file.
    pub fn parse(bytes: &[u8]) -> Result<UnverifiedWaitingList, FormatError> {
        // Version 1 differs only in that it has no bundles.
        let mut from = Reader::new(KIND.what, envelope::unwrap_since(&KIND, 1, bytes)?.1);
        let pool = PoolId(from.array("pool")?);
        let wall_ms = from.u64("wall time")?;
        let count = from.count("objects", ITEM_BYTES)?;
        let mut dead = Vec::with_capacity(count);
        for _ in 0..count {
            let object = object(&mut from)?;
            dead.push(Dead { object, for_ms: from.u64("dead for")?, bytes: from.u64("bytes")? });
        }
        from.finish()?;
        let ascending = dead.is_sorted_by(|a: &Dead, b| a.object < b.object);
        ensure(ascending, KIND.what, "objects", "in ascending order", "another order")?;
        Ok(UnverifiedWaitingList(WaitingList { pool, wall_ms, dead }))
    }
}

fn put_object(out: &mut Vec<u8>, object: &Bulk) {
    match object {
        Bulk::Segment(id) => {
            out.put_u8(SEGMENT);
            out.put_u32(id.writer);
            out.put_u32(id.counter);
            out.put_u64(0);
        }
        Bulk::Pack(id) => {
            out.put_u8(PACK);
            out.put(&id.0);
        }
        Bulk::Bundle(id) => {
            out.put_u8(BUNDLE);
            out.put(&id.0);
        }
    }
}

fn object(from: &mut Reader<'_>) -> Result<Bulk, FormatError> {
    match from.u8("kind")? {
        SEGMENT => {
            let (writer, counter) = (from.u32("writer")?, from.u32("counter")?);
            from.room("room behind a segment's id", 8)?;
            let id = SegmentId::new(writer, counter);
            let id = id.ok_or_else(|| {
                let found = format!("{writer} and {counter}");
                FormatError::new(KIND.what, "segment", "a writer and a counter in their ranges", found)
            })?;
            Ok(Bulk::Segment(id))
        }
        PACK => Ok(Bulk::Pack(PackId(from.array("pack")?))),
        BUNDLE => Ok(Bulk::Bundle(BundleId(from.array("bundle")?))),
        other => Err(FormatError::new(KIND.what, "kind", "1 to 3", other)),
    }
}

impl UnverifiedWaitingList {
    /// The list, if it is of this pool.
    pub fn verify(self, pool: PoolId) -> Result<WaitingList, FormatError> {
        same(KIND.what, "pool", pool, self.0.pool)?;
        Ok(self.0)
    }

    /// The list as it was parsed, to look at.
    pub fn peek(&self) -> &WaitingList {
        &self.0
    }
}
