//! One file's bytes: what the device holds, what the kernel holds, and the writes between the two.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use bytes::Bytes;

use super::Survival;
use crate::Prng;

const PAGE_BYTES: usize = 4096;
/// The most that a device writes atomically.
const SECTOR_BYTES: u64 = 512;

/// Bytes with holes: absent pages are zero. Copies share pages until written.
#[derive(Clone, Default)]
pub(super) struct Sparse {
    bytes: u64,
    pages: BTreeMap<u64, Arc<[u8; PAGE_BYTES]>>,
}

impl Sparse {
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn grow(&mut self, bytes: u64) {
        self.bytes = self.bytes.max(bytes);
    }

    /// Reads within the size.
    pub(super) fn read(&self, offset: u64, buffer: &mut [u8]) {
        let mut done = 0;
        while done < buffer.len() {
            let (page, within) = split(offset + done as u64);
            let part = (PAGE_BYTES - within).min(buffer.len() - done);
            let target = &mut buffer[done..done + part];
            match self.pages.get(&page) {
                Some(bytes) => target.copy_from_slice(&bytes[within..within + part]),
                None => target.fill(0),
            }
            done += part;
        }
    }

    pub(super) fn write(&mut self, offset: u64, data: &[u8]) {
        let mut done = 0;
        while done < data.len() {
            let (page, within) = split(offset + done as u64);
            let part = (PAGE_BYTES - within).min(data.len() - done);
            let written = &data[done..done + part];
            done += part;
            let page = match self.pages.entry(page) {
                Entry::Occupied(page) => page.into_mut(),
                // A log is made of zeros, many of which are never overwritten.
                Entry::Vacant(_) if are_zeros(written) => continue,
                Entry::Vacant(place) => place.insert(Arc::new([0; PAGE_BYTES])),
            };
            Arc::make_mut(page)[within..within + part].copy_from_slice(written);
        }
        self.grow(offset + data.len() as u64);
    }

    /// Makes everything from `from` on zeros.
    fn clear(&mut self, from: u64) {
        let (page, within) = split(from);
        if let Some(bytes) = self.pages.get_mut(&page) {
            Arc::make_mut(bytes)[within..].fill(0);
        }
        self.pages.split_off(&(page + 1));
    }

    pub(super) fn flip(&mut self, offset: u64, bit: u8) {
        let mut byte = [0];
        self.read(offset, &mut byte);
        self.write(offset, &[byte[0] ^ (1 << bit)]);
    }
}

/// Whether there is nothing but zeros; as fast as memory.
pub(super) fn are_zeros(data: &[u8]) -> bool {
    data.chunks(PAGE_BYTES).all(|part| part == &[0; PAGE_BYTES][..part.len()])
}

fn split(offset: u64) -> (u64, usize) {
    (offset / PAGE_BYTES as u64, (offset % PAGE_BYTES as u64) as usize)
}

#[derive(Clone)]
enum Pending {
    Write {
        offset: u64,
        data: Bytes,
    },
    Grow {
        bytes: u64,
    },
    /// Zeros from here on.
    Clear {
        from: u64,
    },
}

impl Pending {
    fn apply(&self, to: &mut Sparse) {
        match self {
            Pending::Write { offset, data } => to.write(*offset, data),
            Pending::Grow { bytes } => to.grow(*bytes),
            Pending::Clear { from } => to.clear(*from),
        }
    }

    /// Applies any subset of the write's sectors.
    fn apply_torn(&self, to: &mut Sparse, random: &mut Prng) {
        let Pending::Write { offset, data } = self else { return };
        let mut start = *offset;
        let end = offset + data.len() as u64;
        while start < end {
            let next = ((start / SECTOR_BYTES + 1) * SECTOR_BYTES).min(end);
            if random.below(2) == 0 {
                to.write(start, &data[(start - offset) as usize..(next - offset) as usize]);
            }
            start = next;
        }
    }
}

/// How likely an unsynced change survives; drawn once per crash, so that crashes differ in kind.
pub(super) struct Odds {
    whole: u64,
    torn: u64,
}

impl Odds {
    pub(super) fn draw(random: &mut Prng) -> Self {
        let whole = random.between(0, 100);
        Self { whole, torn: random.between(0, 100 - whole) }
    }

    pub(super) fn survives(&self, random: &mut Prng) -> bool {
        random.below(100) < self.whole
    }
}

/// A file's contents.
#[derive(Clone, Default)]
pub(super) struct Content {
    durable: Sparse,
    current: Sparse,
    pending: Vec<Pending>,
}

impl Content {
    pub(super) fn current(&self) -> &Sparse {
        &self.current
    }

    pub(super) fn durable_bytes(&self) -> u64 {
        self.durable.bytes()
    }

    pub(super) fn unsynced(&self) -> usize {
        self.pending.len()
    }

    pub(super) fn write(&mut self, offset: u64, data: Bytes) {
        self.current.write(offset, &data);
        self.pending.push(Pending::Write { offset, data });
    }

    pub(super) fn grow(&mut self, bytes: u64) {
        if bytes > self.current.bytes() {
            self.current.grow(bytes);
            self.pending.push(Pending::Grow { bytes });
        }
    }

    pub(super) fn clear(&mut self, from: u64) {
        self.current.clear(from);
        self.pending.push(Pending::Clear { from });
    }

    pub(super) fn sync(&mut self) {
        for change in self.pending.drain(..) {
            change.apply(&mut self.durable);
        }
    }

    /// A failed sync, as on Linux: some of it reached the device, the rest is marked clean all the same.
    /// It stays readable, and no later sync writes it.
    pub(super) fn fail_sync(&mut self, random: &mut Prng) {
        let odds = Odds::draw(random);
        self.settle_subset(&odds, random);
    }

    /// What a power loss leaves.
    pub(super) fn lose_power(&mut self, survival: Survival, odds: &Odds, random: &mut Prng) {
        match survival {
            Survival::OnlySynced => self.pending.clear(),
            Survival::Everything => self.sync(),
            Survival::Subset(_) => self.settle_subset(odds, random),
        }
        self.current = self.durable.clone();
    }

    fn settle_subset(&mut self, odds: &Odds, random: &mut Prng) {
        for change in self.pending.drain(..) {
            let roll = random.below(100);
            if roll < odds.whole {
                change.apply(&mut self.durable);
            } else if roll < odds.whole + odds.torn {
                change.apply_torn(&mut self.durable, random);
            }
        }
    }

    /// Flips a bit on the device. Unless it waits to be overwritten, the next read sees it.
    pub(super) fn rot(&mut self, offset: u64, bit: u8) {
        self.durable.flip(offset, bit);
        let dirty = self.pending.iter().any(|change| match change {
            Pending::Write { offset: start, data } => (*start..start + data.len() as u64).contains(&offset),
            Pending::Grow { .. } => false,
            Pending::Clear { from } => offset >= *from,
        });
        if !dirty {
            let mut byte = [0];
            self.durable.read(offset, &mut byte);
            self.current.write(offset, &byte);
        }
    }
}
