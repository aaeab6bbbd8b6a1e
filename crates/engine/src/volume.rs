//! An open volume: its map, its log, and the state that front ends and the pipeline share.

mod ahead;
mod change;
mod compare;
mod durable;
mod fold;
mod pace;
mod pipeline;
mod point;
mod read;
mod reseal;
mod resize;
mod room;
mod set;
mod stages;
mod status;
mod stored;
mod sweep;
mod write;

use std::{sync::Arc, time::Duration};

use esker_format::{BLOCK_BYTES, chunk::CHUNK_BYTES, ids::VolumeId};
use esker_io::sync::{
    Event, Mutex, Sharded,
    atomic::{AtomicBool, AtomicU64, Ordering, fence},
};

pub use change::{Change, OwnedChange, Scratch, WriteStep};
pub(crate) use pipeline::{Pipeline, Start as PipelineStart};
pub use point::{Holds, Point};
pub use read::{ExtentState, ReadStep};
pub use set::{PropertyChange, Wish};
pub(crate) use stages::{Done, seal_pieces};
pub use status::{Status, VolumeStatus};
pub use stored::Effective;
pub(crate) use stored::{Identity, StoredMap};
pub(crate) use sweep::{Keeper, Maps, keep};

use crate::{
    EngineError, Result,
    budget::Budget,
    core::{
        heads::HEADS_KEPT,
        map::{MAP_BYTES_MAX, Map},
        policy::Look,
    },
    log::Log,
    pace::Pacer,
    pieces::{PIECES_BYTES_MAX, Pieces},
    pool::Pool,
    segment_ids::SegmentIds,
};

/// Bounds of one volume.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Log bytes that may be uncommitted; at the bound writes wait.
    pub dirty_bytes_max: u64,
    /// The same for all volumes of the daemon together.
    pub daemon_dirty_bytes_max: u64,
    /// Heads that reclaim keeps besides those that a rule keeps.
    pub heads_kept: usize,
    /// How old a write gets before it is sealed though it is in a piece: most of what dies young is dead by then.
    pub seal_age: Duration,
    /// Bytes of a chunk of the log; the same at every opening of a directory. At least 2 MiB, so that the
    /// largest record fits.
    pub chunk_bytes: u64,
    /// Bytes that the maps of all volumes of the daemon may take; at the bound, writes that make one grow wait.
    pub map_bytes_max: u64,
    /// Bytes that the pieces of all volumes of the daemon that are only read may take.
    pub pieces_bytes_max: u64,
}

impl Limits {
    /// Records that may be uncommitted: trims take memory, though next to no log.
    fn records_max(&self) -> u64 {
        (self.dirty_bytes_max / BLOCK_BYTES as u64).max(1)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            dirty_bytes_max: 1 << 30,
            daemon_dirty_bytes_max: 8 << 30,
            heads_kept: HEADS_KEPT,
            seal_age: Duration::from_secs(120),
            chunk_bytes: CHUNK_BYTES,
            map_bytes_max: MAP_BYTES_MAX,
            pieces_bytes_max: PIECES_BYTES_MAX,
        }
    }
}

/// A volume that is open for reading, and for writing when this run is its writer.
pub struct Volume {
    pub(crate) name: String,
    pub(crate) id: VolumeId,
    /// The map's size in bytes, for those who do not hold its guard.
    size_bytes: AtomicU64,
    /// What the newest head and the pool say.
    effective: Mutex<Effective>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) map: Sharded<Map>,
    /// Whose pages say what is unloaded in the map: that of the newest head.
    stored: Mutex<StoredMap>,
    /// Blocks whose pages somebody has asked for: they stay in the map.
    pins: sweep::Pins,
    pub(crate) writer: Option<Writer>,
    /// The sequence of the head that it was opened from; what a volume that is read holds.
    opened_sequence: u64,
    /// What a volume that is read has in memory.
    pieces: Option<Pieces>,
    /// Fast answer to "may this volume be written?".
    running: AtomicBool,
    status: Mutex<Status>,
    ahead: ahead::Ahead,
}

/// What only the writer of a volume has.
pub(crate) struct Writer {
    pub(crate) log: Arc<Log>,
    pub(crate) ids: Arc<SegmentIds>,
    pub(crate) limits: Limits,
    pub(crate) budget: Arc<Budget>,
    /// Something was committed, or the volume stopped: writes that wait look again.
    pub(crate) room: Event,
    /// The pipeline should look at the log.
    pub(crate) wake: Event,
    /// Log position at which a write wakes the pipeline; `u64::MAX` when it is awake anyway.
    wake_at: AtomicU64,
    /// The same as a sequence: trims take next to no log.
    wake_at_sequence: AtomicU64,
    pacer: Pacer,
    draining: AtomicBool,
    /// The tail is to be folded up to this sequence, however short it is.
    fold_to: AtomicU64,
    /// Tries at the store end with "unknown".
    abandoned: AtomicBool,
    /// The pipeline has ended.
    ended: Event,
    ended_with: Mutex<Option<Result<()>>>,
    committed: Mutex<Committed>,
    /// The size that somebody waits for, until the pipeline takes it.
    resize: Mutex<Option<resize::Request>>,
    /// Points that somebody waits for, until the pipeline takes them.
    points: Mutex<Vec<point::Request>>,
    /// Other properties that somebody waits for, until the pipeline takes them.
    sets: Mutex<Vec<set::Request>>,
    store: durable::StoreSide,
}

/// What the store holds.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Committed {
    pub(crate) number: u64,
    pub(crate) epoch: u64,
    pub(crate) sequence: u64,
    /// The last sequence that root and segments hold.
    pub(crate) covered: u64,
    pub(crate) tail_segments: usize,
    pub(crate) pieces: usize,
    pub(crate) piece_bytes: u64,
}

impl Writer {
    pub(crate) fn new(log: Log, ids: Arc<SegmentIds>, limits: Limits, committed: Committed) -> Self {
        let budget = log.budget().clone();
        // More than the daemon may hold, one volume cannot hold either.
        let pacer = Pacer::new(limits.dirty_bytes_max.min(budget.max()));
        Self {
            log: Arc::new(log),
            ids,
            limits,
            budget,
            room: Event::new(),
            wake: Event::new(),
            wake_at: AtomicU64::new(u64::MAX),
            wake_at_sequence: AtomicU64::new(u64::MAX),
            pacer,
            draining: AtomicBool::new(false),
            fold_to: AtomicU64::new(0),
            abandoned: AtomicBool::new(false),
            ended: Event::new(),
            ended_with: Mutex::new(None),
            committed: Mutex::new(committed),
            resize: Mutex::new(None),
            points: Mutex::default(),
            sets: Mutex::default(),
            store: durable::StoreSide::default(),
        }
    }

    /// Whether writes have to wait.
    fn is_full(&self) -> bool {
        self.log.dirty_bytes() >= self.limits.dirty_bytes_max
            || self.log.pending_records() >= self.limits.records_max()
            || self.budget.is_full()
            || self.store.stalls()
    }

    /// Called after each append; three atomic loads unless the pipeline sleeps and enough has come.
    fn wake_pipeline(&self) {
        // The append before this is seen by whoever stores `wake_at` after it is read here.
        fence(Ordering::SeqCst);
        let wake_at = self.wake_at.load(Ordering::Acquire);
        if wake_at == u64::MAX {
            return;
        }
        let wake_at_sequence = self.wake_at_sequence.load(Ordering::Acquire);
        if self.log.end_position() >= wake_at || self.log.last_sequence() >= wake_at_sequence {
            self.wake_at.store(u64::MAX, Ordering::Release);
            self.wake.notify();
        }
    }

    /// Lets the first write from now on wake the pipeline: called before the log is looked at, so that a write after
    /// the look is not missed.
    fn wake_at_once(&self) {
        self.wake_at_sequence.store(u64::MAX, Ordering::Release);
        self.wake_at.store(self.log.end_position() + 1, Ordering::Release);
        fence(Ordering::SeqCst);
    }

    /// Lets a write wake the pipeline once so much more was written.
    fn wake_after(&self, look: Look) {
        self.wake_at_sequence.store(self.log.last_sequence().saturating_add(look.records), Ordering::Release);
        self.wake_at.store(self.log.end_position().saturating_add(look.bytes), Ordering::Release);
    }

    /// No write needs to wake the pipeline: it is awake.
    fn wake_never(&self) {
        self.wake_at.store(u64::MAX, Ordering::Release);
    }
}

impl Volume {
    pub(crate) fn new(
        identity: Identity,
        pool: Arc<Pool>,
        mut map: Map,
        writer: Option<Writer>,
    ) -> Arc<Self> {
        map.charge(pool.maps().memory().clone());
        let volume = Arc::new(Self {
            name: identity.name,
            id: identity.id,
            size_bytes: AtomicU64::new(identity.stored.size_bytes),
            ahead: ahead::Ahead::new(pool.fetcher()),
            effective: Mutex::new(identity.effective),
            pool,
            map: Sharded::new(map),
            stored: Mutex::new(identity.stored),
            running: AtomicBool::new(writer.is_some()),
            status: Mutex::new(if writer.is_some() { Status::Running } else { Status::ReadOnly }),
            writer,
            opened_sequence: identity.sequence,
            pieces: identity.pieces,
            pins: sweep::Pins::default(),
        });
        volume.pool.maps().add(&volume);
        volume
    }

    /// The volume's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The volume's id.
    pub fn id(&self) -> VolumeId {
        self.id
    }

    /// Its size in bytes now, a multiple of 4096.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes.load(Ordering::Acquire)
    }

    /// Whether this run may not write it.
    pub fn read_only(&self) -> bool {
        self.writer.is_none()
    }

    /// How many jobs of all volumes run or wait for a processor.
    pub fn background_jobs(&self) -> usize {
        self.pool.world().cpu.depth()
    }

    /// The writer, if writes are allowed now.
    pub(crate) fn writable(&self) -> Result<&Writer> {
        let Some(writer) = &self.writer else {
            return Err(EngineError::Invalid(format!("volume {} is open read-only", self.name)));
        };
        self.check_running()?;
        Ok(writer)
    }

    fn check_running(&self) -> Result<()> {
        if self.running.load(Ordering::Acquire) {
            return Ok(());
        }
        match &*self.status.lock() {
            Status::Running | Status::ReadOnly => Ok(()),
            Status::Draining | Status::Closed => Err(EngineError::Closing(self.name.clone())),
            Status::Failed(error) => Err(error.clone()),
        }
    }

    /// Fail-stop: the first failure stays, writes and flushes fail from now on; reads go on.
    pub(crate) fn stop(&self, error: &EngineError) {
        let mut status = self.status.lock();
        if matches!(*status, Status::Running | Status::Draining) {
            tracing::error!(volume = %self.name, %error, "the volume stops");
            *status = Status::Failed(error.clone());
        }
        drop(status);
        self.running.store(false, Ordering::Release);
        if let Some(writer) = &self.writer {
            writer.wake.notify();
            writer.room.notify();
        }
    }

    /// Seals, uploads and commits everything, and releases the volume. Writes fail from now on.
    /// Returns when the released head is settled, or with the reason why it cannot be.
    pub async fn drain(&self) -> Result<()> {
        let Some(writer) = &self.writer else {
            return Ok(());
        };
        {
            let mut status = self.status.lock();
            if matches!(*status, Status::Running) {
                *status = Status::Draining;
            }
            self.running.store(false, Ordering::Release);
        }
        writer.draining.store(true, Ordering::Release);
        writer.wake.notify();
        writer.room.notify();
        self.ended().await;
        writer.ended_with.lock().clone().expect("the pipeline has ended")
    }

    /// Whether it serves nothing any more, or only what can be read.
    pub(crate) fn has_stopped(&self) -> bool {
        matches!(*self.status.lock(), Status::Failed(_) | Status::Closed)
    }

    /// Waits until nothing is done for this volume any more: it was drained, or it stopped.
    pub(crate) async fn ended(&self) {
        if let Some(writer) = &self.writer {
            loop {
                let seen = writer.ended.generation();
                if writer.ended_with.lock().is_some() {
                    return;
                }
                writer.ended.wait_past(seen).await;
            }
        }
    }

    /// Whether requests to the store should not be tried again.
    fn gives_up(&self) -> bool {
        let abandoned = self.writer.as_ref().is_some_and(|writer| writer.abandoned.load(Ordering::Acquire));
        abandoned || matches!(*self.status.lock(), Status::Failed(_))
    }

    /// The pipeline has ended.
    fn closed(&self, writer: &Writer, outcome: Result<()>) {
        if outcome.is_ok() {
            *self.status.lock() = Status::Closed;
        }
        *writer.ended_with.lock() = Some(outcome);
        // Whoever waits for a new size, a point or properties hears that nobody makes them.
        drop((writer.resize.lock().take(), writer.take_points(), writer.take_sets()));
        writer.ended.notify();
        writer.room.notify();
    }

    /// Makes requests to the store that are tried again and again give up; what was not committed stays
    /// in the log for the next start.
    pub fn abandon(&self) {
        if let Some(writer) = &self.writer {
            writer.abandoned.store(true, Ordering::Release);
            writer.wake.notify();
        }
    }
}

#[cfg(test)]
mod tests;

/// Bytes to whole blocks.
pub(crate) fn blocks_of(bytes: u64) -> u64 {
    bytes / BLOCK_BYTES as u64
}
