//! Reads: one resolution against the map, log blocks copied under its guard, the rest from frames.

use std::sync::Arc;

use esker_format::{
    BLOCK_BYTES,
    address::{Address, AddressKind},
    page::Page,
};

use esker_io::{Bug, planted};

use super::{StoredMap, Volume, blocks_of, sweep::Pin};
use crate::{
    EngineError, Result, checkpoint,
    core::{
        fold::Place,
        map::{Extent, Map},
    },
    fetch::Part,
    seal::Blocks,
};

/// How a read went.
#[derive(Debug)]
pub enum ReadStep {
    /// The buffer is filled.
    Done,
    /// Something must come from the store: call [`Volume::read_later`]. The buffer's contents are unspecified.
    Later,
    /// It failed.
    Failed(EngineError),
}

/// What a stretch of a volume holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExtentState {
    /// Written data.
    Data,
    /// Never written, or trimmed: reads as zeros and takes no space.
    Hole,
    /// Zeros that were asked to be allocated, or written.
    Zero,
}

impl Volume {
    /// Reads `buffer.len()` bytes at `offset`, if nothing has to come from the store.
    pub fn read(&self, offset: u64, buffer: &mut [u8]) -> ReadStep {
        match self.try_read(offset, buffer) {
            Ok(true) => {
                let Aligned { lba, blocks, .. } = Aligned::around(offset, buffer.len());
                if self.ahead.is_marked(lba, blocks) {
                    self.reached_mark(lba, blocks);
                }
                ReadStep::Done
            }
            Ok(false) => ReadStep::Later,
            Err(error) => ReadStep::Failed(error),
        }
    }

    /// Reads `length` bytes at `offset`, waiting for the store.
    pub async fn read_later(self: Arc<Self>, offset: u64, length: usize) -> Result<Vec<u8>> {
        self.check_range(offset, length as u64)?;
        let aligned = Aligned::around(offset, length);
        self.faulted(aligned.lba, aligned.blocks);
        let mut blocks = vec![0; aligned.bytes];
        let pin = self.pin(aligned.lba, aligned.blocks);
        let parts = loop {
            match self.read_local(aligned.lba, &mut blocks)? {
                Found::Parts(parts) => break parts,
                Found::Unloaded => self.load_map(&pin).await?,
            }
        };
        if !parts.is_empty() {
            self.pool.fetcher().read(&parts, &mut blocks).await?;
        }
        blocks.drain(..aligned.skip);
        blocks.truncate(length);
        Ok(blocks)
    }

    fn try_read(&self, offset: u64, buffer: &mut [u8]) -> Result<bool> {
        self.check_range(offset, buffer.len() as u64)?;
        let aligned = Aligned::around(offset, buffer.len());
        if aligned.bytes == buffer.len() {
            return self.try_read_blocks(aligned.lba, buffer);
        }
        let mut blocks = vec![0; aligned.bytes];
        let done = self.try_read_blocks(aligned.lba, &mut blocks)?;
        if done {
            buffer.copy_from_slice(&blocks[aligned.skip..aligned.skip + buffer.len()]);
        }
        Ok(done)
    }

    pub(super) fn try_read_blocks(&self, lba: u64, buffer: &mut [u8]) -> Result<bool> {
        if buffer.len() == BLOCK_BYTES {
            // Most reads of a guest: nothing is allocated for one block.
            return Ok(self.try_read_one(lba, buffer)?.1);
        }
        Ok(match self.read_local(lba, buffer)? {
            Found::Parts(parts) => parts.is_empty() || self.pool.fetcher().try_read(&parts, buffer),
            Found::Unloaded => false,
        })
    }

    /// Fills in zeros and log blocks; returns what lies in segments.
    fn read_local(&self, lba: u64, buffer: &mut [u8]) -> Result<Found> {
        let mut extents = Vec::new();
        let mut parts = Vec::new();
        // The guard pins the log: no chunk is used again while a reader is inside (rule W9).
        let map = self.map.read();
        let blocks = (buffer.len() / BLOCK_BYTES) as u64;
        self.check_blocks(&map, lba, blocks)?;
        map.resolve(lba, blocks, &mut extents);
        for extent in extents {
            let start = ((extent.lba - lba) as usize) * BLOCK_BYTES;
            let end = start + extent.blocks as usize * BLOCK_BYTES;
            match extent.address.kind() {
                AddressKind::Hole | AddressKind::Zero => buffer[start..end].fill(0),
                AddressKind::Log(position) => self.read_log(position.0, &mut buffer[start..end])?,
                AddressKind::Segment(..) => {
                    parts.push(Part { address: extent.address, blocks: extent.blocks, offset: start });
                }
                AddressKind::Unloaded => return Ok(Found::Unloaded),
            }
        }
        Ok(Found::Parts(parts))
    }

    fn read_log(&self, position: u64, buffer: &mut [u8]) -> Result<()> {
        if let Some(pieces) = &self.pieces {
            return pieces.read(position, buffer);
        }
        let writer = self.writer.as_ref().expect("only a writer's map names the log");
        writer.log.table().read(position, buffer)
    }

    /// The block at `lba` with its address at that moment; `None` when it has to come from the store.
    pub(super) fn try_read_block(&self, lba: u64) -> Result<(Address, Option<Vec<u8>>)> {
        let mut block = vec![0; BLOCK_BYTES];
        let (address, here) = self.try_read_one(lba, &mut block)?;
        Ok((address, here.then_some(block)))
    }

    /// Reads one block; gives its address, and false when it has to come from the store.
    fn try_read_one(&self, lba: u64, block: &mut [u8]) -> Result<(Address, bool)> {
        // The guard pins the log: no chunk is used again while a reader is inside (rule W9).
        let map = self.map.read();
        self.check_blocks(&map, lba, 1)?;
        let address = map.get(lba);
        match address.kind() {
            AddressKind::Hole | AddressKind::Zero => block.fill(0),
            AddressKind::Log(position) => self.read_log(position.0, block)?,
            AddressKind::Unloaded => return Ok((address, false)),
            AddressKind::Segment(..) => {
                drop(map);
                let part = Part { address, blocks: 1, offset: 0 };
                return Ok((address, self.pool.fetcher().try_read(&[part], block)));
            }
        }
        Ok((address, true))
    }

    /// The block at a segment address, from the store if need be.
    pub(super) async fn fetch_block(&self, address: Address) -> Result<Vec<u8>> {
        let mut block = vec![0; BLOCK_BYTES];
        let part = Part { address, blocks: 1, offset: 0 };
        self.pool.fetcher().read(&[part], &mut block).await?;
        Ok(block)
    }

    /// Reads what the store's pages say of the pinned blocks.
    pub(super) async fn load_map(&self, pin: &Pin<'_>) -> Result<()> {
        // Again when something was let go of by a newer root meanwhile: pages of this one are not taken then.
        while !self.load_from_root(pin).await? {}
        Ok(())
    }

    /// Whether the pages were taken.
    async fn load_from_root(&self, pin: &Pin<'_>) -> Result<bool> {
        let StoredMap { root, size_bytes, sequence } = *self.stored.lock();
        let takes = |map: &Map| map.takes(sequence) || planted(Bug::FilledFromOlder);
        let Some(root) = root else {
            let mut map = self.map.write();
            if takes(&map) {
                map.fill_holes();
            }
            return Ok(takes(&map));
        };
        let (range, mut taken) = (pin.range(), true);
        let fill = |place: Place, page: &Page| {
            let mut map = self.map.write();
            if !takes(&map) {
                taken = false;
                return;
            }
            if place.level == 0 {
                self.pool.maps().memory().count_loaded();
            }
            #[cfg(feature = "planted")]
            if planted(Bug::FilledBlindly) && place.level == 0 {
                map.forget(place.index);
            }
            map.fill(place.level, place.index, page, &range);
        };
        checkpoint::load(self.pool.fetcher(), root, blocks_of(size_bytes), &range, fill).await?;
        Ok(taken)
    }

    /// What `length` bytes at `offset` hold, as (bytes, state) in order; `None` when the store's pages have to be read
    /// first: call [`Volume::extents_later`]. Ranges beyond the end are cut.
    pub fn extents(&self, offset: u64, length: u64) -> Option<Vec<(u64, ExtentState)>> {
        let block = BLOCK_BYTES as u64;
        let map = self.map.read();
        let end = offset.saturating_add(length).min(map.blocks() * block);
        if offset >= end {
            return Some(Vec::new());
        }
        let (first, last) = (offset / block, end.div_ceil(block));
        let mut extents = Vec::new();
        map.resolve(first, last - first, &mut extents);
        drop(map);
        let mut states: Vec<(u64, ExtentState)> = Vec::new();
        for Extent { lba, blocks, address } in extents {
            let state = match address.kind() {
                AddressKind::Unloaded => return None,
                AddressKind::Hole => ExtentState::Hole,
                AddressKind::Zero => ExtentState::Zero,
                AddressKind::Log(_) | AddressKind::Segment(..) => ExtentState::Data,
            };
            let bytes = ((lba + blocks) * block).min(end) - (lba * block).max(offset);
            match states.last_mut() {
                Some((before, last)) if *last == state => *before += bytes,
                _ => states.push((bytes, state)),
            }
        }
        Some(states)
    }

    /// [`Volume::extents`], waiting for the store.
    pub async fn extents_later(self: Arc<Self>, offset: u64, length: u64) -> Result<Vec<(u64, ExtentState)>> {
        let block = BLOCK_BYTES as u64;
        // Kept until the next look.
        let mut pin;
        loop {
            if let Some(extents) = self.extents(offset, length) {
                return Ok(extents);
            }
            let end = offset.saturating_add(length).min(self.size_bytes());
            let (first, last) = (offset / block, end.div_ceil(block));
            // Otherwise it has shrunk meanwhile, and the next look says so.
            if first < last {
                pin = self.pin(first, last - first);
                self.load_map(&pin).await?;
            }
        }
    }

    pub(super) fn check_range(&self, offset: u64, length: u64) -> Result<()> {
        if offset.checked_add(length).is_some_and(|end| end <= self.size_bytes()) {
            return Ok(());
        }
        Err(self.beyond_the_end(offset, length))
    }

    /// Checks a range once more, under the map's guard: the volume may have become smaller since it was asked for.
    #[inline]
    pub(super) fn check_blocks(&self, map: &Map, lba: u64, blocks: u64) -> Result<()> {
        if lba + blocks <= map.blocks() {
            return Ok(());
        }
        Err(self.beyond_the_end(lba * BLOCK_BYTES as u64, blocks * BLOCK_BYTES as u64))
    }

    #[cold]
    fn beyond_the_end(&self, offset: u64, length: u64) -> EngineError {
        EngineError::Invalid(format!(
            "the range of {length} bytes at {offset} reaches beyond the end of volume {} at {}",
            self.name,
            self.size_bytes()
        ))
    }
}

/// What a resolution against the map came to.
enum Found {
    /// What has to be copied out of segments; the rest is in the buffer.
    Parts(Vec<Part>),
    /// The map itself is not here yet.
    Unloaded,
}

/// The whole blocks around a range of bytes.
struct Aligned {
    lba: u64,
    blocks: u64,
    bytes: usize,
    /// Bytes of the first block before the range.
    skip: usize,
}

impl Aligned {
    #[inline]
    fn around(offset: u64, length: usize) -> Self {
        let block = BLOCK_BYTES as u64;
        let skip = (offset % block) as usize;
        let bytes = (skip + length).next_multiple_of(BLOCK_BYTES);
        Self { lba: offset / block, blocks: blocks_of(bytes as u64), bytes, skip }
    }
}
