//! What a volume says of itself.

use super::{Effective, Volume};
use crate::EngineError;

/// Whether a volume serves.
#[derive(Debug, Clone)]
pub enum Status {
    /// Reads and writes.
    Running,
    /// Reads.
    ReadOnly,
    /// On its way to the store before release; reads.
    Draining,
    /// Released.
    Closed,
    /// Stopped after a failure; reads as far as possible.
    Failed(EngineError),
}

/// A volume's figures at one moment.
#[derive(Debug, Clone)]
pub struct VolumeStatus {
    /// Its name.
    pub name: String,
    /// Its id, 32 hexadecimal digits.
    pub id: String,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Whether it serves.
    pub status: Status,
    /// Its settings after inheritance.
    pub effective: Effective,
    /// Highest sequence written.
    pub sequence: u64,
    /// Highest sequence known to be durable on the local disk.
    pub synced_sequence: u64,
    /// Highest sequence in the store.
    pub committed_sequence: u64,
    /// Log bytes that the store does not hold.
    pub dirty_bytes: u64,
    /// The bound on them.
    pub dirty_bytes_max: u64,
    /// The newest head.
    pub head: u64,
    /// The epoch of this run.
    pub epoch: u64,
    /// Segments not folded into pages.
    pub tail_segments: usize,
    /// Pieces in heads that no segment covers yet.
    pub pieces: usize,
    /// Their bytes.
    pub piece_bytes: u64,
    /// Memory of the map in bytes.
    pub map_bytes: usize,
    /// Age of the oldest write that the store does not hold, in milliseconds; 0 when it holds all.
    pub lag_ms: u64,
    /// Whether that is more than the volume's durability promises.
    pub lags: bool,
    /// Files of the log, in use and spare.
    pub log_files: usize,
}

impl Volume {
    /// The volume's figures now.
    pub fn status(&self) -> VolumeStatus {
        let committed = self.writer.as_ref().map(|writer| *writer.committed.lock()).unwrap_or_default();
        let log = self.writer.as_ref().map(|writer| &writer.log);
        let oldest_ms = log.and_then(|log| log.uncommitted().oldest_ms);
        let now_ms = self.pool.world().clock.monotonic().as_millis() as u64;
        VolumeStatus {
            name: self.name.clone(),
            id: self.id.to_string(),
            size_bytes: self.size_bytes(),
            status: self.status.lock().clone(),
            effective: self.effective(),
            sequence: self.last_sequence().0,
            synced_sequence: self.writer.as_ref().map_or(0, |writer| writer.log.synced_sequence()),
            committed_sequence: self.committed_sequence().0,
            dirty_bytes: self.dirty_bytes(),
            dirty_bytes_max: self.writer.as_ref().map_or(0, |writer| writer.limits.dirty_bytes_max),
            head: committed.number,
            epoch: committed.epoch,
            tail_segments: committed.tail_segments,
            pieces: committed.pieces,
            piece_bytes: committed.piece_bytes,
            map_bytes: self.map.read().memory_bytes(),
            lag_ms: oldest_ms.map_or(0, |oldest_ms| now_ms.saturating_sub(oldest_ms)),
            lags: self.writer.as_ref().is_some_and(|writer| writer.store.lags()),
            log_files: log.map_or(0, |log| log.files()),
        }
    }
}
