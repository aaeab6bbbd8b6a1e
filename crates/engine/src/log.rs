//! A volume's append-only write log on the local disk.
//!
//! ```text
//! logical positions   0 ........ 32 MiB ........ 64 MiB ........ 96 MiB        62 bit, never reused
//! chunks              | chunk 0    | chunk 1       | chunk 2 ....|
//! a chunk             | header 4 KiB | record | record |pad| record | ...      one file of a fixed size
//! a record            | header, crc of each block | blocks |                   starts at a multiple of 64
//! ```
//!
//! Invariants:
//! 1. Sequences are dense, and a record is written under the lock that numbers it, so all records below
//!    the last one are wholly in the kernel: the contiguous watermark is the last sequence (rule W1).
//! 2. A record that follows a sync starts at a multiple of 4 KiB: what is synced is never written again.
//! 3. Each record names the highest sequence that was synced when it was written (rule W3), and all
//!    checksums are seeded with the chunk's salt, drawn at every use of a file (rule W2).
//! 4. A file is used again, or made ready for it, only after its records are committed, applied to the map, and no
//!    reader can hold a position in it (rule W9).
//!
//! After power loss, in numbered steps:
//! 1. [`scan`] sorts the chunks by number and walks the records from the last committed one.
//! 2. A missing record below a synced mark of its epoch is damage: the volume is refused, with the position.
//! 3. A missing record above it is a torn tail: the log ends there.
//! 4. The opening syncs what it found, claims the volume, and starts a fresh chunk of the new epoch whose
//!    first sequence says where the older epoch ended.

mod append;
mod chunk;
mod files;
mod resync;
pub(crate) mod scan;
mod spare;

use std::{collections::VecDeque, sync::Arc};

use esker_format::{
    chunk::{CHUNK_HEADER_BYTES, Record, RecordKind, record_header_bytes},
    ids::{LogId, VolumeId},
};
use esker_io::{
    Bug, World, planted,
    sync::{
        Condvar, Mutex,
        atomic::{AtomicBool, AtomicU64},
    },
};

pub(crate) use append::{Entry, Payload};
pub(crate) use chunk::ChunkTable;
pub(crate) use files::LogDirectory;

use crate::{EngineError, Result, budget::Budget};

/// A record in the log that no applied commit covers yet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pending {
    /// What the record says.
    pub(crate) record: Record,
    /// Logical position of its header.
    pub(crate) start: u64,
    /// Logical position behind it.
    pub(crate) end: u64,
    /// Monotonic milliseconds at which it was appended.
    pub(crate) at_ms: u64,
}

impl Pending {
    /// Logical position of its first block.
    pub(crate) fn position(&self) -> u64 {
        self.start + record_header_bytes(self.record.kind, self.record.blocks) as u64
    }

    /// What the record adds to a seal: its blocks, or one for a range.
    pub(crate) fn weight(&self) -> u64 {
        self.data_blocks().max(1)
    }

    /// Blocks whose contents lie in the log.
    pub(crate) fn data_blocks(&self) -> u64 {
        if self.record.kind == RecordKind::Write { self.record.blocks } else { 0 }
    }
}

/// Which log this is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogIdentity {
    pub(crate) volume: VolumeId,
    pub(crate) log: LogId,
    pub(crate) epoch: u64,
}

/// The log of one open volume.
pub(crate) struct Log {
    identity: LogIdentity,
    world: World,
    chunk_bytes: u64,
    table: ChunkTable,
    /// Where a file lies that is being prepared for use.
    shelf: Arc<spare::Shelf>,
    appender: Mutex<append::Appender>,
    syncing: Mutex<Syncing>,
    sync_ended: Condvar,
    /// Highest sequence known to be durable.
    synced: AtomicU64,
    /// Highest sequence in the kernel.
    last: AtomicU64,
    /// Logical position behind the last record.
    end: AtomicU64,
    /// Logical position below which everything is committed and applied.
    released: AtomicU64,
    /// Records that no applied commit covers.
    records: AtomicU64,
    /// Monotonic milliseconds up to which the disk counts as full.
    cramped_until_ms: AtomicU64,
    /// What all logs of the daemon may hold.
    budget: Arc<Budget>,
    closed: AtomicBool,
}

/// Who is syncing, and whether syncing is still allowed.
#[derive(Default)]
struct Syncing {
    running: bool,
    failed: Option<EngineError>,
}

/// The records that a seal or a piece takes.
#[derive(Debug, Default)]
pub(crate) struct Cut {
    /// In order, at least one.
    pub(crate) records: Vec<Pending>,
    /// Logical position behind the last.
    pub(crate) end: u64,
}

/// How much lies in the log and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Backlog {
    /// Blocks written by the records, and one for each trim or zero.
    pub(crate) blocks: u64,
    /// Monotonic milliseconds of the oldest of them.
    pub(crate) oldest_ms: Option<u64>,
}

/// Where a log starts in an opening.
pub(crate) struct LogStart {
    /// Chunks that are replayed from and kept until their records are committed.
    pub(crate) chunks: Vec<Arc<chunk::Chunk>>,
    /// Replayed records above the head's sequence.
    pub(crate) pending: VecDeque<Pending>,
    /// The next record's sequence.
    pub(crate) next_sequence: u64,
    /// The number of the fresh chunk.
    pub(crate) next_chunk: u64,
    /// Files that may be used again.
    pub(crate) files: files::ChunkFiles,
    pub(crate) budget: Arc<Budget>,
}

impl Log {
    /// Starts the log of a new epoch: a fresh chunk, durable before the first record.
    pub(crate) fn start(world: World, identity: LogIdentity, start: LogStart) -> Result<Self> {
        let table = ChunkTable::default();
        let mut files = start.files;
        files.adopt(start.chunks.len());
        for chunk in start.chunks {
            table.insert(chunk);
        }
        let header =
            append::header(&world, &identity, start.next_chunk, start.next_sequence, start.next_sequence - 1);
        // The rest of its space is reserved by the first append.
        let active = files.activate(&header, CHUNK_HEADER_BYTES as u64)?;
        active.file.sync()?;
        files.sync_names()?;
        let end = active.first_position();
        table.insert(active.clone());
        let released = start.pending.front().map_or(end, |first| first.start);
        let records = start.pending.len() as u64;
        start.budget.take(end - released);
        remove_files(&world, files.take_surplus());
        Ok(Self {
            identity,
            budget: start.budget,
            world,
            chunk_bytes: files.chunk_bytes,
            table,
            shelf: files.shelf(),
            appender: Mutex::new(append::Appender::new(files, active, start.next_sequence, start.pending)),
            syncing: Mutex::new(Syncing::default()),
            sync_ended: Condvar::new(),
            synced: AtomicU64::new(start.next_sequence - 1),
            last: AtomicU64::new(start.next_sequence - 1),
            end: AtomicU64::new(end),
            released: AtomicU64::new(released),
            records: AtomicU64::new(records),
            cramped_until_ms: AtomicU64::new(0),
            closed: AtomicBool::new(false),
        })
    }

    /// The bound that this log counts against.
    pub(crate) fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// The chunks that readers may resolve positions in.
    pub(crate) fn table(&self) -> &ChunkTable {
        &self.table
    }

    /// Highest sequence in the kernel: all records up to it survive the end of this process.
    pub(crate) fn last_sequence(&self) -> u64 {
        self.last.load(std::sync::atomic::Ordering::Acquire)
    }

    /// Highest sequence known to be durable.
    pub(crate) fn synced_sequence(&self) -> u64 {
        self.synced.load(std::sync::atomic::Ordering::Acquire)
    }

    /// Logical position behind the last record.
    pub(crate) fn end_position(&self) -> u64 {
        self.end.load(std::sync::atomic::Ordering::Acquire)
    }

    /// Log bytes that no applied commit covers.
    pub(crate) fn dirty_bytes(&self) -> u64 {
        use std::sync::atomic::Ordering::Acquire;
        // The end is read last, so that a release in between cannot make the difference negative.
        let released = self.released.load(Acquire);
        self.end.load(Acquire).saturating_sub(released)
    }

    /// Records that no applied commit covers; each takes memory, also one without blocks.
    pub(crate) fn pending_records(&self) -> u64 {
        self.records.load(std::sync::atomic::Ordering::Acquire)
    }

    /// What no head holds, neither in a segment nor in a piece.
    pub(crate) fn uncommitted(&self) -> Backlog {
        self.appender.lock().uncommitted()
    }

    /// The weight of the records that no applied commit of a segment covers.
    pub(crate) fn unsealed_blocks(&self) -> u64 {
        self.appender.lock().unsealed_blocks()
    }

    /// A head holds everything up to `sequence`.
    pub(crate) fn committed(&self, sequence: u64) {
        self.appender.lock().committed(sequence);
    }

    /// The records from sequence `from` on, for a piece; they stay what they are.
    pub(crate) fn copy(&self, from: u64, blocks_max: u64) -> Option<Cut> {
        self.appender.lock().copy(from, blocks_max)
    }

    /// Files that the log has, in use and spare.
    pub(crate) fn files(&self) -> usize {
        self.appender.lock().files()
    }

    /// What no seal has taken yet.
    pub(crate) fn backlog(&self) -> Backlog {
        self.appender.lock().backlog()
    }

    /// Takes the next records for a seal: at most `blocks_max` blocks, but at least one record.
    pub(crate) fn cut(&self, blocks_max: u64) -> Option<Cut> {
        self.appender.lock().cut(blocks_max)
    }

    /// Makes every record up to `sequence` durable. One sync serves all who wait for it.
    pub(crate) fn sync_to(&self, sequence: u64) -> Result<()> {
        use std::sync::atomic::Ordering::{Acquire, Release};
        assert!(sequence <= self.last_sequence(), "a sync was asked for a record that was not written");
        let mut syncing = self.syncing.lock();
        loop {
            if let Some(error) = &syncing.failed {
                return Err(error.clone());
            }
            if self.synced.load(Acquire) >= sequence {
                return Ok(());
            }
            if !syncing.running {
                break;
            }
            syncing = self.sync_ended.wait(syncing);
        }
        syncing.running = true;
        drop(syncing);
        let mut outcome = self.sync_now();
        if outcome.is_err() && planted(Bug::SyncRetried) {
            outcome = self.sync_now();
        }
        let mut syncing = self.syncing.lock();
        syncing.running = false;
        let answer = match outcome {
            Ok(covered) => {
                self.synced.store(covered, Release);
                Ok(())
            }
            Err(error) => {
                // I11: the pages may be marked clean now, so a later sync would lie.
                let stopped = self.stopped(&error.to_string());
                self.appender.lock().poison(stopped.clone());
                syncing.failed = Some(stopped.clone());
                Err(stopped)
            }
        };
        self.sync_ended.notify_all();
        answer
    }

    /// Syncs every chunk touched since the last sync; returns the sequence that is durable now.
    fn sync_now(&self) -> Result<u64> {
        let (covered, touched) = self.appender.lock().begin_sync();
        for chunk in touched.iter().filter(|_| !planted(Bug::SyncSkipped)) {
            chunk.file.sync()?;
        }
        Ok(covered)
    }

    fn stopped(&self, reason: &str) -> EngineError {
        EngineError::Stopped { volume: self.identity.volume.to_string(), reason: reason.to_owned() }
    }

    /// Forgets everything up to `end`, whose records are committed and applied. No reader may still hold a
    /// position below it: the caller took the map's exclusive guard once since the apply (rule W9).
    pub(crate) fn release(&self, end: u64) {
        use std::sync::atomic::Ordering::{AcqRel, Release};
        let mut appender = self.appender.lock();
        let released = appender.release(end);
        let before = self.released.swap(released, AcqRel);
        self.budget.give_back(released - before);
        self.records.store(appender.pending_records(), Release);
        for chunk in self.table.remove_below(released) {
            appender.recycle(&chunk);
        }
        let surplus = appender.take_surplus();
        drop(appender);
        remove_files(&self.world, surplus);
    }

    /// Refuses writes from now on if every record is released; false when there is one more to seal.
    pub(crate) fn close_if_released(&self) -> bool {
        let mut appender = self.appender.lock();
        let empty = appender.pending_records() == 0;
        if empty {
            appender.poison(EngineError::Closing(self.identity.volume.to_string()));
        }
        empty
    }

    /// Waits until no sync runs and no file is worked on, and stops the log for good.
    pub(crate) fn close(&self) {
        let mut syncing = self.syncing.lock();
        while syncing.running {
            syncing = self.sync_ended.wait(syncing);
        }
        let closing = EngineError::Closing(self.identity.volume.to_string());
        self.appender.lock().poison(closing.clone());
        syncing.failed.get_or_insert(closing);
        drop(syncing);
        self.shelf.close();
        self.leave_budget();
    }

    /// Nothing is appended or released any more: what stays here must not hold up other volumes.
    fn leave_budget(&self) {
        if !self.closed.swap(true, std::sync::atomic::Ordering::AcqRel) {
            self.budget.give_back(self.dirty_bytes());
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.shelf.close();
        self.leave_budget();
    }
}

fn remove_files(world: &World, paths: Vec<String>) {
    for path in paths {
        if let Err(error) = world.disk.remove(&path) {
            tracing::warn!(%error, "a log file that is no longer needed could not be removed");
        }
    }
}

#[cfg(test)]
mod tests;
