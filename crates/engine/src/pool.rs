//! A pool: one prefix of an object store, with its record, its volumes' names and their heads.

mod heads;
mod names;
mod probe;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use esker_format::{
    head::{Head, HeadKind, Lineage},
    ids::{AttemptId, DirectoryId, LogId, PoolId, RunId, SegmentId, VolumeId},
    names::{self as object_names, ObjectName},
    pool::PoolRecord,
    property::Properties,
    writer::WriterRecord,
};
use esker_io::{
    World,
    sync::atomic::{AtomicU64, Ordering},
};
use futures_util::future::join;

pub use heads::{Newest, Point, state_at};
pub(crate) use names::describe;
pub use names::{NamedVolume, Place};
pub use probe::{ProbeLine, probe};

use crate::{
    EngineError, Result, ahead,
    fetch::Fetcher,
    pieces::PieceMemory,
    table::listed,
    upload::{Settled, after, settle},
    uses::Uses,
    volume::{Holds, Maps},
};

/// How long a person waits for a name, a writer number or a new pool before the outcome counts as unknown.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// The smallest volume.
pub const SIZE_BYTES_MIN: u64 = 1 << 20;
/// The largest volume.
pub const SIZE_BYTES_MAX: u64 = 1 << 50;
/// How many small objects are got at once.
const GETS_AT_ONCE: usize = 16;

/// An open pool.
pub struct Pool {
    world: World,
    record: PoolRecord,
    fetcher: Fetcher,
    maps: Arc<Maps>,
    pieces: Arc<PieceMemory>,
    uses: Arc<Uses>,
    ahead: Arc<ahead::Line>,
    sealed_bytes: AtomicU64,
    holds: Holds,
}

impl Pool {
    /// Opens the pool at the world's object store. `cache_bytes` is for decoded frames.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] when there is no pool.
    pub async fn open(world: World, cache_bytes: usize) -> Result<Pool> {
        match Self::find(&world, cache_bytes).await? {
            Some(pool) => Ok(pool),
            None => Err(EngineError::NotFound(format!("a pool at {}", world.store()))),
        }
    }

    /// Makes a pool at the world's object store, or opens the one that is there.
    ///
    /// # Errors
    /// [`EngineError::Invalid`] with the store's faults when it fails the probe.
    pub async fn create(world: World, properties: Properties, cache_bytes: usize) -> Result<Pool> {
        if let Some(pool) = Self::find(&world, cache_bytes).await? {
            return Ok(pool);
        }
        refuse_faults(&world, &probe(&world).await)?;
        let record = PoolRecord {
            pool: PoolId(world.random.id()),
            attempt: AttemptId(world.random.id()),
            created_ms: world.clock.wall_ms(),
            properties,
        };
        match create(&world, &object_names::pool(), record.encode()).await? {
            Settled::Ours => Ok(Self::of(world, record, cache_bytes)),
            Settled::Theirs(bytes) => Ok(Self::of(world, read_record(&bytes)?, cache_bytes)),
        }
    }

    async fn find(world: &World, cache_bytes: usize) -> Result<Option<Pool>> {
        // What the fetcher caches is of a pool; the record comes before there is one.
        let fetcher = Fetcher::new(world.clone(), PoolId([0; 16]), 0);
        let prefix = object_names::tables();
        let (bytes, tables) = join(fetcher.object(&object_names::pool()), listed(&fetcher, &prefix)).await;
        let Some(bytes) = bytes? else { return Ok(None) };
        let pool = Self::of(world.clone(), read_record(&bytes)?, cache_bytes);
        pool.fetcher.load_table(tables?).await?;
        Ok(Some(pool))
    }

    fn of(world: World, record: PoolRecord, cache_bytes: usize) -> Pool {
        let fetcher = Fetcher::new(world.clone(), record.pool, cache_bytes);
        Pool {
            world,
            record,
            fetcher,
            maps: Arc::default(),
            pieces: Arc::default(),
            uses: Arc::default(),
            ahead: Arc::default(),
            sealed_bytes: AtomicU64::new(0),
            holds: Holds::default(),
        }
    }

    /// Keeps what it reads on the world's disk too, in at most `bytes`; too few for a cache are none.
    pub async fn with_disk_cache(self, bytes: u64) -> Pool {
        Pool { fetcher: self.fetcher.with_disk_cache(bytes).await, ..self }
    }

    /// The edges it works with.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// Its id.
    pub fn id(&self) -> PoolId {
        self.record.pool
    }

    /// Its record.
    pub fn record(&self) -> &PoolRecord {
        &self.record
    }

    /// The reader of its objects.
    pub fn fetcher(&self) -> &Fetcher {
        &self.fetcher
    }

    /// The maps of its volumes that are open.
    pub(crate) fn maps(&self) -> &Arc<Maps> {
        &self.maps
    }

    /// What pieces take in memory.
    pub(crate) fn pieces(&self) -> &Arc<PieceMemory> {
        &self.pieces
    }

    /// What this run uses that no head needs to name.
    pub fn uses(&self) -> &Arc<Uses> {
        &self.uses
    }

    /// What its volumes want read ahead.
    pub(crate) fn ahead(&self) -> &Arc<ahead::Line> {
        &self.ahead
    }

    /// What the segments take that seals of this run have brought into the store.
    pub fn sealed_bytes(&self) -> u64 {
        self.sealed_bytes.load(Ordering::Relaxed)
    }

    /// How long the points of snapshots have held guests.
    pub fn holds(&self) -> &Holds {
        &self.holds
    }

    /// A seal has brought a segment into the store.
    pub(crate) fn count_sealed(&self, bytes: u64) {
        self.sealed_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Makes an empty volume and binds a name to it. A crash in between leaves a volume without a name,
    /// whose one head holds no data.
    ///
    /// # Errors
    /// [`EngineError::Exists`] when the name is taken, also by somebody who was faster just now.
    pub async fn create_volume(
        &self,
        name: &str,
        size_bytes: u64,
        properties: Properties,
    ) -> Result<VolumeId> {
        object_names::valid_volume_name(name)?;
        let block = esker_format::BLOCK_BYTES as u64;
        if !(SIZE_BYTES_MIN..=SIZE_BYTES_MAX).contains(&size_bytes) || !size_bytes.is_multiple_of(block) {
            return Err(EngineError::Invalid(format!(
                "the size of a volume is a multiple of {block} bytes from 1 MiB to 1 PiB, not {size_bytes} bytes"
            )));
        }
        let place = self.place(name).await?;
        let volume = VolumeId(self.world.random.id());
        let first = self.first_head(volume, size_bytes, properties);
        // First the head, then the name: whoever finds the name finds a volume.
        let held = create(&self.world, &object_names::head(volume, first.number), first.encode()).await?;
        if let Settled::Theirs(_) = held {
            let message = "expected no volume of an id just drawn, found a head".to_owned();
            return Err(EngineError::Damaged { object: object_names::head(volume, first.number), message });
        }
        self.bind(place, volume).await?;
        Ok(volume)
    }

    /// The head that a volume begins with: released, so that anybody may claim it.
    fn first_head(&self, volume: VolumeId, size_bytes: u64, properties: Properties) -> Head {
        Head {
            pool: self.id(),
            volume,
            number: 1,
            epoch: 1,
            attempt: AttemptId(self.world.random.id()),
            previous: None,
            kind: HeadKind::Released,
            run: RunId([0; 16]),
            directory: DirectoryId([0; 16]),
            log: LogId([0; 16]),
            size_bytes,
            written_ms: self.world.clock.wall_ms(),
            sequence: 0,
            root: None,
            root_sequence: 0,
            tail: Vec::new(),
            pieces: Vec::new(),
            properties,
            lineage: Lineage::default(),
            piece: Vec::new(),
        }
    }

    /// Wins a writer number for a run; each call wins another.
    pub async fn writer_number(&self, run: RunId) -> Result<u32> {
        let listed = self.fetcher.list(&object_names::writers()).await?;
        let numbers = listed.iter().filter_map(|listed| match object_names::parse(&listed.name) {
            Some(ObjectName::Writer(number)) => Some(number),
            _ => None,
        });
        let mut number = numbers.max().unwrap_or(0) + 1;
        while number < SegmentId::WRITERS {
            let attempt = AttemptId(self.world.random.id());
            let record = WriterRecord { pool: self.id(), number, run, attempt };
            match create(&self.world, &object_names::writer(number), record.encode()).await? {
                Settled::Ours => return Ok(number),
                Settled::Theirs(_) => number += 1,
            }
        }
        Err(EngineError::Invalid(format!(
            "all {} writer numbers of the pool are used up",
            SegmentId::WRITERS - 1
        )))
    }

    /// A small object that was listed, or is named by another.
    async fn record_bytes(&self, name: &str) -> Result<Bytes> {
        self.fetcher.object(name).await?.ok_or_else(|| EngineError::Damaged {
            object: name.to_owned(),
            message: "expected a record that is never deleted, found none".to_owned(),
        })
    }
}

/// Creates a small object whose bytes hold a random attempt id, so that equal bytes are the same attempt.
pub(crate) async fn create(world: &World, name: &str, encoded: Vec<u8>) -> Result<Settled> {
    let sent = Bytes::from(encoded);
    settle(world, name, sent.clone(), |held| *held == sent, after(world, PATIENCE)).await
}

fn read_record(bytes: &[u8]) -> Result<PoolRecord> {
    let record = PoolRecord::parse(bytes).and_then(|record| record.verify());
    record.map_err(|error| damaged(&object_names::pool(), &error))
}

fn damaged(object: &str, error: &esker_format::FormatError) -> EngineError {
    EngineError::Damaged { object: object.to_owned(), message: error.to_string() }
}

fn refuse_faults(world: &World, lines: &[ProbeLine]) -> Result<()> {
    let faults: Vec<_> = lines.iter().filter(|line| !line.passed).map(ProbeLine::to_string).collect();
    if faults.is_empty() {
        return Ok(());
    }
    let store = world.store();
    Err(EngineError::Invalid(format!("{store} cannot hold a pool safely: {}", faults.join("; "))))
}

#[cfg(test)]
mod tests;
