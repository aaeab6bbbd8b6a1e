//! The segment table: where rewritten segments are. Reclaim's own chain says it, and nothing else does (rule G2).
//!
//! ```text
//! table/1 full ◀─ 2 ◀─ 3 ◀─ … ◀─ 65 full ◀─ 66 ◀─ 67       each names attempt and hash of the one before
//!                                 base          newest
//! ```
//! Reading, in numbered steps:
//! 1. LIST `table/`: at most some 200 records ever exist, so one page shows all. None: nothing was ever rewritten.
//! 2. GET the highest; it says which full record it counts from.
//! 3. GET those from there on that are not known, side by side. One is missing: a newer full record came, begin again
//!    at 1, a few times.
//! 4. They chain, or the table is damaged. A record below the full one may be a stray of a run that was stopped for long
//!    (rule H3): nobody looks at it.
//!
//! The highest is true, since a record is never deleted while none above it is full (rules H1, H2), and whoever writes
//! one looks once more afterwards whether it is the highest.
//!
//! A table that is out of date does no harm for the grace: what it names, or fails to name, is still where it was, with
//! the same bytes. After that an object is missing, and the reader asks once (rule G3).

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use esker_format::{
    Link, TableEntry, TableRecord,
    ids::{BundleId, Hash, PoolId, SegmentId},
    names::{self, ObjectName},
};
use futures_util::future::try_join_all;

use crate::{EngineError, Result, fetch::Fetcher};

/// How often records may go while they are read.
const TRIES_MAX: u32 = 5;

/// The table as of one record.
#[derive(Debug, Clone, Default)]
pub struct Table {
    entries: BTreeMap<SegmentId, TableEntry>,
    newest: Option<Newest>,
}

/// The record that a table is as of.
#[derive(Debug, Clone)]
struct Newest {
    number: u64,
    base: u64,
    round: u64,
    link: Link,
}

impl Table {
    /// The number of its record; 0 when there is none.
    pub fn number(&self) -> u64 {
        self.newest.as_ref().map_or(0, |newest| newest.number)
    }

    /// The full record that it counts from; 0 when there is none.
    pub(crate) fn base(&self) -> u64 {
        self.newest.as_ref().map_or(0, |newest| newest.base)
    }

    /// The newest round that was published before its record.
    pub(crate) fn round(&self) -> u64 {
        self.newest.as_ref().map_or(0, |newest| newest.round)
    }

    /// How the next record names its own.
    pub(crate) fn link(&self) -> Option<Link> {
        self.newest.as_ref().map(|newest| newest.link)
    }

    /// Where a segment is; `None` when it is in the object that was sealed.
    pub fn entry(&self, segment: SegmentId) -> Option<&TableEntry> {
        self.entries.get(&segment)
    }

    /// All entries, by segment.
    pub fn entries(&self) -> impl Iterator<Item = &TableEntry> {
        self.entries.values()
    }

    /// The entries of each bundle, by segment.
    pub(crate) fn by_bundle(&self) -> BTreeMap<BundleId, Vec<&TableEntry>> {
        let mut bundles = BTreeMap::<BundleId, Vec<&TableEntry>>::new();
        self.entries().for_each(|entry| bundles.entry(entry.bundle).or_default().push(entry));
        bundles
    }

    /// The segments that are not where they were.
    pub(crate) fn moved_since(&self, before: &Table) -> impl Iterator<Item = SegmentId> {
        let new = self.entries.iter().filter(|(id, entry)| before.entries.get(id) != Some(entry));
        let gone = before.entries.keys().filter(|id| !self.entries.contains_key(id));
        let moved: BTreeSet<SegmentId> = new.map(|(id, _)| *id).chain(gone.copied()).collect();
        moved.into_iter()
    }

    /// The bundles that hold a segment of which `lives` says so.
    pub(crate) fn bundles_of(&self, lives: impl Fn(SegmentId) -> bool) -> BTreeSet<BundleId> {
        self.entries().filter(|entry| lives(entry.segment)).map(|entry| entry.bundle).collect()
    }

    /// The table with a record on top, whose bytes have this hash.
    pub(crate) fn with(mut self, record: &TableRecord, hash: Hash) -> Table {
        if record.is_full() {
            self.entries.clear();
        }
        for segment in &record.removed {
            self.entries.remove(segment);
        }
        self.entries.extend(record.entries.iter().map(|entry| (entry.segment, *entry)));
        let TableRecord { place, base, round, .. } = *record;
        let link = Link { attempt: place.attempt, hash };
        self.newest = Some(Newest { number: place.number, base, round, link });
        self
    }

    /// Reads what the store has, from `known` on. `first` is what a LIST just now has shown, where there was one.
    pub(crate) async fn read(
        fetcher: &Fetcher,
        pool: PoolId,
        known: &Table,
        mut first: Option<Vec<u64>>,
    ) -> Result<Table> {
        for _ in 0..TRIES_MAX {
            let numbers = match first.take() {
                Some(numbers) => numbers,
                None => listed(fetcher, &names::tables()).await?,
            };
            let Some(highest) = numbers.last().copied() else { return Ok(Table::default()) };
            if highest == known.number() {
                return Ok(known.clone());
            }
            if let Some(table) = from_records(fetcher, pool, known, highest).await? {
                return Ok(table);
            }
        }
        let message = "records that are listed are missing, again and again".to_owned();
        Err(EngineError::Damaged { object: names::tables(), message })
    }
}

/// Steps 2 to 4; `None` when a record has gone.
async fn from_records(fetcher: &Fetcher, pool: PoolId, known: &Table, highest: u64) -> Result<Option<Table>> {
    let Some((newest, newest_hash)) = record(fetcher, pool, highest).await? else { return Ok(None) };
    let follows = known.base() == newest.base && known.number() < highest;
    let (mut table, first) =
        if follows { (known.clone(), known.number() + 1) } else { (Table::default(), newest.base) };
    let between = try_join_all((first..highest).map(|number| record(fetcher, pool, number))).await?;
    let Some(between) = between.into_iter().collect::<Option<Vec<_>>>() else { return Ok(None) };
    for (record, hash) in between.into_iter().chain([(newest, newest_hash)]) {
        let number = record.place.number;
        let chained =
            record.is_full() || record.place.previous == table.link() && record.base == table.base();
        if !chained {
            return Err(EngineError::Damaged {
                object: names::table(number),
                message: "expected a record that names the one before it, found another".to_owned(),
            });
        }
        table = table.with(&record, hash);
    }
    Ok(Some(table))
}

async fn record(fetcher: &Fetcher, pool: PoolId, number: u64) -> Result<Option<(TableRecord, Hash)>> {
    let name = names::table(number);
    let Some(bytes) = fetcher.object(&name).await? else { return Ok(None) };
    let record = TableRecord::parse(&bytes).and_then(|record| record.verify(pool, number));
    let damaged = |error: esker_format::FormatError| EngineError::Damaged {
        object: name.clone(),
        message: error.to_string(),
    };
    Ok(Some((record.map_err(damaged)?, Hash::of(&bytes))))
}

/// The numbers of all objects of a chain, ascending.
pub(crate) async fn listed(fetcher: &Fetcher, prefix: &str) -> Result<Vec<u64>> {
    let listed = fetcher.list(prefix).await?;
    let number = |name: &str| match names::parse(name) {
        Some(ObjectName::Table(number) | ObjectName::Round(number)) => Some(number),
        _ => None,
    };
    let mut numbers: Vec<_> = listed.iter().filter_map(|listed| number(&listed.name)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// A record's bytes and their hash.
pub(crate) fn encoded(bytes: Vec<u8>) -> (Bytes, Hash) {
    let hash = Hash::of(&bytes);
    (Bytes::from(bytes), hash)
}
