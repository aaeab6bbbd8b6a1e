//! How long a front end pauses, so that no queue builds up that the store cannot drain.

use std::time::Duration;

use esker_format::BLOCK_BYTES;

use super::{Volume, Writer};

impl Volume {
    /// How long to pause after changes of so many bytes before the next ones of the same connection are taken; zero as
    /// long as there is plenty of room, at the price of four atomic loads.
    ///
    /// Call it once for each batch, after its answers were sent: the pause is for the next batch. Count a change
    /// without data as one block. Everything that was admitted on any connection is in the answer, at most 200 ms. Who
    /// cannot pause for so long in one go, because reads of the same connection come in, pauses for a part, and asks
    /// again with no bytes before it takes changes: then the rest is said. The bound holds also without any pause; it
    /// is then met at full speed, and writes wait there.
    pub fn pause_after(&self, bytes: u64) -> Duration {
        let Some(writer) = &self.writer else {
            return Duration::ZERO;
        };
        let dirty = writer.dirty_weight();
        if !writer.pacer.paces(dirty) && !writer.budget.paces() {
            return Duration::ZERO;
        }
        let now = self.pool.world().clock.monotonic();
        writer.pacer.pause(bytes, dirty, now).max(writer.budget.pause(bytes, now))
    }
}

impl Writer {
    /// What no applied commit covers, in bytes of log or in records, whichever is nearer to its bound.
    pub(super) fn dirty_weight(&self) -> u64 {
        let records = self.log.pending_records() * BLOCK_BYTES as u64;
        self.log.dirty_bytes().max(records)
    }

    /// Learns that `bytes` of log were released because they are in the store.
    pub(super) fn came_back(&self, bytes: u64, now: Duration) {
        self.pacer.came_back(bytes, self.dirty_weight(), now);
        self.budget.came_back(bytes, now);
    }
}
