//! Emptying a segment of which little lives: its blocks are written anew, like a guest's own writes, and leave with the
//! next seal (rule G5).
//!
//! For each block that the segment's index names, in numbered steps:
//! 1. Does the map still say this slot? What was overwritten since is left alone.
//! 2. Read it, through the reader of remote bytes.
//! 3. Append and publish it under the exclusive guard, if the map says the same address still: the way of a write of a part
//!    of a block (rule W5). Addresses are never used again, so an equal address is equal content.
//!
//! So a guest's write is never undone, whenever it comes: before 1 and 3 the address has changed, after 3 the newer record
//! wins. A crash in between leaves records that say what the map said. The old slots live until the heads that name them
//! are gone; then the whole segment is dead.

use std::time::Duration;

use esker_format::{
    address::Address,
    segment::{RunKind, SegmentIndex},
};
use esker_io::sync::Arc;

use super::Volume;
use crate::{EngineError, Result, core::slots::Slots};

/// Blocks between two rests.
const BATCH: u64 = 16;
/// How long it rests, so that guests have the log to themselves most of the time.
const REST: Duration = Duration::from_millis(10);

impl Volume {
    /// Writes those blocks anew that are in these slots of a segment. Returns how many there were.
    pub(crate) async fn reseal(
        self: &Arc<Self>,
        index: &SegmentIndex,
        live: &Slots,
        give_up: impl Fn() -> bool,
    ) -> Result<u64> {
        let mut moved = 0;
        for run in &index.runs {
            let RunKind::Data { first_slot } = run.kind else { continue };
            for block in (0..run.blocks).filter(|block| live.touches(first_slot + *block as u16, 1)) {
                // The log's room is for guests first.
                if give_up() || self.maps_are_full() {
                    return Ok(moved);
                }
                self.room().await?;
                let from = Address::segment(index.id, first_slot).plus(block);
                if self.reseal_block(run.lba + block, from).await? {
                    moved += 1;
                    if moved % BATCH == 0 {
                        self.pool.world().clock.sleep(REST).await;
                    }
                }
            }
        }
        Ok(moved)
    }

    async fn reseal_block(&self, lba: u64, from: Address) -> Result<bool> {
        if lba >= self.map.read().blocks() {
            return Ok(false);
        }
        let pin = self.pin(lba, 1);
        loop {
            let (address, base) = match self.try_read_block(lba) {
                // It has become smaller since.
                Err(EngineError::Invalid(_)) => return Ok(false),
                found => found?,
            };
            if address == Address::UNLOADED {
                self.load_map(&pin).await?;
                continue;
            }
            if address != from {
                return Ok(false);
            }
            let block = match base {
                Some(block) => block,
                None => self.fetch_block(address).await?,
            };
            return match self.write_over(lba, address, &block) {
                Err(EngineError::Invalid(_)) => Ok(false),
                written => written,
            };
        }
    }
}
