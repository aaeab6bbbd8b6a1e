//! Writes, trims and zeroes: checked, logged, published in log order, acknowledged.

use std::sync::Arc;

use esker_format::{
    BLOCK_BYTES,
    address::Address,
    chunk::{RECORD_BLOCKS_MAX, block_crc},
    ids::LogPosition,
};
use esker_io::{
    Bug, planted,
    sync::{ReadGuard, either},
};

use super::{
    Volume, Writer, blocks_of,
    change::{Change, Cut, OwnedChange, WriteStep, part_of},
};
use crate::{
    EngineError, Result,
    core::map::Map,
    log::{Entry, Payload},
};

const RECORD_BYTES_MAX: usize = RECORD_BLOCKS_MAX as usize * BLOCK_BYTES;

impl Volume {
    /// Does the changes in order, neighbouring whole-block writes in one append. `steps` gets one entry for each.
    pub fn change(&self, batch: &[Change<'_>], steps: &mut Vec<WriteStep>) {
        steps.clear();
        let mut group: Vec<(u64, &[u8])> = Vec::with_capacity(batch.len());
        for change in batch {
            if let Some(aligned) = self.as_whole_blocks(change) {
                group.push(aligned);
                continue;
            }
            self.write_group(&mut group, steps);
            let step = self.change_now(change).unwrap_or_else(WriteStep::Failed);
            steps.push(step);
        }
        self.write_group(&mut group, steps);
        assert_eq!(steps.len(), batch.len(), "each change has its answer");
    }

    /// Does one change, waiting for room and for the store.
    pub async fn change_later(self: Arc<Self>, change: OwnedChange) -> Result<()> {
        let (offset, length) = change.borrow().range();
        self.check_range(offset, length)?;
        self.room().await?;
        if let OwnedChange::Trim { .. } = change {
            return self.change_body(&change.borrow(), &Cut::of(offset, length));
        }
        let cut = Cut::of(offset, length);
        for (part_offset, part_length) in cut.parts() {
            let data = part_of(&change, offset, part_offset, part_length);
            self.write_part_later(part_offset, &data).await?;
        }
        self.change_body(&change.borrow(), &cut)
    }

    /// A write that covers whole blocks inside the volume.
    fn as_whole_blocks<'a>(&self, change: &Change<'a>) -> Option<(u64, &'a [u8])> {
        let Change::Write { offset, data } = *change else {
            return None;
        };
        let whole = offset.is_multiple_of(BLOCK_BYTES as u64) && data.len().is_multiple_of(BLOCK_BYTES);
        (whole && !data.is_empty() && self.check_range(offset, data.len() as u64).is_ok())
            .then_some((blocks_of(offset), data))
    }

    fn write_group(&self, group: &mut Vec<(u64, &[u8])>, steps: &mut Vec<WriteStep>) {
        if group.is_empty() {
            return;
        }
        match self.writable() {
            Ok(writer) if writer.is_full() => steps.extend(group.iter().map(|_| WriteStep::Later)),
            Ok(writer) => self.append_writes(writer, group, steps),
            Err(error) => steps.extend(group.iter().map(|_| WriteStep::Failed(error.clone()))),
        }
        group.clear();
    }

    /// Appends and publishes whole-block writes.
    fn append_writes(&self, writer: &Writer, writes: &[(u64, &[u8])], steps: &mut Vec<WriteStep>) {
        let crcs: Vec<u32> =
            writes.iter().flat_map(|(_, data)| data.chunks_exact(BLOCK_BYTES).map(block_crc)).collect();
        let mut rest = &crcs[..];
        let mut entries = Vec::with_capacity(writes.len());
        let mut last_entry = Vec::with_capacity(writes.len());
        for (lba, data) in writes {
            for (index, piece) in data.chunks(RECORD_BYTES_MAX).enumerate() {
                let (piece_crcs, behind) = rest.split_at(piece.len() / BLOCK_BYTES);
                rest = behind;
                let payload = Payload::Write { data: piece, crcs: piece_crcs };
                entries.push(Entry { lba: lba + index as u64 * RECORD_BLOCKS_MAX, payload });
            }
            last_entry.push(entries.len());
        }
        let mut positions = Vec::with_capacity(entries.len());
        // Rule W4: the guard is held from append to publish, so that nobody trims or inflates in between.
        let map = self.flat(&entries);
        let outcome = writer.log.append(&entries, &mut positions);
        self.publish(&map, &entries, &positions);
        drop(map);
        writer.wake_pipeline();
        let error = outcome.err().inspect(|error| self.failed(error));
        for needed in last_entry {
            let step = match &error {
                Some(error) if positions.len() < needed => WriteStep::Failed(error.clone()),
                _ => WriteStep::Done,
            };
            steps.push(step);
        }
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

    /// The map under a shared guard, with every leaf of `entries` ready to take positions.
    fn flat(&self, entries: &[Entry<'_>]) -> ReadGuard<'_, Map> {
        loop {
            let map = self.map.read();
            if entries.iter().all(|entry| map.is_flat(entry.lba, entry.blocks())) {
                return map;
            }
            drop(map);
            let mut map = self.map.write();
            for entry in entries {
                map.inflate(entry.lba, entry.blocks());
            }
        }
    }

    /// A failed append that stopped the log stops the volume; a full disk only fails the write.
    fn failed(&self, error: &EngineError) {
        if !matches!(error, EngineError::Disk(_)) {
            self.stop(error);
        }
    }

    /// Does a change that is not a whole-block write, if nothing has to be waited for.
    fn change_now(&self, change: &Change<'_>) -> Result<WriteStep> {
        let (offset, length) = change.range();
        self.check_range(offset, length)?;
        if self.writable()?.is_full() {
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
        self.change_body(change, &cut)?;
        Ok(WriteStep::Done)
    }

    /// The whole blocks of a change.
    fn change_body(&self, change: &Change<'_>, cut: &Cut) -> Result<()> {
        let writer = self.writable()?;
        let Some((lba, blocks)) = cut.body else {
            return Ok(());
        };
        match change {
            Change::Write { offset, data } => {
                let start = (lba * BLOCK_BYTES as u64 - offset) as usize;
                let data = &data[start..start + blocks as usize * BLOCK_BYTES];
                let mut steps = Vec::with_capacity(1);
                self.append_writes(writer, &[(lba, data)], &mut steps);
                match steps.pop() {
                    Some(WriteStep::Failed(error)) => Err(error),
                    _ => Ok(()),
                }
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
        loop {
            let (address, base) = self.try_read_block(lba)?;
            let mut block = match base {
                Some(block) => block,
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
    fn write_over(&self, lba: u64, base: Address, block: &[u8]) -> Result<bool> {
        let writer = self.writable()?;
        let crcs = [block_crc(block)];
        let entry = Entry { lba, payload: Payload::Write { data: block, crcs: &crcs } };
        let mut positions = Vec::with_capacity(1);
        let mut map = self.map.write();
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

    /// Waits until there is room below the dirty bound.
    async fn room(&self) -> Result<()> {
        loop {
            let writer = self.writable()?;
            let (seen, seen_by_all) = (writer.room.generation(), writer.budget.room.generation());
            if !writer.is_full() {
                return Ok(());
            }
            if writer.budget.is_full() {
                writer.budget.pressure.notify();
            }
            either(writer.room.wait_past(seen), writer.budget.room.wait_past(seen_by_all)).await;
        }
    }
}

fn patch(block: &mut [u8], offset: u64, data: &[u8]) {
    let start = (offset % BLOCK_BYTES as u64) as usize;
    block[start..start + data.len()].copy_from_slice(data);
}
