//! Which entries the disk cache holds, in which file each lies, and which file is used again next.
//!
//! Files form two queues in the order of their beginnings, after S3-FIFO (Yang and others, SOSP 2023), with files in the
//! place of items, since only a whole file is cheap to write anew:
//! 1. A new entry goes into the newest trial file; trial files are a tenth of all.
//! 2. When the oldest trial file is used again, entries that were used since move to main; of the others the keys stay for a
//!    while, and who comes back in that time goes to main at once.
//! 3. When the oldest main file is used again, its used entries are written anew to main, the most used first.
//! 4. Of a main file at most half moves, so each use again makes room, and no entry is written more than three times on
//!    average.
//!
//! So a scan passes through a tenth of the cache and leaves the rest alone. An entry that the memory above holds counts as
//! used: its users do not come down here.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use esker_format::{
    cache::{CacheCatalogue, CacheEntry, CacheKey, CacheQueue, catalogue_bytes, entries_max},
    ids::PoolId,
};

/// Fewer files make no two queues.
pub const FILES_MIN: u32 = 8;
/// One of so many files is in the trial queue.
const TRIAL_PART: usize = 10;
/// Uses beyond this count no further.
const USES_MAX: u8 = 3;

/// How many files there are, and how large they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Bytes of each.
    pub file_bytes: u64,
    /// The most of them.
    pub files_max: u32,
}

impl Shape {
    /// The smallest files.
    pub const FILE_BYTES_MIN: u64 = 64 << 10;
    /// The largest.
    pub const FILE_BYTES_MAX: u64 = 8 << 20;

    /// The files of a cache of at most `bytes`; none if that is too little for a cache.
    pub fn within(bytes: u64) -> Option<Shape> {
        let file_bytes =
            (1_u64 << (bytes / 64).max(1).ilog2()).clamp(Self::FILE_BYTES_MIN, Self::FILE_BYTES_MAX);
        let files_max = u32::try_from(bytes / file_bytes).unwrap_or(u32::MAX);
        (files_max >= FILES_MIN).then_some(Shape { file_bytes, files_max })
    }

    /// The largest entry.
    pub fn entry_bytes_max(&self) -> u64 {
        self.file_bytes - catalogue_bytes(self.file_bytes)
    }
}

/// Where an entry lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The use of the file.
    pub order: u64,
    /// The file's number.
    pub file: u32,
    /// The salt of that use.
    pub salt: u64,
    /// Its first byte in the file.
    pub offset: u64,
    /// What it is.
    pub entry: CacheEntry,
}

/// Room for entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// The use of the file.
    pub order: u64,
    /// The file's number.
    pub file: u32,
    /// The salt of that use.
    pub salt: u64,
    /// The first free byte.
    pub offset: u64,
    /// How many bytes are free.
    pub bytes: u64,
    /// How many entries fit by their number.
    pub entries: usize,
}

/// Where the next file comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// A file that holds nothing, or does not exist yet.
    Free(u32),
    /// This one is used again.
    Again(u64),
}

/// An entry that moves to main.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Survivor {
    /// Where it lies until its file is written anew.
    pub place: Place,
    /// Uses that count for it still.
    pub uses: u8,
}

struct File {
    number: u32,
    queue: CacheQueue,
    salt: u64,
    items: Vec<Item>,
    /// Behind the last entry.
    end: u64,
}

struct Item {
    entry: CacheEntry,
    offset: u64,
    uses: u8,
}

/// What is in the files.
pub struct Kept {
    shape: Shape,
    /// By the order of their uses.
    files: BTreeMap<u64, File>,
    /// Use of a file, and which of its entries.
    places: BTreeMap<CacheKey, (u64, u32)>,
    /// The file that each queue writes now.
    open: [Option<u64>; 2],
    /// Numbers of files that hold nothing.
    free: Vec<u32>,
    next_order: u64,
    /// Keys that left the trial queue unused, oldest first.
    gone: VecDeque<CacheKey>,
    gone_keys: BTreeSet<CacheKey>,
    bytes: u64,
}

impl Kept {
    /// Files that hold nothing.
    pub fn new(shape: Shape) -> Self {
        Self {
            shape,
            files: BTreeMap::new(),
            places: BTreeMap::new(),
            open: [None; 2],
            free: (0..shape.files_max).rev().collect(),
            next_order: 1,
            gone: VecDeque::new(),
            gone_keys: BTreeSet::new(),
            bytes: 0,
        }
    }

    /// Takes over a file of an earlier run. Of two with one order, which no run makes, the second is left free.
    pub fn adopt(&mut self, number: u32, catalogue: CacheCatalogue) {
        let CacheCatalogue { salt, order, queue, entries, .. } = catalogue;
        if self.files.contains_key(&order) || order == u64::MAX {
            return;
        }
        self.free.retain(|free| *free != number);
        self.next_order = self.next_order.max(order + 1);
        let file =
            File { number, queue, salt, items: Vec::new(), end: catalogue_bytes(self.shape.file_bytes) };
        self.files.insert(order, file);
        for entry in entries {
            self.add(order, entry, 0);
        }
    }

    /// Where an entry lies; it counts as used.
    pub fn find(&mut self, key: CacheKey) -> Option<Place> {
        let (order, at) = *self.places.get(&key)?;
        let file = self.files.get_mut(&order).expect("an entry lies in a file");
        let item = &mut file.items[at as usize];
        item.uses = (item.uses + 1).min(USES_MAX);
        Some(Place { order, file: file.number, salt: file.salt, offset: item.offset, entry: item.entry })
    }

    /// Whether an entry is here; that does not count as a use.
    pub fn holds(&self, key: CacheKey) -> bool {
        self.places.contains_key(&key)
    }

    /// The queue that a new entry belongs to; none if it is here already, or larger than what is kept.
    pub fn queue_of(&self, key: CacheKey, bytes: usize) -> Option<CacheQueue> {
        if self.places.contains_key(&key) || bytes == 0 || bytes as u64 > self.shape.entry_bytes_max() {
            return None;
        }
        Some(if self.gone_keys.contains(&key) { CacheQueue::Main } else { CacheQueue::Trial })
    }

    /// What is left of the file that a queue writes.
    pub fn room(&self, queue: CacheQueue) -> Option<Room> {
        let order = self.open[queue as usize]?;
        let file = &self.files[&order];
        Some(Room {
            order,
            file: file.number,
            salt: file.salt,
            offset: file.end,
            bytes: self.shape.file_bytes - file.end,
            entries: entries_max(self.shape.file_bytes) - file.items.len(),
        })
    }

    /// An entry was written at the end of a file that is open.
    pub fn add(&mut self, order: u64, entry: CacheEntry, uses: u8) {
        let file = self.files.get_mut(&order).expect("what is written is a file");
        let at = file.items.len() as u32;
        file.items.push(Item { entry, offset: file.end, uses });
        file.end += u64::from(entry.bytes);
        assert!(file.end <= self.shape.file_bytes, "entries lie inside their file");
        self.bytes += u64::from(entry.bytes);
        self.places.insert(entry.key, (order, at));
        // In the line it stays until its turn comes.
        self.gone_keys.remove(&entry.key);
    }

    /// An entry is not what it should be. False when its file was used again meanwhile: then nothing is wrong.
    pub fn refuse(&mut self, place: &Place) -> bool {
        let key = place.entry.key;
        let here = self.places.get(&key).is_some_and(|(order, _)| *order == place.order);
        if here {
            self.places.remove(&key);
        }
        here
    }

    /// Where the next file comes from.
    pub fn next(&self) -> Next {
        if let Some(free) = self.free.last() {
            return Next::Free(*free);
        }
        let trial = self.files.values().filter(|file| file.queue == CacheQueue::Trial).count();
        let queue = if trial > self.shape.files_max as usize / TRIAL_PART {
            CacheQueue::Trial
        } else {
            CacheQueue::Main
        };
        let closed = || self.files.iter().filter(|(order, _)| !self.open.contains(&Some(**order)));
        let oldest = closed().find(|(_, file)| file.queue == queue).or_else(|| closed().next());
        Next::Again(*oldest.expect("more files than are open").0)
    }

    /// Empties a file; what moves to main has to be read before it is written anew.
    pub fn empty(&mut self, order: u64, in_memory: impl Fn(CacheKey) -> bool) -> Vec<Survivor> {
        let file = self.files.remove(&order).expect("what is emptied is a file");
        self.free.push(file.number);
        self.bytes -= file.items.iter().map(|item| u64::from(item.entry.bytes)).sum::<u64>();
        let mut moving = Vec::new();
        for (at, item) in (0_u32..).zip(&file.items) {
            let key = item.entry.key;
            // Otherwise it is refused, or was written again elsewhere.
            if self.places.get(&key) != Some(&(order, at)) {
                continue;
            }
            self.places.remove(&key);
            if item.uses > 0 || in_memory(key) {
                let place = Place {
                    order,
                    file: file.number,
                    salt: file.salt,
                    offset: item.offset,
                    entry: item.entry,
                };
                // In main it has to show itself anew; there it lives on what it has.
                let uses = if file.queue == CacheQueue::Main { item.uses.saturating_sub(1) } else { 0 };
                moving.push((item.uses, Survivor { place, uses }));
            } else if file.queue == CacheQueue::Trial && self.gone_keys.insert(key) {
                self.gone.push_back(key);
            }
        }
        self.forget_gone();
        if file.queue == CacheQueue::Main {
            moving.sort_by_key(|(uses, survivor)| (std::cmp::Reverse(*uses), survivor.place.offset));
            let mut room = self.shape.file_bytes / 2;
            moving.retain(|(_, survivor)| {
                let bytes = u64::from(survivor.place.entry.bytes);
                let fits = bytes <= room;
                room -= if fits { bytes } else { 0 };
                fits
            });
        }
        moving.into_iter().map(|(_, survivor)| survivor).collect()
    }

    /// As many keys are remembered as there are entries.
    fn forget_gone(&mut self) {
        while self.gone.len() > self.places.len() {
            let key = self.gone.pop_front().expect("it was counted");
            self.gone_keys.remove(&key);
        }
    }

    /// A file begins a new use; returns its order.
    pub fn begin(&mut self, queue: CacheQueue, number: u32, salt: u64) -> u64 {
        self.free.retain(|free| *free != number);
        let order = self.next_order;
        self.next_order += 1;
        let end = catalogue_bytes(self.shape.file_bytes);
        self.files.insert(order, File { number, queue, salt, items: Vec::new(), end });
        self.open[queue as usize] = Some(order);
        order
    }

    /// What the catalogue of a file says, and the file's number.
    pub fn catalogue(&self, order: u64, pool: PoolId) -> (u32, CacheCatalogue) {
        let file = &self.files[&order];
        let entries = file.items.iter().map(|item| item.entry).collect();
        (file.number, CacheCatalogue { pool, salt: file.salt, order, queue: file.queue, entries })
    }

    /// Entries that can be found.
    pub fn entries(&self) -> usize {
        self.places.len()
    }

    /// Bytes of entries in files.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Files that hold something.
    pub fn files(&self) -> usize {
        self.files.len()
    }

    /// About the memory that this takes: tree nodes are two thirds full or more.
    pub fn memory_bytes(&self) -> u64 {
        let items: usize = self.files.values().map(|file| file.items.capacity() * size_of::<Item>()).sum();
        let places = self.places.len() * size_of::<(CacheKey, (u64, u32))>() * 3 / 2;
        let gone = self.gone.len() * size_of::<CacheKey>() * 5 / 2;
        (items + places + gone) as u64
    }
}

#[cfg(test)]
mod tests;
