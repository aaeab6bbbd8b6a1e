//! Writes, trims and zeroes: checked, logged, published in log order, acknowledged.

use std::sync::Arc;

use esker_format::{
    BLOCK_BYTES,
    address::Address,
    chunk::{RECORD_BLOCKS_MAX, block_crc},
    ids::LogPosition,
};
use esker_io::{Bug, emptied, planted, sync::ReadGuard};

use super::{
    Volume, Writer, blocks_of,
    change::{Change, Cut, OwnedChange, Scratch, WriteStep, part_of},
    room::{Space, step_of},
};
use crate::{
    EngineError, Result,
    core::map::Map,
    log::{Entry, Payload},
};

/// What a change does when the map would have to grow and has no memory for it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Growth {
    Waits,
    /// It has waited.
    Allowed,
}

const RECORD_BYTES_MAX: usize = RECORD_BLOCKS_MAX as usize * BLOCK_BYTES;

impl Volume {
    /// Does the changes in order, neighbouring whole-block writes in one append. `scratch.steps` gets one entry for
    /// each.
    pub fn change(&self, batch: &[Change<'_>], scratch: &mut Scratch) {
        scratch.steps.clear();
        let mut done = 0;
        for (index, change) in batch.iter().enumerate() {
            if self.is_whole_blocks(change) {
                continue;
            }
            self.write_group(&batch[done..index], scratch);
            let step = self.change_now(change, scratch).unwrap_or_else(step_of);
            scratch.steps.push(step);
            done = index + 1;
        }
        self.write_group(&batch[done..], scratch);
        assert_eq!(scratch.steps.len(), batch.len(), "each change has its answer");
    }

    /// Does one change, waiting for room and for the store.
    pub async fn change_later(self: Arc<Self>, change: OwnedChange) -> Result<()> {
        let (offset, length) = change.borrow().range();
        self.check_range(offset, length)?;
        self.room().await?;
        let mut space = Space::default();
        let cut = Cut::of(offset, length);
        if !matches!(change, OwnedChange::Trim { .. }) {
            for (part_offset, part_length) in cut.parts() {
                let data = part_of(&change, offset, part_offset, part_length);
                while let Err(error) = self.write_part_later(part_offset, &data).await {
                    self.wait_for_space(error, &mut space).await?;
                }
            }
        }
        while let Err(error) = self.change_body(&change.borrow(), &cut, &mut Scratch::default()) {
            self.wait_for_space(error, &mut space).await?;
        }
        Ok(())
    }

    /// Whether it is a write that covers whole blocks inside the volume.
    fn is_whole_blocks(&self, change: &Change<'_>) -> bool {
        let Change::Write { offset, data } = *change else {
            return false;
        };
        let whole = offset.is_multiple_of(BLOCK_BYTES as u64) && data.len().is_multiple_of(BLOCK_BYTES);
        whole && !data.is_empty() && self.check_range(offset, data.len() as u64).is_ok()
    }

    pub(super) fn write_group(&self, group: &[Change<'_>], scratch: &mut Scratch) {
        if group.is_empty() {
            return;
        }
        match self.writable() {
            Ok(writer) if writer.is_full() => scratch.steps.extend(group.iter().map(|_| WriteStep::Later)),
            // The steps say how it went.
            Ok(writer) => drop(self.append_writes(writer, group, scratch, Growth::Waits)),
            Err(error) => scratch.steps.extend(group.iter().map(|_| WriteStep::Failed(error.clone()))),
        }
    }

    /// Appends and publishes whole-block writes.
    fn append_writes(
        &self,
        writer: &Writer,
        writes: &[Change<'_>],
        scratch: &mut Scratch,
        growth: Growth,
    ) -> Result<()> {
        let Scratch { steps, crcs, entries, positions } = scratch;
        crcs.clear();
        crcs.extend(writes.iter().flat_map(|write| write.data().chunks_exact(BLOCK_BYTES).map(block_crc)));
        let mut rest = &crcs[..];
        let mut room: Vec<Entry<'_>> = std::mem::take(entries);
        for write in writes {
            let lba = blocks_of(write.range().0);
            for (index, piece) in write.data().chunks(RECORD_BYTES_MAX).enumerate() {
                let (piece_crcs, behind) = rest.split_at(piece.len() / BLOCK_BYTES);
                rest = behind;
                let payload = Payload::Write { data: piece, crcs: piece_crcs };
                room.push(Entry { lba: lba + index as u64 * RECORD_BLOCKS_MAX, payload });
            }
        }
        positions.clear();
        // Rule W4: the guard is held from append to publish, so that nobody trims or inflates in between.
        let outcome = match self.prepared(&room, growth) {
            Ok(Some(map)) => {
                let outcome = writer.log.append(&room, positions);
                self.publish(&map, &room, positions);
                outcome
            }
            Ok(None) => {
                steps.extend(writes.iter().map(|_| WriteStep::Later));
                *entries = emptied(room);
                return Ok(());
            }
            Err(error) => Err(error),
        };
        writer.wake_pipeline();
        if let Err(EngineError::Invalid(_)) = outcome
            && writes.len() > 1
        {
            // The volume's end came nearer since they were checked, and nothing was appended: only what lies behind
            // it fails, and the steps say which.
            *entries = emptied(room);
            for write in writes {
                let _ = self.append_writes(writer, std::slice::from_ref(write), scratch, growth);
            }
            return outcome;
        }
        let outcome = outcome.inspect_err(|error| self.failed(error));
        let mut needed = 0;
        for write in writes {
            needed += write.data().len().div_ceil(RECORD_BYTES_MAX);
            steps.push(match &outcome {
                Err(error) if positions.len() < needed => step_of(error.clone()),
                _ => WriteStep::Done,
            });
        }
        *entries = emptied(room);
        outcome
    }

    fn publish(&self, map: &Map, entries: &[Entry<'_>], positions: &[u64]) {
        for (entry, position) in entries.iter().zip(positions) {
            map.publish(entry.lba, entry.blocks(), LogPosition(*position));
        }
        #[cfg(feature = "planted")]
        if planted(Bug::PublishedBlindly) {
            for (entry, position) in entries.iter().zip(positions).rev() {
                map.publish_blindly(entry.lba, entry.blocks(), LogPosition(*position));
            }
        }
    }

    /// The map under a shared guard, with places for all of `entries`; none when it would have to grow and must not.
    fn prepared(&self, entries: &[Entry<'_>], growth: Growth) -> Result<Option<ReadGuard<'_, Map>>> {
        loop {
            let map = self.map.read();
            for entry in entries {
                self.check_blocks(&map, entry.lba, entry.blocks())?;
            }
            if entries.iter().all(|entry| map.prepare(entry.lba, entry.blocks())) {
                return Ok(Some(map));
            }
            drop(map);
            if growth == Growth::Waits && self.maps_are_full() {
                return Ok(None);
            }
            let mut map = self.map.write();
            for entry in entries {
                self.check_blocks(&map, entry.lba, entry.blocks())?;
                map.inflate(entry.lba, entry.blocks());
            }
        }
    }

    /// A failed append that stopped the log stops the volume; a full disk, or an end that came nearer, only fails the
    /// write.
    fn failed(&self, error: &EngineError) {
        if !matches!(error, EngineError::Disk(_) | EngineError::Invalid(_)) {
            self.stop(error);
        }
    }

    /// Does a change that is not a whole-block write, if nothing has to be waited for.
    fn change_now(&self, change: &Change<'_>, scratch: &mut Scratch) -> Result<WriteStep> {
        let (offset, length) = change.range();
        self.check_range(offset, length)?;
        if self.writable()?.is_full() || self.maps_are_full() {
            return Ok(WriteStep::Later);
        }
        let cut = Cut::of(offset, length);
        if !matches!(change, Change::Trim { .. }) {
            for (part_offset, part_length) in cut.parts() {
                let written = match change {
                    Change::Write { data, .. } => {
                        let start = (part_offset - offset) as usize;
                        self.write_part_now(part_offset, &data[start..start + part_length as usize])?
                    }
                    _ => self.write_part_now(part_offset, &vec![0; part_length as usize])?,
                };
                if !written {
                    return Ok(WriteStep::Later);
                }
            }
        }
        self.change_body(change, &cut, scratch)?;
        Ok(WriteStep::Done)
    }

    /// The whole blocks of a change.
    fn change_body(&self, change: &Change<'_>, cut: &Cut, scratch: &mut Scratch) -> Result<()> {
        let writer = self.writable()?;
        let Some((lba, blocks)) = cut.body else {
            return Ok(());
        };
        match change {
            Change::Write { offset, data } => {
                let start = (lba * BLOCK_BYTES as u64 - offset) as usize;
                let data = &data[start..start + blocks as usize * BLOCK_BYTES];
                let offset = lba * BLOCK_BYTES as u64;
                let write = Change::Write { offset, data };
                let outcome = self.append_writes(writer, &[write], scratch, Growth::Allowed);
                scratch.steps.pop();
                outcome
            }
            Change::Trim { .. } | Change::Zero { may_trim: true, .. } => {
                self.set_range(writer, lba, Payload::Hole { blocks }, Address::HOLE)
            }
            Change::Zero { .. } => self.set_range(writer, lba, Payload::Zero { blocks }, Address::ZERO),
        }
    }

    /// Logs and publishes a trim or zero under the exclusive guard (rule W4): what a writer finds in the map
    /// as a hole is then always older than its own record.
    fn set_range(&self, writer: &Writer, lba: u64, payload: Payload<'_>, to: Address) -> Result<()> {
        let entry = Entry { lba, payload };
        let mut positions = Vec::with_capacity(1);
        let mut map = self.map.write();
        self.check_blocks(&map, lba, entry.blocks())?;
        let outcome = writer.log.append(&[entry], &mut positions);
        let garbage = outcome.is_ok().then(|| map.set_range(lba, entry.blocks(), to));
        drop(map);
        // Freeing a large subtree takes a while: nobody waits for it.
        drop(garbage);
        writer.wake_pipeline();
        outcome.inspect_err(|error| self.failed(error))
    }

    /// Writes a part of one block if its base is at hand; false when it must come from the store.
    fn write_part_now(&self, offset: u64, data: &[u8]) -> Result<bool> {
        let lba = blocks_of(offset);
        loop {
            let (address, Some(mut block)) = self.try_read_block(lba)? else {
                return Ok(false);
            };
            patch(&mut block, offset, data);
            if self.write_over(lba, address, &block)? {
                return Ok(true);
            }
        }
    }

    async fn write_part_later(&self, offset: u64, data: &[u8]) -> Result<()> {
        let lba = blocks_of(offset);
        let pin = self.pin(lba, 1);
        loop {
            let (address, base) = self.try_read_block(lba)?;
            let mut block = match base {
                Some(block) => block,
                None if address == Address::UNLOADED => {
                    self.load_map(&pin).await?;
                    continue;
                }
                None => self.fetch_block(address).await?,
            };
            patch(&mut block, offset, data);
            if self.write_over(lba, address, &block)? {
                return Ok(());
            }
        }
    }

    /// Writes `block` if its entry is still the one that its base was read from (rule W5). The exclusive guard
    /// orders the writers of parts of one block; positions are never reused, so an equal entry is equal content.
    pub(super) fn write_over(&self, lba: u64, base: Address, block: &[u8]) -> Result<bool> {
        let writer = self.writable()?;
        let crcs = [block_crc(block)];
        let entry = Entry { lba, payload: Payload::Write { data: block, crcs: &crcs } };
        let mut positions = Vec::with_capacity(1);
        let mut map = self.map.write();
        self.check_blocks(&map, lba, 1)?;
        if map.get(lba) != base && !planted(Bug::BaseNotChecked) {
            return Ok(false);
        }
        map.inflate(lba, 1);
        let outcome = writer.log.append(&[entry], &mut positions);
        if let Some(position) = positions.first() {
            map.publish(lba, 1, LogPosition(*position));
        }
        drop(map);
        writer.wake_pipeline();
        outcome.inspect_err(|error| self.failed(error))?;
        Ok(true)
    }

    pub(super) fn maps_are_full(&self) -> bool {
        self.pool.maps().memory().is_full()
    }
}

fn patch(block: &mut [u8], offset: u64, data: &[u8]) {
    let start = (offset % BLOCK_BYTES as u64) as usize;
    block[start..start + data.len()].copy_from_slice(data);
}
