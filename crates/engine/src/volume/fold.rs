//! Folding the tail before it is long. A round of reclaim counts what pages and tails name; what the tail has overwritten
//! is named by both until it is folded, and would count as alive for as long as nothing more is written.

use esker_io::sync::atomic::Ordering;

use super::{Status, Volume, Writer};
use crate::Result;

impl Volume {
    /// Has everything that segments hold now folded into pages, and waits until a head says so. Costs nothing where there
    /// is no tail, and nothing where the volume is not written here.
    ///
    /// # Errors
    /// When the volume stops before.
    pub(crate) async fn fold(&self) -> Result<()> {
        let Some(writer) = &self.writer else { return Ok(()) };
        let covered = writer.committed.lock().covered;
        writer.fold_to.fetch_max(covered, Ordering::AcqRel);
        writer.wake.notify();
        loop {
            let seen = writer.room.generation();
            if self.stored_map().sequence >= covered {
                return Ok(());
            }
            match &*self.status.lock() {
                Status::Running | Status::ReadOnly | Status::Draining => {}
                // Whoever opens it next folds it.
                Status::Closed => return Ok(()),
                Status::Failed(error) => return Err(error.clone()),
            }
            writer.room.wait_past(seen).await;
        }
    }
}

impl Writer {
    /// Whether somebody waits for a root that holds more than this sequence.
    pub(super) fn wants_root_beyond(&self, root_sequence: u64) -> bool {
        self.fold_to.load(Ordering::Acquire) > root_sequence
    }
}
