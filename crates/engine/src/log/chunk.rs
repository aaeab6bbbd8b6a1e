//! Open chunks, and where a logical position lies.

use std::{collections::VecDeque, sync::Arc};

use esker_format::{
    BLOCK_BYTES,
    chunk::{CHUNK_HEADER_BYTES, ChunkHeader, block_crc},
};
use esker_io::{
    Bug, File, planted,
    sync::{
        RwLock,
        atomic::{AtomicU32, Ordering},
    },
};

use crate::{EngineError, Result};

/// A chunk in use: its file, and the plain checksum of every block in it.
pub(crate) struct Chunk {
    pub(crate) number: u64,
    pub(crate) salt: u64,
    pub(crate) path: String,
    pub(crate) file: Arc<dyn File>,
    bytes: u64,
    /// By offset / 4096: two blocks of a chunk are at least 4096 bytes apart, so each has its own place.
    crcs: Box<[AtomicU32]>,
}

impl Chunk {
    pub(crate) fn new(header: &ChunkHeader, path: String, file: Arc<dyn File>, bytes: u64) -> Self {
        let crcs = (0..bytes / BLOCK_BYTES as u64).map(|_| AtomicU32::new(0)).collect();
        Self { number: header.chunk, salt: header.salt, path, file, bytes, crcs }
    }

    /// The position of its first byte.
    pub(crate) fn base(&self) -> u64 {
        self.number * self.bytes
    }

    /// The position of the first record.
    pub(crate) fn first_position(&self) -> u64 {
        self.base() + CHUNK_HEADER_BYTES as u64
    }

    /// The position behind the chunk.
    pub(crate) fn end_position(&self) -> u64 {
        (self.number + 1) * self.bytes
    }

    /// Remembers the checksums of consecutive blocks, the first of which lies at `offset`.
    pub(crate) fn remember(&self, offset: u64, crcs: &[u32]) {
        let first = offset as usize / BLOCK_BYTES;
        for (index, crc) in crcs.iter().enumerate() {
            // The map entry that leads a reader here is published later, with release order.
            self.crcs[first + index].store(*crc, Ordering::Relaxed);
        }
    }

    /// Reads whole consecutive blocks and checks each (guarantee 7).
    pub(crate) fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        assert!(buffer.len().is_multiple_of(BLOCK_BYTES), "the log is read in whole blocks");
        self.file.read_often_at(buffer, offset)?;
        let first = offset as usize / BLOCK_BYTES;
        for (index, block) in buffer.chunks_exact(BLOCK_BYTES).enumerate() {
            let expected = self.crcs[first + index].load(Ordering::Relaxed);
            let found = block_crc(block);
            if found != expected && !planted(Bug::CrcIgnored) {
                return Err(EngineError::Damaged {
                    object: format!("{} at offset {}", self.path, offset + (index * BLOCK_BYTES) as u64),
                    message: format!("expected checksum {expected:08x}, found {found:08x}"),
                });
            }
        }
        Ok(())
    }
}

/// The chunks that positions resolve in, oldest first.
#[derive(Default)]
pub(crate) struct ChunkTable {
    chunks: RwLock<VecDeque<Arc<Chunk>>>,
}

impl ChunkTable {
    pub(crate) fn insert(&self, chunk: Arc<Chunk>) {
        let mut chunks = self.chunks.write();
        assert!(chunks.back().is_none_or(|last| last.number < chunk.number), "chunk numbers only grow");
        chunks.push_back(chunk);
    }

    /// The chunk that holds `position`, and the offset in it.
    pub(crate) fn find(&self, position: u64) -> Option<(Arc<Chunk>, u64)> {
        let chunks = self.chunks.read();
        let chunk = chunks.get(chunks.partition_point(|chunk| chunk.end_position() <= position))?;
        Some((chunk.clone(), position.checked_sub(chunk.base())?))
    }

    /// Reads whole consecutive blocks that start at `position`.
    pub(crate) fn read(&self, position: u64, buffer: &mut [u8]) -> Result<()> {
        let (chunk, offset) = self.find(position).ok_or_else(|| EngineError::Damaged {
            object: format!("log position {position}"),
            message: "the map names it, but no chunk holds it".to_owned(),
        })?;
        chunk.read(offset, buffer)
    }

    /// Takes out the chunks that end at or below `position`.
    pub(crate) fn remove_below(&self, position: u64) -> Vec<Arc<Chunk>> {
        let mut chunks = self.chunks.write();
        let gone = chunks.iter().take_while(|chunk| chunk.end_position() <= position).count();
        chunks.drain(..gone).collect()
    }
}
