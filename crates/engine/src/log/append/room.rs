//! Where the next record finds room: in the opening's chunk once that has its space, or in a fresh one.

use std::sync::atomic::Ordering;

use esker_format::chunk::CHUNK_HEADER_BYTES;

use super::{Appender, WriteBack, header};
use crate::{EngineError, Result, log::Log};

/// For so long after a write found no space, everything is sealed at once: its files may be the space that is missing.
const CRAMPED_MS: u64 = 10_000;

impl Log {
    /// Whether a write has found no space on the disk of late.
    pub(crate) fn is_cramped(&self, now_ms: u64) -> bool {
        now_ms < self.cramped_until_ms.load(Ordering::Acquire)
    }

    fn note_full(&self, error: &EngineError) {
        if matches!(error, EngineError::Disk(error) if error.no_space) {
            let now_ms = self.world.clock.monotonic().as_millis() as u64;
            self.cramped_until_ms.store(now_ms + CRAMPED_MS, Ordering::Release);
        }
    }

    /// Reserves the space of the opening's chunk, so that no write of a record finds the disk full. A failure leaves
    /// no trace, as one of `rotate`.
    #[cold]
    pub(super) fn reserve(&self, appender: &mut Appender) -> Result<()> {
        let file = appender.active.file.clone();
        let reserved = file.allocate(self.chunk_bytes).or_else(|error| {
            let room = error.no_space && appender.files.give_up_spares();
            if room { file.allocate(self.chunk_bytes) } else { Err(error) }
        });
        if let Err(error) = reserved {
            // What was there to be had is now in this file, where nobody has any use of it. There is no record in it.
            if let Err(error) = file.give_back(CHUNK_HEADER_BYTES as u64) {
                tracing::warn!(%error, "a part of a disk's last space stays reserved");
            }
            let error = error.into();
            self.note_full(&error);
            return Err(error);
        }
        appender.reserved = true;
        Ok(())
    }

    /// Goes on in a fresh chunk; returns the rest of the full one.
    pub(super) fn rotate(&self, appender: &mut Appender) -> Result<WriteBack> {
        let number = appender.active.number + 1;
        let synced = self.synced.load(Ordering::Acquire);
        let header = header(&self.world, &self.identity, number, appender.next_sequence, synced);
        let chunk = appender.files.activate(&header, self.chunk_bytes);
        let chunk = chunk.inspect_err(|error| self.note_full(error))?;
        self.table.insert(chunk.clone());
        appender.touched.push(chunk.clone());
        let full = std::mem::replace(&mut appender.active, chunk);
        appender.offset = CHUNK_HEADER_BYTES as u64;
        appender.align_next = false;
        let from = std::mem::take(&mut appender.written_back);
        Ok(WriteBack { chunk: full, from, to: appender.chunk_bytes() })
    }
}
