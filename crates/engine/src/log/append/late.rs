//! Writes that come too late: the planted bugs W1 and "ack before log".

use std::{io::IoSlice, sync::Arc};

use esker_io::{Bug, disk::Result, planted};

use crate::log::chunk::Chunk;

/// One write that was acknowledged and not done yet.
#[derive(Default)]
pub(crate) struct Late {
    held: Option<(Arc<Chunk>, Vec<u8>, u64)>,
}

impl Late {
    /// Does what was held back, or holds this write back; `None` when it should be written now.
    pub(crate) fn hold_back(
        &mut self,
        chunk: &Arc<Chunk>,
        slices: &[IoSlice<'_>],
        start: u64,
        sequence: u64,
    ) -> Option<Result<()>> {
        let hole = planted(Bug::HoleBelowAck);
        if !hole && !planted(Bug::AckBeforeLog) {
            return None;
        }
        if hole && !sequence.is_multiple_of(3) {
            // A write in the middle goes down at once, above the hole.
            if sequence % 3 == 2 {
                self.write_held();
            }
            return None;
        }
        self.write_held();
        let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        self.held = Some((chunk.clone(), bytes, start));
        Some(Ok(()))
    }

    fn write_held(&mut self) {
        if let Some((chunk, bytes, start)) = self.held.take() {
            let _ = chunk.file.write_at(&[IoSlice::new(&bytes)], start);
        }
    }
}
