//! Waiting for room: below the dirty bound, in the memory of maps, and on the local disk.
//!
//! ```text
//!   append ──▶ no space for a chunk ──▶ the guest's write waits, the volume seals what it has, whatever its settings:
//!                 ▲                      files of the log come free with the commit
//!                 └── after a commit, or half a second ◀──┘      after ten seconds: ENOSPC
//! ```
//!
//! A full disk stops nothing. In numbered steps:
//! 1. Only a fresh chunk needs space. A write that finds none for it has changed nothing, and the log goes on behind
//!    what it has: reads, FLUSH, and writes that fit.
//! 2. Such a write waits here, for ten seconds in all. Guests take ENOSPC for a broken disk, and most full disks are full
//!    for a moment: of logs that the store is about to hold.
//! 3. While it waits the pipeline seals at once, as when the daemon's dirty bound is near.
//! 4. When there is space, from whomever, the next try finds it. Nothing has to be opened again.
//! 5. A failed write *into* a chunk is no full disk but a broken promise: its space was reserved. That stops the volume
//!    (I11).

use std::time::Duration;

use esker_io::{Bug, planted, sync::either};

use super::{Volume, WriteStep};
use crate::{EngineError, Result};

/// How long a write waits for space on the local disk.
const SPACE_PATIENCE: Duration = Duration::from_secs(10);
/// Space that others give back is not announced: it is looked for this often.
const SPACE_LOOK: Duration = Duration::from_millis(500);

/// How long a change has waited for space.
#[derive(Debug, Default)]
pub(super) struct Space {
    since: Option<Duration>,
}

/// What a change that was tried at once has come to: for want of space it waits.
pub(super) fn step_of(error: EngineError) -> WriteStep {
    if !wants_space(&error) {
        return WriteStep::Failed(error);
    }
    if planted(Bug::NoSpaceIsDone) { WriteStep::Done } else { WriteStep::Later }
}

fn wants_space(error: &EngineError) -> bool {
    matches!(error, EngineError::Disk(error) if error.no_space)
}

impl Volume {
    /// Waits until there is room below the dirty bound, and in the memory of maps.
    pub(super) async fn room(&self) -> Result<()> {
        loop {
            let writer = self.writable()?;
            let (seen, seen_by_all) = (writer.room.generation(), writer.budget.room.generation());
            let memory = self.pool.maps().memory();
            let seen_by_maps = memory.room.generation();
            if !writer.is_full() && !memory.is_full() {
                return Ok(());
            }
            if memory.is_full() {
                memory.count_wait();
                memory.crowded.notify();
            }
            if writer.budget.is_full() {
                writer.budget.pressure.notify();
            }
            let room = either(writer.room.wait_past(seen), writer.budget.room.wait_past(seen_by_all));
            either(room, memory.room.wait_past(seen_by_maps)).await;
        }
    }

    /// Waits until an append that failed for want of space may be tried again. Gives the error back when it has another
    /// reason, or when that has taken long enough.
    pub(super) async fn wait_for_space(&self, error: EngineError, space: &mut Space) -> Result<()> {
        let clock = &self.pool.world().clock;
        let now = clock.monotonic();
        let since = *space.since.get_or_insert(now);
        if !wants_space(&error) || now.saturating_sub(since) >= SPACE_PATIENCE {
            return Err(error);
        }
        let writer = self.writable()?;
        let seen = writer.room.generation();
        // The log knows that it is cramped; the pipeline looks again.
        writer.wake.notify();
        either(writer.room.wait_past(seen), clock.sleep(SPACE_LOOK)).await;
        self.room().await
    }
}
