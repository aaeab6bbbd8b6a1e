//! Indexes of segments: one GET of the object's end in most cases.

use std::sync::Arc;

use bytes::Bytes;
use esker_format::{
    error::FormatError,
    head::TailSegment,
    ids::{Hash, SegmentId},
    names,
    segment::{SegmentIndex, TRAILER_BYTES, Trailer},
};
use esker_io::Range;

use super::{Fetcher, INDEX_SUFFIX_BYTES, damaged, damaged_by, flight::Role};
use crate::{EngineError, Result, cache::Footprint};

/// A segment's index with what else is known of the object.
#[derive(Clone)]
pub(super) struct Opened {
    pub(super) index: Arc<SegmentIndex>,
    object_bytes: u64,
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

    async fn opened(&self, id: SegmentId) -> Result<Opened> {
        loop {
            if let Some(opened) = self.indexes.get(&id) {
                return Ok(opened);
            }
            match self.index_flights.join(&id, || self.indexes.get(&id)) {
                Role::Ready(opened) => return Ok(opened),
                Role::Lead(lead) => {
                    let mut answer = self.open_segment(id).await;
                    if let Err(EngineError::Damaged { .. }) = answer {
                        // A second time: bytes may be damaged on the way as well as in the store.
                        answer = self.open_segment(id).await;
                    }
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

    pub(super) async fn open_segment(&self, id: SegmentId) -> Result<Opened> {
        if let Some(opened) = self.kept_index(id).await {
            return Ok(opened);
        }
        let name = names::segment(id);
        let bad = |error: FormatError| damaged_by(&name, &error);
        let _permit = self.gets.acquire().await;
        let suffix = self.get(&name, Range::Suffix(INDEX_SUFFIX_BYTES)).await?;
        // A suffix shorter than asked for is the whole object.
        let short = (suffix.len() as u64) < INDEX_SUFFIX_BYTES;
        let object_bytes = short.then_some(suffix.len() as u64);
        let trailer = Trailer::parse(&suffix).and_then(|trailer| trailer.verify(self.pool, id, object_bytes));
        let trailer = trailer.map_err(bad)?;
        let trailer_bytes = suffix.slice(suffix.len() - TRAILER_BYTES..);
        let index_bytes = self.index_bytes(&name, &trailer, suffix).await?;
        let (object_bytes, index_hash) = (trailer.object_bytes, trailer.index_hash);
        let parsed = index_bytes.clone();
        let parse = move || SegmentIndex::parse(&parsed, &trailer);
        let index = esker_io::run_first(&*self.world.cpu, parse).await.map_err(bad)?;
        self.keep_index(id, &index_bytes, &trailer_bytes);
        Ok(Opened::new(index, object_bytes, index_hash))
    }

    /// The index's bytes: out of the suffix, or by a second GET when they begin before it.
    async fn index_bytes(&self, name: &str, trailer: &Trailer, suffix: Bytes) -> Result<Bytes> {
        let start = trailer.index_offset;
        let end = start + u64::from(trailer.index_bytes);
        let suffix_start = trailer.object_bytes.saturating_sub(suffix.len() as u64);
        if start >= suffix_start {
            return Ok(suffix.slice((start - suffix_start) as usize..(end - suffix_start) as usize));
        }
        self.get(name, Range::Bytes { start, end }).await
    }
}

impl Opened {
    pub(super) fn new(index: SegmentIndex, object_bytes: u64, index_hash: Hash) -> Self {
        let memory_bytes = index.memory_bytes();
        Self { index: Arc::new(index), object_bytes, index_hash, memory_bytes }
    }

    /// Compares what the head says with what the object holds.
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
