//! A record of the segment table: where rewritten segments are, from this number of the chain on.
//!
//! ```text
//! envelope "ESKRTABL" version 1
//!   pool, number, attempt, run, written                     as in every chain: chain.rs
//!   round u64
//!   base u64: the number of the full record that this one counts from; its own when it is one
//!   the record before
//!   entries u32 │ each, 72 bytes: segment: writer u32, counter u32 │ bundle 16 │ offset u64 │ bytes u64 │ index hash 32
//!   removed u32 │ each: writer u32, counter u32
//!
//!   1 full ◀── 2 ◀── 3 ◀── … ◀── 65 full ◀── 66 …        read: the newest, its base, and all between
//! ```
//! The table as of a record is that of the record before it, with the removed entries gone and the others put in; of a
//! full record, its own entries alone. A segment that the table does not name is in the object that was sealed.
//! Entries and removed ones ascend by segment, and no segment is in both.

use crate::chain::Place;
use crate::envelope::{self, Kind};
use crate::error::ensure;
use crate::segment::SEGMENT_BYTES_MIN;
use crate::wire::{Put, Reader};
use crate::{BundleId, FormatError, Hash, PoolId, SegmentId};

pub(crate) const KIND: Kind = Kind { what: "segment table", magic: b"ESKRTABL", version: 1 };

/// The most entries of the table.
pub const TABLE_ENTRIES_MAX: usize = 1 << 20;
/// No record counts from a full one further below.
pub const TABLE_DELTAS_MAX: u64 = 64;

const SEGMENT_BYTES: usize = 4 + 4;
const ENTRY_BYTES: usize = SEGMENT_BYTES + 16 + 8 + 8 + 32;

const _: () = assert!(ENTRY_BYTES == 72);

/// Where a rewritten segment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableEntry {
    /// The segment.
    pub segment: SegmentId,
    /// The bundle.
    pub bundle: BundleId,
    /// The first byte of its image there.
    pub offset: u64,
    /// The image's size.
    pub bytes: u64,
    /// The hash of the image's index.
    pub index_hash: Hash,
}

/// An object under `table/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableRecord {
    /// Where it stands.
    pub place: Place,
    /// The newest round of reclaim that was published before it; 0 for none.
    pub round: u64,
    /// The full record that it counts from.
    pub base: u64,
    /// Put in.
    pub entries: Vec<TableEntry>,
    /// Taken out.
    pub removed: Vec<SegmentId>,
}

/// A record that was only parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnverifiedTableRecord(TableRecord);

impl TableRecord {
    /// Whether it stands for itself.
    pub fn is_full(&self) -> bool {
        self.base == self.place.number
    }

    /// The object's bytes.
    pub fn encode(&self) -> Vec<u8> {
        envelope::wrap(&KIND, |out| {
            self.place.put(out);
            out.put_u64(self.round);
            out.put_u64(self.base);
            self.place.put_previous(out);
            out.put_u32(u32::try_from(self.entries.len()).expect("a bounded table"));
            for entry in &self.entries {
                put_segment(out, entry.segment);
                out.put(&entry.bundle.0);
                out.put_u64(entry.offset);
                out.put_u64(entry.bytes);
                out.put(&entry.index_hash.0);
            }
            out.put_u32(u32::try_from(self.removed.len()).expect("a bounded table"));
            self.removed.iter().for_each(|segment| put_segment(out, *segment));
        })
    }

    /// Reads a whole object.
    pub fn parse(bytes: &[u8]) -> Result<UnverifiedTableRecord, FormatError> {
        let mut from = Reader::new(KIND.what, envelope::unwrap(&KIND, bytes)?);
        let mut record = TableRecord {
            place: Place::parse(&mut from)?,
            round: from.u64("round")?,
            base: from.u64("base")?,
            entries: Vec::new(),
            removed: Vec::new(),
        };
        record.place.parse_previous(KIND.what, &mut from)?;
        let entries = from.count("entries", ENTRY_BYTES)?;
        record.entries.reserve_exact(entries);
        for _ in 0..entries {
            record.entries.push(TableEntry {
                segment: segment(KIND.what, &mut from)?,
                bundle: BundleId(from.array("bundle")?),
                offset: from.u64("offset")?,
                bytes: from.u64("bytes")?,
                index_hash: Hash(from.array("index hash")?),
            });
        }
        record.removed = segments(KIND.what, &mut from)?;
        from.finish()?;
        record.check()?;
        Ok(UnverifiedTableRecord(record))
    }

    fn check(&self) -> Result<(), FormatError> {
        let ascending = self.entries.is_sorted_by(|a, b| a.segment < b.segment);
        ensure(ascending, KIND.what, "entries", "ascending segments", "another order")?;
        for entry in &self.entries {
            let fits = entry.bytes >= SEGMENT_BYTES_MIN && entry.offset.checked_add(entry.bytes).is_some();
            ensure(fits, KIND.what, "entry", "the place of a segment", format_args!("{entry:?}"))?;
            let out = self.removed.binary_search(&entry.segment).is_ok();
            ensure(!out, KIND.what, "removed", "segments without an entry", entry.segment)?;
        }
        let most = self.entries.len().max(self.removed.len());
        ensure(most <= TABLE_ENTRIES_MAX, KIND.what, "entries", "at most 1048576", most)?;
        let bare = !self.is_full() || self.removed.is_empty();
        ensure(bare, KIND.what, "removed", "nothing in a full record", self.removed.len())
    }
}

impl UnverifiedTableRecord {
    /// The record, if it is of this pool and has the number of its object's name.
    pub fn verify(self, pool: PoolId, number: u64) -> Result<TableRecord, FormatError> {
        let record = self.0;
        record.place.verify(KIND.what, pool, number)?;
        let base = record.base;
        let near = base > 0 && base <= number && number - base <= TABLE_DELTAS_MAX;
        ensure(near, KIND.what, "base", "a number at most 64 below", base)?;
        Ok(record)
    }

    /// The record as it was parsed, to look at.
    pub fn peek(&self) -> &TableRecord {
        &self.0
    }
}

pub(crate) fn put_segment(out: &mut Vec<u8>, segment: SegmentId) {
    out.put_u32(segment.writer);
    out.put_u32(segment.counter);
}

pub(crate) fn segment(what: &'static str, from: &mut Reader<'_>) -> Result<SegmentId, FormatError> {
    let (writer, counter) = (from.u32("writer")?, from.u32("counter")?);
    SegmentId::from_words(what, writer, counter)
}

/// Segments in ascending order.
pub(crate) fn segments(what: &'static str, from: &mut Reader<'_>) -> Result<Vec<SegmentId>, FormatError> {
    let count = from.count("segments", SEGMENT_BYTES)?;
    let mut segments = Vec::with_capacity(count);
    for _ in 0..count {
        segments.push(segment(what, from)?);
    }
    let ascending = segments.is_sorted_by(|a, b| a < b);
    ensure(ascending, what, "segments", "in ascending order", "another order")?;
    Ok(segments)
}
