//! Making a replayed log durable.

use std::io::IoSlice;

use esker_format::chunk::CHUNK_HEADER_BYTES;

use super::{chunk::Chunk, scan::Scan};
use crate::Result;

/// How much is read and written at a time.
const PIECE_BYTES: u64 = 1 << 20;

impl Scan {
    /// Makes durable what was found: a replayed record must not be lost by a later power loss.
    ///
    /// What is not known to have been synced is written again first, byte for byte. After a failed sync the kernel
    /// takes the pages for clean: they can be read until they are evicted, and a sync does nothing for them.
    pub(crate) fn sync(&self) -> Result<()> {
        let synced = self.records.iter().map(|pending| pending.record.synced_sequence).max().unwrap_or(0);
        let doubtful = self.records.partition_point(|pending| pending.record.sequence <= synced);
        let doubtful = &self.records[doubtful..];
        for chunk in &self.chunks {
            let mut inside = doubtful
                .iter()
                .filter(|pending| (chunk.base()..chunk.end_position()).contains(&pending.start));
            let ends = inside.clone().next().zip(inside.next_back());
            if let Some((first, last)) = ends {
                write_again(chunk, 0, CHUNK_HEADER_BYTES as u64)?;
                write_again(chunk, first.start - chunk.base(), last.end - chunk.base())?;
            }
            chunk.file.sync()?;
        }
        Ok(())
    }
}

fn write_again(chunk: &Chunk, start: u64, end: u64) -> Result<()> {
    let mut piece = Vec::new();
    let mut at = start;
    while at < end {
        let next = (at + PIECE_BYTES).min(end);
        piece.resize((next - at) as usize, 0);
        chunk.file.read_at(&mut piece, at)?;
        chunk.file.write_at(&[IoSlice::new(&piece)], at)?;
        at = next;
    }
    Ok(())
}
