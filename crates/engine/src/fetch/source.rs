//! Where a segment's bytes are: in the object that was sealed, or in a bundle, as the segment table says.
//!
//! A rewrite has frames of other borders than what was sealed, so whatever is cached of a segment is cached under its
//! source: frames, indexes, and the keys of the disk cache. What one source says never changes.

use std::hash::{Hash, Hasher};

use bytes::Bytes;
use esker_format::{
    TableEntry,
    cache::CacheKey,
    ids::{BundleId, SegmentId},
    names,
};
use esker_io::{Bug, Range, planted, sync::Arc};

use super::{Fetcher, damaged};
use crate::{EngineError, Result, table::Table};

/// One image of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Source {
    pub(super) segment: SegmentId,
    /// Of a rewrite: the bundle, and where it begins there.
    within: Option<(BundleId, u64)>,
}

impl Hash for Source {
    /// Few images of one segment are cached at a time, so which one it is hardly matters here, and each hot read hashes.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(u64::from(self.segment.writer) << 32 | u64::from(self.segment.counter));
    }
}

impl Source {
    /// The segment as it was sealed.
    pub(super) fn sealed(segment: SegmentId) -> Self {
        Self { segment, within: None }
    }

    pub(super) fn of(entry: &TableEntry) -> Self {
        Self { segment: entry.segment, within: Some((entry.bundle, entry.offset)) }
    }

    /// Its object's name.
    pub(super) fn name(&self) -> String {
        match self.within {
            Some((bundle, _)) => names::bundle(bundle),
            None => names::segment(self.segment),
        }
    }

    /// Bytes of it, as a range of its object.
    pub(super) fn range(&self, start: u64, end: u64) -> Range {
        let first = self.within.map_or(0, |(_, offset)| offset);
        Range::Bytes { start: first.saturating_add(start), end: first.saturating_add(end) }
    }

    pub(super) fn frame_key(&self, first_place: u32) -> CacheKey {
        let place = u16::try_from(first_place).expect("a segment has at most 65,536 slots");
        match self.within {
            Some((bundle, _)) => CacheKey::frame_in(self.segment, bundle, place),
            None => CacheKey::frame(self.segment, place),
        }
    }

    pub(super) fn index_key(&self) -> CacheKey {
        match self.within {
            Some((bundle, _)) => CacheKey::index_in(self.segment, bundle),
            None => CacheKey::index(self.segment),
        }
    }
}

impl Fetcher {
    /// The segment table as this run knows it.
    pub fn table(&self) -> Arc<Table> {
        self.table.lock().clone()
    }

    /// Where a segment is, and what the table says of it.
    pub(super) fn place(&self, segment: SegmentId) -> (Source, Option<TableEntry>) {
        let entry = self.table.lock().entry(segment).copied();
        (entry.as_ref().map_or(Source::sealed(segment), Source::of), entry)
    }

    /// Publishes a newer table. Reads that are under way go on with what they found: an object that was superseded is
    /// deleted after the grace only.
    pub(crate) fn install(&self, table: Table) {
        let table = Arc::new(table);
        let before = {
            let mut known = self.table.lock();
            if table.number() < known.number() {
                return;
            }
            std::mem::replace(&mut *known, table.clone())
        };
        table.moved_since(&before).for_each(|segment| self.indexes.remove(&segment));
    }

    /// Reads the table at the start of a run, of which a LIST has shown these records: no request when there is none. One that is damaged is said aloud, and no
    /// reason to serve nothing: what it does not tell is missing, and asked for again.
    pub(crate) async fn load_table(&self, listed: Vec<u64>) -> Result<()> {
        match Table::read(self, self.pool, &Table::default(), Some(listed)).await {
            Ok(table) => self.install(table),
            Err(EngineError::Damaged { object, message }) => tracing::error!(%object, "damaged: {message}"),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// The table as the store has it.
    pub(crate) async fn newest_table(&self) -> Result<Table> {
        let known = self.table();
        Table::read(self, self.pool, &known, None).await
    }

    /// Rule G3: an object is missing, so the table is read again, once, unless somebody did since it was `seen`.
    pub(super) async fn refresh(&self, seen: u64) -> Result<()> {
        if planted(Bug::TableNotRefreshed) {
            return Ok(());
        }
        let _turn = self.refreshes.acquire().await;
        if self.table().number() == seen {
            self.install(self.newest_table().await?);
        }
        Ok(())
    }

    /// Lets go of indexes that are not of where the table says that the segment is.
    pub(super) fn forget_moved(&self, segments: impl Iterator<Item = SegmentId>) {
        for segment in segments {
            let source = self.place(segment).0;
            if self.indexes.get(&segment).is_some_and(|opened| opened.source != source) {
                self.indexes.remove(&segment);
            }
        }
    }

    /// All bytes of a segment where it is now, and its object's name.
    pub(crate) async fn image(&self, segment: SegmentId) -> Result<(String, Bytes)> {
        let seen = self.table().number();
        match self.whole(segment).await {
            Err(EngineError::Missing { .. }) => {
                self.refresh(seen).await?;
                self.whole(segment).await.map_err(said)
            }
            other => other,
        }
    }

    async fn whole(&self, segment: SegmentId) -> Result<(String, Bytes)> {
        let (source, entry) = self.place(segment);
        let range = entry.map_or(Range::All, |entry| source.range(0, entry.bytes));
        let _permit = self.gets.acquire().await;
        Ok((source.name(), self.get_part(&source.name(), range).await?))
    }
}

/// What is missing for good is damage, and said aloud.
pub(super) fn said(error: EngineError) -> EngineError {
    match error {
        EngineError::Missing { object, message } => damaged(&object, message),
        other => other,
    }
}

#[cfg(test)]
mod tests;
