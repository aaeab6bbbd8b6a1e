//! Reclaim's own chains: the segment table and the rounds. Each record is create-only, numbered, and names the one
//! before it; which rewrite is current is said by the table's and by nothing else (rule G2).
//!
//! Writing a record, in numbered steps:
//! 1. The newest record is known from a LIST at the start of this round, before anything was planned. At most one record is on its way (rule H1): rounds of a run
//!    take turns, and a run whose record has an unknown outcome sends another of the same number, of which the store
//!    takes one.
//! 2. PUT the next number, settled (rule H4). Somebody else's record there: nothing of this round becomes current.
//! 3. LIST once more: a higher number means that this one was free again, and is void (rule H2).
//!
//! A run that is stopped between 1 and 2 comes back to find its number taken: whoever deletes a bundle that no record
//! names writes a record himself first. Else that late record would name a bundle that is gone.

use esker_format::{
    Link, RoundRecord, Suspended, TableEntry, TableRecord,
    chain::Place,
    ids::{AttemptId, Hash, SegmentId},
    names,
    table::TABLE_DELTAS_MAX,
};
use esker_io::{Bug, planted, sync::Arc};

use super::round::Round;
use crate::{
    EngineError, Result,
    table::{Table, encoded, listed},
    upload::{Settled, settle},
};

/// Rounds that stay. A host that cannot read all since the one that its index was filtered by throws the index away
/// (rule R3).
const ROUNDS_KEPT: u64 = 128;
/// Records below the newest full one that stay, so that a slow reader need not begin again.
const TABLES_KEPT: u64 = TABLE_DELTAS_MAX;

/// What a record of the table changes.
#[derive(Debug, Default)]
pub(super) struct TableChange {
    pub(super) entries: Vec<TableEntry>,
    pub(super) removed: Vec<SegmentId>,
    /// The round that says so; 0 for none.
    pub(super) round: u64,
}

impl Round<'_> {
    /// The segment table as this round knows it. That of the fetcher may be newer by now, by another run: what this
    /// round has planned is of this one, and its number must not move on without it.
    pub(super) fn table(&self) -> Arc<Table> {
        self.table.lock().clone()
    }

    pub(super) fn know(&self, table: Table) {
        *self.table.lock() = Arc::new(table);
    }

    /// Writes the next record of the segment table, and makes it this run's table.
    pub(super) async fn write_table(&self, change: TableChange) -> Result<()> {
        let table = self.table();
        let (record, bytes, hash) = self.next_table(&table, change);
        let name = names::table(record.place.number);
        self.create(&name, bytes).await?;
        let numbers = listed(self.pool.fetcher(), &names::tables()).await?;
        if numbers.last() != Some(&record.place.number) {
            return Err(void(&name));
        }
        let table = Table::clone(&table).with(&record, hash);
        self.pool.fetcher().install(table.clone());
        self.know(table);
        self.forget(&numbers, record.base.saturating_sub(TABLES_KEPT), names::table).await;
        Ok(())
    }

    fn next_table(&self, table: &Table, mut change: TableChange) -> (TableRecord, bytes::Bytes, Hash) {
        let number = table.number() + 1;
        change.entries.sort_by_key(|entry| entry.segment);
        change.removed.sort_unstable();
        let full = table.base() == 0 || number - table.base() >= TABLE_DELTAS_MAX;
        if full {
            let replaced = |entry: &&TableEntry| {
                let put = change.entries.binary_search_by_key(&entry.segment, |put| put.segment).is_ok();
                !put && change.removed.binary_search(&entry.segment).is_err()
            };
            let kept: Vec<_> = table.entries().filter(replaced).copied().collect();
            change.entries.extend(kept);
            change.entries.sort_by_key(|entry| entry.segment);
            change.removed.clear();
        }
        let record = TableRecord {
            place: self.place(number, table.link()),
            round: change.round.max(table.round()),
            base: if full { number } else { table.base() },
            entries: change.entries,
            removed: change.removed,
        };
        let (bytes, hash) = encoded(record.encode());
        (record, bytes, hash)
    }

    /// Publishes a round; returns its number.
    pub(super) async fn publish(
        &self,
        mut condemned: Vec<SegmentId>,
        mut suspended: Vec<Suspended>,
    ) -> Result<u64> {
        condemned.sort_unstable();
        suspended.sort_by_key(|suspended| suspended.segment);
        if planted(Bug::RoundForgets) {
            (condemned, suspended) = Default::default();
        }
        let numbers = listed(self.pool.fetcher(), &names::rounds()).await?;
        let newest = numbers.last().copied().unwrap_or(0);
        let number = newest + 1;
        let previous = if newest == 0 { None } else { Some(self.link(newest).await?) };
        let record = RoundRecord { place: self.place(number, previous), condemned, suspended };
        let name = names::round(number);
        self.create(&name, record.encode().into()).await?;
        let numbers = listed(self.pool.fetcher(), &names::rounds()).await?;
        if numbers.last() != Some(&number) {
            return Err(void(&name));
        }
        self.forget(&numbers, number.saturating_sub(ROUNDS_KEPT), names::round).await;
        Ok(number)
    }

    /// How a round names the one before it.
    async fn link(&self, number: u64) -> Result<Link> {
        let name = names::round(number);
        let damaged = |message: String| EngineError::Damaged { object: name.clone(), message };
        let bytes = self.pool.fetcher().object(&name).await?;
        let bytes = bytes.ok_or_else(|| damaged("it is listed and missing".into()))?;
        let record = RoundRecord::parse(&bytes).and_then(|record| record.verify(self.pool.id(), number));
        let record = record.map_err(|error| damaged(error.to_string()))?;
        Ok(Link { attempt: record.place.attempt, hash: Hash::of(&bytes) })
    }

    /// That of a record which this run writes now.
    fn place(&self, number: u64, previous: Option<Link>) -> Place {
        let world = self.pool.world();
        let (attempt, written_ms) = (AttemptId(world.random.id()), world.clock.wall_ms());
        Place { pool: self.pool.id(), number, attempt, run: self.run, written_ms, previous }
    }

    async fn create(&self, name: &str, body: bytes::Bytes) -> Result<()> {
        // The attempt id is in the bytes, so the same bytes are the same attempt.
        let sent = body.clone();
        match settle(self.pool.world(), name, body, move |held| *held == sent, || (self.stop)()).await? {
            Settled::Ours => Ok(()),
            Settled::Theirs(_) if planted(Bug::TableOverruled) => Ok(()),
            Settled::Theirs(_) => Err(void(name)),
        }
    }

    /// Deletes records below a number; one that cannot be deleted stays until the next time.
    async fn forget(&self, numbers: &[u64], below: u64, name: impl Fn(u64) -> String) {
        for number in numbers.iter().filter(|number| **number < below) {
            if let Err(error) = self.pool.world().objects.delete(&name(*number)).await {
                tracing::warn!(%error, "an old record stays until the next round");
                return;
            }
        }
    }
}

fn void(name: &str) -> EngineError {
    EngineError::Invalid(format!(
        "another run has written {name}, or beyond it; nothing that this round has made becomes current"
    ))
}

#[cfg(test)]
mod tests;
