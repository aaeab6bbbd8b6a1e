//! Frames, indexes and pages on the local disk, shared by all volumes of a daemon.
//!
//! ```text
//! cache/<n>      files of one size, drawn in `esker_format::cache`; which holds what: `core::kept`
//! ```
//! It holds bytes as the store has them. Losing it loses nothing, so nothing is synced, and nothing it says is believed:
//! 1. An entry's checksum is seeded with its key and with the salt of its file's use. One that does not fit is a miss.
//! 2. What it returns is verified once more like bytes of a GET: a frame by the tag in its segment's index, an index by
//!    the hash in its trailer, a page by the hash in its parent (guarantee 7).
//!
//! Failure cases:
//! 1. *Killed, or power lost, while a file is written.* Its catalogue says what it said last: every mebibyte, and at the end
//!    of a file. What came later is not found. Where a power loss kept the catalogue and not the entries, these are
//!    refused, for whatever bytes are there have no fitting checksum. So there is no clean mark (rule W13): a warm start after a
//!    clean stop and one after a crash are the same thing.
//! 2. *A file is used again while somebody reads it.* Bytes of another use have another salt: refused, and since the
//!    file has another order by then, not counted as damage.
//! 3. *A directory of another pool, or an older copy.* The catalogue names its pool; an old catalogue over newer bytes is case 1.
//! 4. *No space, EIO.* The cache removes its files, for the log needs the space more, and rests; then it begins anew.
//!    Guests notice nothing.

mod load;
mod write;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use esker_format::{
    cache::{CacheKey, entry_crc},
    ids::PoolId,
};
use esker_io::{
    Bug, DiskError, File, World, planted,
    sync::{
        Event, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::core::kept::{Kept, Place, Shape};
use write::Waiting;

/// The most bytes that wait to be written; what comes then is not kept.
pub const WAITING_BYTES_MAX: usize = 8 << 20;
/// How long the cache rests after its disk failed.
pub const REST: Duration = Duration::from_secs(300);

/// The directory.
const DIRECTORY: &str = "cache";

/// Whether the memory above holds an entry too.
pub(crate) type InMemory = Box<dyn Fn(CacheKey) -> bool + Send + Sync>;

/// A cache on the local disk.
pub(crate) struct DiskCache {
    world: World,
    pool: PoolId,
    shape: Shape,
    in_memory: InMemory,
    state: Mutex<State>,
    waiting: Mutex<Waiting>,
    /// Something that waited was written, or dropped.
    moved: Event,
    hits: AtomicU64,
    misses: AtomicU64,
    refused: AtomicU64,
    evicted: AtomicU64,
    dropped: AtomicU64,
}

struct State {
    kept: Kept,
    files: BTreeMap<u32, Arc<dyn File>>,
    /// Entries' bytes that no catalogue on the disk lists yet.
    unlisted: [u64; 2],
    /// Monotonic time until which nothing is done, after a failure.
    resting: Option<Duration>,
}

/// What a disk cache holds and has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DiskUsage {
    /// The most bytes that its files may take.
    pub bytes_max: u64,
    /// Bytes that they take.
    pub file_bytes: u64,
    /// Entries.
    pub entries: u64,
    /// Memory for knowing where they are.
    pub memory_bytes: u64,
    /// Times that what a read looked for was found, and was what it should be.
    pub hits: u64,
    /// Times that it was not.
    pub misses: u64,
    /// Entries whose bytes were not what they should be.
    pub refused: u64,
    /// Entries that made room for others.
    pub evicted: u64,
    /// Entries that were not kept since too many waited, or the cache rested.
    pub dropped: u64,
}

/// An entry that is looked for, and where it is.
pub(crate) struct Found {
    place: Place,
    file: Arc<dyn File>,
}

impl DiskCache {
    /// The cache in the world's local directory, of at most `bytes_max`; none when that is too little for one. What an
    /// earlier run left is found again.
    pub(crate) async fn open(
        world: World,
        pool: PoolId,
        bytes_max: u64,
        in_memory: InMemory,
    ) -> Option<Arc<Self>> {
        let shape = Shape::within(bytes_max);
        let cpu = world.cpu.clone();
        let (disk, lookup) = (world.disk.clone(), pool);
        let state = esker_io::run(&*cpu, move || load::load(&*disk, lookup, shape)).await?;
        Some(Arc::new(Self {
            world,
            pool,
            shape: shape?,
            in_memory,
            state: Mutex::new(state),
            waiting: Mutex::default(),
            moved: Event::new(),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        }))
    }

    /// Where an entry is; a miss is counted.
    pub(crate) fn find(&self, key: CacheKey) -> Option<Found> {
        let found = {
            let mut state = self.state.lock();
            let place = state.kept.find(key);
            place.map(|place| Found { place, file: state.files[&place.file].clone() })
        };
        if found.is_none() {
            self.misses.fetch_add(1, Ordering::Relaxed);
        }
        found
    }

    /// Whether an entry is here; that does not count as a use.
    pub(crate) fn holds(&self, key: CacheKey) -> bool {
        self.state.lock().kept.holds(key)
    }

    /// Reads an entry. Blocks for as long as the disk takes. `None` when it is not what it should be.
    pub(crate) fn read(&self, found: &Found) -> Option<Bytes> {
        let entry = &found.place.entry;
        let mut bytes = vec![0; entry.bytes as usize];
        let read = found.file.read_at(&mut bytes, found.place.offset);
        let fits = read.is_ok() && entry_crc(found.place.salt, entry.key, &bytes) == entry.crc;
        if fits || (read.is_ok() && planted(Bug::CacheUnchecked)) {
            return Some(bytes.into());
        }
        self.refuse(found);
        None
    }

    /// What was read is right.
    pub(crate) fn hit(&self) {
        self.hits.fetch_add(1, Ordering::Relaxed);
    }

    /// What was read is not what it should be: it is not found again.
    pub(crate) fn refuse(&self, found: &Found) {
        self.misses.fetch_add(1, Ordering::Relaxed);
        if self.state.lock().kept.refuse(&found.place) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            let (file, offset) = (found.place.file, found.place.offset);
            tracing::warn!(file, offset, "an entry of the disk cache is damaged; it is read from the store");
        }
    }

    /// The disk failed: everything is given back, and for a while nothing is kept.
    fn rest(&self, error: &DiskError) {
        let now = self.world.clock.monotonic();
        let mut state = self.state.lock();
        tracing::warn!(%error, "the disk cache gives its space back and rests; volumes are not affected");
        *state = State { resting: Some(now + REST), ..State::new(self.shape) };
        drop(state);
        if let Err(error) = self.world.disk.remove_dir(DIRECTORY) {
            tracing::warn!(%error, "the files of the disk cache could not be removed");
        }
    }

    /// Whether it rests after a failure; when the time is over it begins anew.
    fn rests(&self) -> bool {
        let mut state = self.state.lock();
        match state.resting {
            Some(until) if self.world.clock.monotonic() < until => true,
            Some(_) => {
                state.resting = None;
                false
            }
            None => false,
        }
    }

    /// What it holds and has done.
    pub(crate) fn usage(&self) -> DiskUsage {
        let state = self.state.lock();
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        DiskUsage {
            bytes_max: self.shape.file_bytes * u64::from(self.shape.files_max),
            file_bytes: self.shape.file_bytes * state.files.len() as u64,
            entries: state.kept.entries() as u64,
            memory_bytes: state.kept.memory_bytes(),
            hits: count(&self.hits),
            misses: count(&self.misses),
            refused: count(&self.refused),
            evicted: count(&self.evicted),
            dropped: count(&self.dropped),
        }
    }
}

impl State {
    fn new(shape: Shape) -> Self {
        Self { kept: Kept::new(shape), files: BTreeMap::new(), unlisted: [0; 2], resting: None }
    }
}

/// The path of a file.
fn path(number: u32) -> String {
    format!("{DIRECTORY}/{number:05}")
}

#[cfg(test)]
mod tests;
