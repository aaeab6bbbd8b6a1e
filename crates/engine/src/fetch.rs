//! THE reader of remote bytes. Whatever it returns was verified; lost data is an error, never zeros.
//!
//! A read of blocks: find the segments' indexes → which frames → cached ones are copied → of the missing
//! ones, those that somebody else fetches are waited for, those on the local disk are read there, the others are
//! grouped into few ranged GETs → verify and decompress → cache → copy. Segments and packs never change, so no cached thing is ever stale.

mod ahead;
mod before;
mod bulk;
mod copy;
mod flight;
mod frames;
mod index;
mod kept;
mod page;
mod plan;
mod source;
mod tally;

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use esker_format::{
    error::FormatError,
    ids::{PackId, PoolId, SegmentId},
    names,
    segment::SegmentIndex,
};
use esker_io::{
    Listed, Objects, Range, StoreError, StoreErrorKind, World,
    objects::Retry,
    sync::{Counter, Mutex, atomic::Ordering},
};
use futures_util::{StreamExt, TryStreamExt, stream};

pub use plan::Part;
pub(crate) use tally::Tally;

use crate::{
    EngineError, Result,
    cache::{Cache, DiskCache, DiskUsage, Footprint},
    permits::Permits,
    table::Table,
};
use before::Stretch;
use flight::Flights;
use index::Opened;
use page::{CachedPage, PageKey};
use plan::FrameKey;
use source::{Source, said};
use tally::{Promise, Totals};

/// The most bytes that one GET asks for.
pub const GET_BYTES_MAX: u64 = 1 << 20;
/// The most bytes between two frames that are got along rather than asked for apart.
pub const GET_GAP_BYTES_MAX: u64 = 64 << 10;
/// The most frames of one GET: what it decodes to has a bound too, 4 MiB.
pub const GET_FRAMES_MAX: usize = 64;
/// The most GETs that one read has in flight.
pub const GETS_PER_READ: usize = 8;
/// The most GETs that all reads of one fetcher have in flight.
pub const GETS_IN_FLIGHT_MAX: usize = 64;
/// The most of these that read ahead.
pub const GETS_AHEAD_MAX: usize = 16;
/// The most that read ahead for one range.
pub const GETS_AHEAD_PER_RANGE: usize = 8;
/// The memory for cached indexes of segments.
pub const INDEX_CACHE_BYTES: usize = 64 << 20;
/// The memory for cached pages, and for what lay in packs before them.
pub const PAGE_CACHE_BYTES: usize = DECODED_PAGES_BYTES + before::CACHE_BYTES;
const DECODED_PAGES_BYTES: usize = 16 << 20;
/// What is got from the end of a segment in the hope that it holds the whole index.
pub const INDEX_SUFFIX_BYTES: u64 = 64 << 10;

/// About the size of a decoded frame.
const FRAME_BYTES: usize = 32 << 10;
/// About the size of a large index; the cache's parts are sized by it.
const INDEX_BYTES: usize = 256 << 10;
/// About the size of a page.
const PAGE_BYTES: usize = 4 << 10;

/// Reads objects of one pool.
pub struct Fetcher {
    world: World,
    /// The store with retries: everything here is a read.
    objects: Retry,
    pool: PoolId,
    /// Where rewritten segments are, as far as this run knows.
    table: Mutex<Arc<Table>>,
    refreshes: Permits,
    frames: Arc<Cache<FrameKey, Cached>>,
    cache_bytes: u64,
    frame_flights: Flights<FrameKey, Bytes>,
    indexes: Cache<SegmentId, Opened>,
    index_flights: Flights<SegmentId, Opened>,
    pages: Cache<PageKey, CachedPage>,
    page_flights: Flights<PageKey, CachedPage>,
    /// What was got along with inner pages.
    before: Cache<PackId, Stretch>,
    gets: Permits,
    /// For those of them that nobody waits for yet.
    gets_ahead: Permits,
    ahead_totals: Arc<Totals>,
    /// Below the memory, where a local directory gives room.
    disk: Option<Arc<DiskCache>>,
    /// Frames that reads found in the cache, and frames that they had to wait for.
    hits: Counter,
    misses: Counter,
}

/// A frame in memory.
#[derive(Clone)]
struct Cached {
    bytes: Bytes,
    /// Where it was read ahead.
    ahead: Option<Arc<Promise>>,
}

impl Cached {
    /// Its bytes, for a read.
    fn bytes(&self) -> &Bytes {
        if let Some(promise) = &self.ahead {
            promise.keep();
        }
        &self.bytes
    }
}

impl From<Bytes> for Cached {
    fn from(bytes: Bytes) -> Self {
        Self { bytes, ahead: None }
    }
}

impl Footprint for Cached {
    fn footprint_bytes(&self) -> usize {
        self.bytes.len()
    }
}

/// What a fetcher holds at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Bytes of cached frames.
    pub frame_bytes: u64,
    /// Bytes of cached indexes.
    pub index_bytes: u64,
    /// Bytes of cached pages.
    pub page_bytes: u64,
    /// Frames that are being fetched.
    pub frames_in_flight: usize,
    /// GETs of frames, indexes and pages that are under way.
    pub gets_in_flight: usize,
    /// How often a read found a frame in the cache, since the start.
    pub frame_hits: u64,
    /// How often a read had to wait for a frame.
    pub frame_misses: u64,
    /// The disk cache.
    pub disk: DiskUsage,
    /// Frames that were read ahead.
    pub ahead_fetched: u64,
    /// Of these, read by a guest.
    pub ahead_used: u64,
    /// Of these, dropped unread.
    pub ahead_wasted: u64,
}

impl Fetcher {
    /// A fetcher whose cache of decoded frames has `cache_bytes`; the other bounds are constants here.
    pub fn new(world: World, pool: PoolId, cache_bytes: usize) -> Self {
        let objects = Retry::new(world.objects.clone(), world.clock.clone(), world.random.clone());
        Self {
            world,
            objects,
            pool,
            table: Mutex::default(),
            refreshes: Permits::new(1),
            cache_bytes: cache_bytes as u64,
            frames: Arc::new(Cache::new(cache_bytes, FRAME_BYTES)),
            frame_flights: Flights::new(),
            indexes: Cache::new(INDEX_CACHE_BYTES, INDEX_BYTES),
            index_flights: Flights::new(),
            pages: Cache::new(DECODED_PAGES_BYTES, PAGE_BYTES),
            before: Cache::new(before::CACHE_BYTES, before::BYTES_MAX as usize),
            page_flights: Flights::new(),
            gets: Permits::new(GETS_IN_FLIGHT_MAX),
            gets_ahead: Permits::new(GETS_AHEAD_MAX),
            ahead_totals: Arc::default(),
            disk: None,
            hits: Counter::default(),
            misses: Counter::default(),
        }
    }

    /// Fills in all parts if everything is cached, without waiting. Otherwise returns false, and the
    /// buffer's contents are unspecified.
    pub fn try_read(&self, parts: &[Part], buffer: &mut [u8]) -> bool {
        check_parts(parts, buffer);
        let mut last: Option<(Arc<SegmentIndex>, Source)> = None;
        let mut hits = 0;
        let here = parts.iter().all(|part| {
            let id = part.place().0;
            if last.as_ref().is_none_or(|(_, source)| source.segment != id) {
                last = self.indexes.get(&id).map(|opened| (opened.index, opened.source));
            }
            let Some((index, source)) = &last else { return false };
            let mut all = true;
            // A contradiction between map and segment is `read`'s to report.
            let pieces = plan::each_piece(part, index, |frame, piece| {
                match self.frames.get(&(*source, frame.first_place)) {
                    Some(cached) => {
                        piece.copy(cached.bytes(), buffer);
                        hits += 1;
                    }
                    None => all = false,
                }
                all
            });
            pieces.is_ok() && all
        });
        // Else they are asked for again, and counted then.
        if here {
            self.hits.add(hits);
        }
        here
    }

    /// Fills in all parts.
    ///
    /// # Errors
    /// [`EngineError::Damaged`] when an object is missing or its bytes are not what the map or its index
    /// promises; [`EngineError::Store`] when the store does not answer. The buffer's contents are then
    /// unspecified.
    pub async fn read(&self, parts: &[Part], buffer: &mut [u8]) -> Result<()> {
        check_parts(parts, buffer);
        let seen = self.table().number();
        match self.read_once(parts, buffer).await {
            // Rule G3: it may have been rewritten since; then it is somewhere else, and only once more is asked.
            Err(EngineError::Missing { .. }) => {
                self.refresh(seen).await?;
                self.forget_moved(parts.iter().map(|part| part.place().0));
                self.read_once(parts, buffer).await.map_err(said)
            }
            outcome => outcome,
        }
    }

    async fn read_once(&self, parts: &[Part], buffer: &mut [u8]) -> Result<()> {
        let indexes = self.indexes_of(parts).await?;
        let mut missing = plan::wanted(parts, &indexes)?;
        // More than one round only if somebody else began to fetch a frame, and went away or gave up.
        let mut first = true;
        while !missing.is_empty() {
            self.round(&mut missing, buffer, first).await?;
            first = false;
        }
        Ok(())
    }

    async fn indexes_of(&self, parts: &[Part]) -> Result<BTreeMap<SegmentId, Opened>> {
        let mut indexes = BTreeMap::new();
        let mut missing = Vec::new();
        for part in parts {
            let id = part.place().0;
            if indexes.contains_key(&id) || missing.contains(&id) {
                continue;
            }
            match self.indexes.get(&id) {
                Some(opened) => drop(indexes.insert(id, opened)),
                None => missing.push(id),
            }
        }
        let gets: Vec<_> = missing.into_iter().map(|id| self.index_with_id(id)).collect();
        let got: Vec<_> = stream::iter(gets).buffer_unordered(GETS_PER_READ).try_collect().await?;
        indexes.extend(got);
        Ok(indexes)
    }

    async fn index_with_id(&self, id: SegmentId) -> Result<(SegmentId, Opened)> {
        Ok((id, self.opened(id).await?))
    }

    /// Reads a whole small object: a record or a head. `None` when there is none of that name.
    pub async fn object(&self, name: &str) -> Result<Option<Bytes>> {
        match self.objects.get(name, Range::All).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind == StoreErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Lists all objects whose names begin with `prefix`, sorted by name.
    pub async fn list(&self, prefix: &str) -> Result<Vec<Listed>> {
        Ok(self.objects.list(prefix).await?)
    }

    /// What is held now.
    pub fn usage(&self) -> Usage {
        Usage {
            frame_bytes: self.frames.bytes(),
            index_bytes: self.indexes.bytes(),
            page_bytes: self.pages.bytes() + self.before.bytes(),
            frames_in_flight: self.frame_flights.len(),
            gets_in_flight: GETS_IN_FLIGHT_MAX - self.gets.free(),
            frame_hits: self.hits.sum(),
            frame_misses: self.misses.sum(),
            ahead_fetched: self.ahead_totals.fetched.load(Ordering::Relaxed),
            ahead_used: self.ahead_totals.used.load(Ordering::Relaxed),
            ahead_wasted: self.ahead_totals.wasted.load(Ordering::Relaxed),
            disk: self.disk.as_ref().map(|disk| disk.usage()).unwrap_or_default(),
        }
    }

    /// Gets a part of an object that something in the pool names and that is in one place for ever.
    async fn get(&self, name: &str, range: Range) -> Result<Bytes> {
        self.get_part(name, range).await.map_err(said)
    }

    /// Gets a part of an object; [`EngineError::Missing`] when it is not there.
    async fn get_part(&self, name: &str, range: Range) -> Result<Bytes> {
        let bytes = match self.objects.get(name, range).await {
            Ok(bytes) => bytes,
            Err(error) if error.kind == StoreErrorKind::NotFound => {
                let message = format!("the pool names it, and {} does not have it", self.objects.describe());
                return Err(EngineError::Missing { object: name.into(), message });
            }
            Err(error) => return Err(error.into()),
        };
        let as_asked = match range {
            Range::All => true,
            Range::Bytes { start, end } => bytes.len() as u64 == end - start,
            Range::Suffix(most) => bytes.len() as u64 <= most,
        };
        if as_asked {
            return Ok(bytes);
        }
        let message = format!("{range:?} was asked for, {} bytes came", bytes.len());
        Err(StoreError { kind: StoreErrorKind::Protocol, operation: "get", name: name.into(), message }
            .into())
    }
}

/// Panics unless every part lies inside the buffer.
fn check_parts(parts: &[Part], buffer: &[u8]) {
    let block = esker_format::BLOCK_BYTES as u64;
    for part in parts {
        let end = part.blocks.checked_mul(block).and_then(|bytes| bytes.checked_add(part.offset as u64));
        assert!(end.is_some_and(|end| end <= buffer.len() as u64), "{part:?} lies inside the buffer");
    }
}

/// An object is not what it should be: said aloud, for it needs a person.
fn damaged(object: &str, message: impl Into<String>) -> EngineError {
    let message = message.into();
    tracing::error!(object, "damaged: {message}");
    EngineError::Damaged { object: object.into(), message }
}

fn damaged_segment(id: SegmentId, message: impl Into<String>) -> EngineError {
    damaged(&names::segment(id), message)
}

fn damaged_by(object: &str, error: &FormatError) -> EngineError {
    damaged(object, error.to_string())
}

#[cfg(test)]
mod tests;
