//! Another size for a volume that is open.
//!
//! The map's size is the size that is served: every request is checked against it under the map's guard. The size in
//! the newest head is the one that an opening believes, and a record of the log beyond it refuses the volume. So no
//! record may lie beyond the size of a head that such a record can outlive.
//!
//! Growing, in numbered steps. After a crash the volume has the old size up to step 2, the new one from there on:
//! 1. A root of the new height is written, if the height changes. Nobody names it yet.
//! 2. A head with the new size and that root is committed, alone: no segment or other root goes with it.
//! 3. The map grows. Only now writes beyond the old size are accepted: no record lies beyond the newest head's size.
//!
//! Shrinking begins with the pages of what is to be cut off, and goes on in numbered steps. After a crash the volume has the old size up to step 4, the new one from there on:
//! 1. Under the exclusive guard: all of the range is holes, or the volume stays as it is. The map shrinks, so nobody
//!    writes there any more; the last sequence is remembered.
//! 2. Everything up to that sequence is sealed, committed and folded into pages. Records of the range, such as the
//!    trim that made it holes, are then neither in the log above the newest head nor in the tail.
//! 3. A root of the new height is written, if the height changes.
//! 4. A head with the new size and that root is committed, alone.
//!
//! Whoever asked has the answer after the last step. A volume that stops in between says why, and its size is one of
//! the two. The pipeline's part is in `pipeline/resize.rs`.

use esker_format::BLOCK_BYTES;
use esker_io::sync::atomic::Ordering;
use futures_channel::oneshot;

use super::{Volume, Writer, blocks_of};
use crate::{
    EngineError, Result,
    core::map::Mapped,
    pool::{SIZE_BYTES_MAX, SIZE_BYTES_MIN},
};

/// How much of the map is read at a time before a shrink: holes cost next to nothing.
const LOAD_STEP_BLOCKS: u64 = 1 << 21;

/// Somebody waits for a size.
pub(super) struct Request {
    pub(super) size_bytes: u64,
    pub(super) answer: oneshot::Sender<Result<()>>,
}

impl Volume {
    /// Gives the volume another size, and returns when a head says so. Connections see it when they are made.
    ///
    /// # Errors
    /// [`EngineError::Invalid`] when the size makes no sense, or something is mapped behind the new end; then nothing
    /// has changed.
    pub async fn resize(&self, size_bytes: u64) -> Result<()> {
        let writer = self.writable()?;
        let whole = size_bytes.is_multiple_of(BLOCK_BYTES as u64);
        if !whole || !(SIZE_BYTES_MIN..=SIZE_BYTES_MAX).contains(&size_bytes) {
            return Err(EngineError::Invalid(format!(
                "the size of a volume is a multiple of {BLOCK_BYTES} bytes from 1 MiB to 1 PiB, not {size_bytes} bytes"
            )));
        }
        // What is found to be holes is still known when the pipeline looks.
        let rest = blocks_of(self.size_bytes().saturating_sub(size_bytes));
        let _pin = self.pin(blocks_of(size_bytes), rest);
        self.load_rest(size_bytes).await?;
        let (answer, answered) = oneshot::channel();
        {
            let mut waiting = writer.resize.lock();
            if waiting.is_some() {
                return Err(EngineError::Invalid(format!(
                    "volume {} is being resized; try again",
                    self.name
                )));
            }
            *waiting = Some(Request { size_bytes, answer });
        }
        // The pipeline takes what waits when it ends, after it has said so.
        if writer.ended_with.lock().is_some() {
            drop(writer.resize.lock().take());
        }
        writer.wake.notify();
        match answered.await {
            Ok(outcome) => outcome,
            Err(oneshot::Canceled) => {
                self.check_running()?;
                Err(EngineError::Closing(self.name.clone()))
            }
        }
    }

    /// Whether anything is mapped behind a new end must be known under the guard: reads the pages of what would be cut
    /// off, up to the first that maps something.
    async fn load_rest(&self, size_bytes: u64) -> Result<()> {
        let (mut at, end) = (blocks_of(size_bytes), blocks_of(self.size_bytes()));
        while at < end {
            let step = LOAD_STEP_BLOCKS.min(end - at);
            self.load_map(&self.pin(at, step)).await?;
            let mapped = self.map.read().mapped_in(at..at + step);
            if let Some(mapped) = mapped {
                return Err(self.not_empty(mapped, size_bytes));
            }
            at += step;
        }
        Ok(())
    }

    /// The map has another size from now on.
    pub(super) fn set_size(&self, size_bytes: u64) {
        let mut map = self.map.write();
        if blocks_of(size_bytes) > map.blocks() {
            map.grow(blocks_of(size_bytes));
        }
        self.size_bytes.store(size_bytes, Ordering::Release);
    }

    /// Step 1 of shrinking; gives the last sequence of that moment.
    pub(super) fn cut_off(&self, writer: &Writer, size_bytes: u64) -> Result<u64> {
        // A first look beside writers: what is mapped may take long to count.
        let blocks = blocks_of(size_bytes);
        let mapped = self.map.read().mapped_from(blocks);
        if let Some(mapped) = mapped {
            return Err(self.not_empty(mapped, size_bytes));
        }
        let mut map = self.map.write();
        if let Some(mapped) = map.mapped_from(blocks) {
            return Err(self.not_empty(mapped, size_bytes));
        }
        let garbage = map.shrink(blocks);
        self.size_bytes.store(size_bytes, Ordering::Release);
        let floor = writer.log.last_sequence();
        drop(map);
        // Freeing a large subtree takes a while: nobody waits for it.
        drop(garbage);
        Ok(floor)
    }

    fn not_empty(&self, mapped: Mapped, size_bytes: u64) -> EngineError {
        let block = BLOCK_BYTES as u64;
        EngineError::Invalid(format!(
            "volume {} cannot shrink to {size_bytes} bytes: at least {} bytes behind that are mapped, the first at {}; \
             trim them first",
            self.name,
            mapped.blocks * block,
            mapped.first * block
        ))
    }
}
