//! What is durable, and where: FLUSH on the local disk, FLUSH in the store, and what happens while the store lags.

use std::sync::Arc;

use esker_format::{
    head::Head,
    ids::Sequence,
    property::{Durability, OnLag},
};
use esker_io::{
    Bug, planted,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use super::{Committed, Status, Volume};
use crate::{EngineError, Result};

/// What the pipeline and the guests tell each other about the store.
#[derive(Debug, Default)]
pub(super) struct StoreSide {
    /// A FLUSH waits until the store has everything up to this sequence.
    wanted: AtomicU64,
    /// Writes wait until the store has caught up (rule W11).
    stalled: AtomicBool,
    /// The store has less than was promised.
    lags: AtomicBool,
}

impl StoreSide {
    /// The highest sequence that a FLUSH waits for.
    pub(super) fn wanted(&self) -> u64 {
        self.wanted.load(Ordering::Acquire)
    }

    /// Whether writes wait.
    pub(super) fn stalls(&self) -> bool {
        self.stalled.load(Ordering::Acquire) && !planted(Bug::StallIgnored)
    }

    /// Whether the store has less than was promised.
    pub(super) fn lags(&self) -> bool {
        self.lags.load(Ordering::Acquire)
    }

    /// Learns whether the store lags; says whether that is new, or what it means for writes.
    pub(super) fn set_lags(&self, lags: bool, on_lag: OnLag) -> bool {
        let stalls = lags && on_lag == OnLag::Stall;
        let stalled = self.stalled.swap(stalls, Ordering::AcqRel);
        self.lags.swap(lags, Ordering::AcqRel) != lags || stalled != stalls
    }
}

impl Committed {
    /// What a head says.
    pub(crate) fn of(head: &Head) -> Self {
        Self {
            number: head.number,
            epoch: head.epoch,
            sequence: head.sequence,
            covered: head.covered(),
            tail_segments: head.tail.len(),
            pieces: head.pieces.len(),
            piece_bytes: head.pieces.iter().map(|piece| u64::from(piece.bytes)).sum(),
        }
    }
}

impl Volume {
    /// Makes every write that was acknowledged before this call durable on the local disk. Blocks.
    pub fn flush(&self) -> Result<()> {
        let Some(writer) = &self.writer else {
            return Ok(());
        };
        self.check_running()?;
        let last = writer.log.last_sequence();
        writer.log.sync_to(last).inspect_err(|error| self.stop(error))
    }

    /// The highest sequence that was written; equal sequences mean equal contents.
    pub fn last_sequence(&self) -> Sequence {
        Sequence(self.writer.as_ref().map_or(self.opened_sequence, |writer| writer.log.last_sequence()))
    }

    /// The highest sequence that the store holds.
    pub fn committed_sequence(&self) -> Sequence {
        Sequence(self.writer.as_ref().map_or(self.opened_sequence, |writer| writer.committed.lock().sequence))
    }

    /// Log bytes that no segment in the store holds yet; pieces may.
    pub fn dirty_bytes(&self) -> u64 {
        self.writer.as_ref().map_or(0, |writer| writer.log.dirty_bytes())
    }

    /// Whether a FLUSH of everything that was acknowledged is done once the local disk has it: unless the volume's
    /// durability is `sync` and the store lacks some of it.
    pub fn is_stored(&self) -> bool {
        let Some(writer) = &self.writer else { return true };
        self.effective().durability != Durability::Sync
            || planted(Bug::FlushNotStored)
            || writer.committed.lock().sequence >= writer.log.last_sequence()
    }

    /// Waits until the store has every write that was acknowledged before this call, for as long as it takes. One
    /// commit serves all who wait when it begins.
    ///
    /// # Errors
    /// When the volume stops before.
    pub async fn stored_later(self: Arc<Self>) -> Result<()> {
        self.stored().await
    }

    /// See [`Volume::stored_later`].
    pub(super) async fn stored(&self) -> Result<()> {
        let Some(writer) = &self.writer else { return Ok(()) };
        let last = writer.log.last_sequence();
        writer.store.wanted.fetch_max(last, Ordering::AcqRel);
        writer.wake.notify();
        loop {
            let seen = writer.room.generation();
            if writer.committed.lock().sequence >= last {
                return Ok(());
            }
            match &*self.status.lock() {
                // A drain brings it to the store as well.
                Status::Running | Status::ReadOnly | Status::Draining => {}
                Status::Closed => return Err(EngineError::Closing(self.name.clone())),
                Status::Failed(error) => return Err(error.clone()),
            }
            writer.room.wait_past(seen).await;
        }
    }
}
