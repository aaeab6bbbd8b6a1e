//! Where the next record finds room: in the opening's chunk once that has its space, or in a fresh one.

use std::sync::atomic::Ordering;

use esker_format::chunk::CHUNK_HEADER_BYTES;

use super::{Appender, WriteBack, header};
use crate::{Result, log::Log};

impl Log {
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
            return Err(error.into());
        }
        appender.reserved = true;
        Ok(())
    }

    /// Goes on in a fresh chunk; returns the rest of the full one.
    pub(super) fn rotate(&self, appender: &mut Appender) -> Result<WriteBack> {
        let number = appender.active.number + 1;
        let synced = self.synced.load(Ordering::Acquire);
        let header = header(&self.world, &self.identity, number, appender.next_sequence, synced);
        let chunk = appender.files.activate(&header, self.chunk_bytes)?;
        self.table.insert(chunk.clone());
        appender.touched.push(chunk.clone());
        let full = std::mem::replace(&mut appender.active, chunk);
        appender.offset = CHUNK_HEADER_BYTES as u64;
        appender.align_next = false;
        let from = std::mem::take(&mut appender.written_back);
        Ok(WriteBack { chunk: full, from, to: appender.chunk_bytes() })
    }
}
