//! Indexes of segments: one GET of the object's end in most cases.

use std::sync::Arc;

use bytes::Bytes;
use esker_format::{
    TableEntry,
    error::FormatError,
    head::TailSegment,
    ids::{Hash, SegmentId},
    names,
    segment::{SegmentIndex, TRAILER_BYTES, Trailer},
};
use esker_io::Range;

use super::{
    Fetcher, INDEX_SUFFIX_BYTES, damaged, damaged_by,
    flight::Role,
    source::{Source, said},
};
use crate::{EngineError, Result, cache::Footprint};

/// A segment's index with what else is known of the object.
#[derive(Clone)]
pub(super) struct Opened {
    pub(super) source: Source,
    pub(super) index: Arc<SegmentIndex>,
    /// As it was sealed.
    object_bytes: u64,
    /// Likewise.
    index_hash: Hash,
    memory_bytes: usize,
}

impl Footprint for Opened {
    fn footprint_bytes(&self) -> usize {
        self.memory_bytes
    }
}

impl Fetcher {
    /// A segment's index. `expected` is what a head says of it, where a head names it.
    ///
    /// # Errors
    /// [`EngineError::Damaged`] when it is missing, damaged, or not the one that is expected.
    pub async fn index(&self, id: SegmentId, expected: Option<&TailSegment>) -> Result<Arc<SegmentIndex>> {
        let opened = self.opened(id).await?;
        if let Some(expected) = expected {
            opened.check(expected).map_err(|message| damaged(&names::segment(id), message))?;
        }
        Ok(opened.index)
    }

    /// A segment's index, and size and index hash of what was sealed.
    pub(crate) async fn sealed(&self, id: SegmentId) -> Result<(Arc<SegmentIndex>, u64, Hash)> {
        let opened = self.opened(id).await?;
        Ok((opened.index, opened.object_bytes, opened.index_hash))
    }

    pub(super) async fn opened(&self, id: SegmentId) -> Result<Opened> {
        loop {
            if let Some(opened) = self.indexes.get(&id) {
                return Ok(opened);
            }
            match self.index_flights.join(&id, || self.indexes.get(&id)) {
                Role::Ready(opened) => return Ok(opened),
                Role::Lead(lead) => {
                    let answer = self.open_or_again(id).await;
                    if let Ok(opened) = &answer {
                        self.indexes.insert(id, opened.clone());
                    }
                    lead.finish(&answer);
                    return answer;
                }
                Role::Wait(receiver) => {
                    // A closed channel: the one who fetched it has gone, so try again.
                    if let Ok(answer) = receiver.await {
                        return answer;
                    }
                }
            }
        }
    }

    async fn open_or_again(&self, id: SegmentId) -> Result<Opened> {
        let seen = self.table().number();
        match self.open_segment(id).await {
            // Rule G3: it may be somewhere else by now.
            Err(EngineError::Missing { .. }) => self.refresh(seen).await?,
            // A second time: bytes may be damaged on the way as well as in the store.
            Err(EngineError::Damaged { .. }) => {}
            other => return other,
        }
        self.open_segment(id).await.map_err(said)
    }

    pub(super) async fn open_segment(&self, id: SegmentId) -> Result<Opened> {
        let (source, entry) = self.place(id);
        if let Some(opened) = self.kept_index(source, entry).await {
            return Ok(opened);
        }
        let name = source.name();
        let bad = |error: FormatError| damaged_by(&name, &error);
        let _permit = self.gets.acquire().await;
        let range = match entry {
            None => Range::Suffix(INDEX_SUFFIX_BYTES),
            Some(entry) => source.range(entry.bytes.saturating_sub(INDEX_SUFFIX_BYTES), entry.bytes),
        };
        let suffix = self.get_part(&name, range).await?;
        // A suffix shorter than asked for is the whole object.
        let short = (suffix.len() as u64) < INDEX_SUFFIX_BYTES;
        let object_bytes = entry.map(|entry| entry.bytes).or(short.then_some(suffix.len() as u64));
        let trailer = Trailer::parse(&suffix).and_then(|trailer| trailer.verify(self.pool, id, object_bytes));
        let trailer = trailer.and_then(|trailer| fits(trailer, entry)).map_err(bad)?;
        let trailer_bytes = suffix.slice(suffix.len() - TRAILER_BYTES..);
        let index_bytes = self.index_bytes(&source, &trailer, suffix).await?;
        let (object_bytes, index_hash) = (trailer.object_bytes, trailer.index_hash);
        let parsed = index_bytes.clone();
        let parse = move || SegmentIndex::parse(&parsed, &trailer);
        let index = esker_io::run_first(&*self.world.cpu, parse).await.map_err(bad)?;
        self.keep_index(source, &index_bytes, &trailer_bytes);
        Ok(Opened::new(source, index, object_bytes, index_hash))
    }

    /// The index's bytes: out of the suffix, or by a second GET when they begin before it.
    async fn index_bytes(&self, source: &Source, trailer: &Trailer, suffix: Bytes) -> Result<Bytes> {
        let start = trailer.index_offset;
        let end = start + u64::from(trailer.index_bytes);
        let suffix_start = trailer.object_bytes.saturating_sub(suffix.len() as u64);
        if start >= suffix_start {
            return Ok(suffix.slice((start - suffix_start) as usize..(end - suffix_start) as usize));
        }
        self.get_part(&source.name(), source.range(start, end)).await
    }
}

/// The trailer, if it is of the image that the table names.
pub(super) fn fits(trailer: Trailer, entry: Option<TableEntry>) -> std::result::Result<Trailer, FormatError> {
    match entry {
        Some(entry) if trailer.index_hash != entry.index_hash => Err(FormatError::new(
            "segment trailer",
            "index hash",
            format_args!("{}, which the segment table names", entry.index_hash),
            trailer.index_hash,
        )),
        _ => Ok(trailer),
    }
}

impl Opened {
    pub(super) fn new(source: Source, index: SegmentIndex, object_bytes: u64, index_hash: Hash) -> Self {
        let memory_bytes = index.memory_bytes();
        // Of a rewrite, what heads say is what was sealed.
        let sealed = index.rewrite.as_ref().map(|rewrite| (rewrite.sealed_bytes, rewrite.sealed_hash));
        let (object_bytes, index_hash) = sealed.unwrap_or((object_bytes, index_hash));
        Self { source, index: Arc::new(index), object_bytes, index_hash, memory_bytes }
    }

    /// Compares what the head says with what was sealed.
    fn check(&self, expected: &TailSegment) -> std::result::Result<(), String> {
        let found = TailSegment {
            id: self.index.id,
            first_sequence: self.index.first_sequence,
            last_sequence: self.index.last_sequence,
            object_bytes: self.object_bytes,
            index_hash: self.index_hash,
        };
        if found == *expected {
            return Ok(());
        }
        Err(format!("a head names {expected:?}, the object is {found:?}"))
    }
}
