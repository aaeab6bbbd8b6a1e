//! Writing entries: in the background, from a short line; when that is full an entry is not kept.

use std::{collections::VecDeque, io::IoSlice, sync::Arc};

use bytes::Bytes;
use esker_format::cache::{CacheEntry, CacheKey, CacheQueue, entry_crc};
use esker_io::{Bug, disk::Result, planted, sync::atomic::Ordering};

use super::{DIRECTORY, DiskCache, WAITING_BYTES_MAX, path};
use crate::core::kept::{Next, Room};

/// What one job writes at most: other jobs have their turn in between.
const BATCH_BYTES: usize = 256 << 10;
/// A catalogue is written whenever so many bytes of entries are new in it.
const LISTED_EVERY: u64 = 1 << 20;

/// Entries that wait to be written.
#[derive(Default)]
pub(super) struct Waiting {
    line: VecDeque<Pending>,
    bytes: usize,
    /// A job is at it.
    writing: bool,
    closed: bool,
}

/// An entry on its way.
struct Pending {
    key: CacheKey,
    bytes: Bytes,
    /// For one that moves: its queue and its uses.
    moves: Option<u8>,
}

impl DiskCache {
    /// Keeps an entry, if there is time and room for it. Never waits.
    pub(crate) fn offer(self: &Arc<Self>, key: CacheKey, bytes: &[u8]) {
        if self.is_wanted(key, bytes.len()) && !self.try_push(key, || Bytes::copy_from_slice(bytes)) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Keeps entries, and waits for room in the line.
    pub(crate) async fn offer_all(self: &Arc<Self>, entries: impl Iterator<Item = (CacheKey, Bytes)>) {
        for (key, bytes) in entries {
            while self.is_wanted(key, bytes.len()) {
                let seen = self.moved.generation();
                if self.try_push(key, || bytes.clone()) {
                    break;
                }
                self.moved.wait_past(seen).await;
            }
        }
    }

    fn is_wanted(&self, key: CacheKey, bytes: usize) -> bool {
        !self.waiting.lock().closed && !self.rests() && self.state.lock().kept.queue_of(key, bytes).is_some()
    }

    fn try_push(self: &Arc<Self>, key: CacheKey, bytes: impl FnOnce() -> Bytes) -> bool {
        let mut waiting = self.waiting.lock();
        if waiting.bytes >= WAITING_BYTES_MAX {
            return false;
        }
        let bytes = bytes();
        waiting.bytes += bytes.len();
        waiting.line.push_back(Pending { key, bytes, moves: None });
        if !std::mem::replace(&mut waiting.writing, true) {
            drop(waiting);
            self.write_later();
        }
        true
    }

    fn write_later(self: &Arc<Self>) {
        let cache = self.clone();
        self.world.cpu.submit(Box::new(move || {
            let batch = cache.next_batch();
            let more = !batch.is_empty();
            if let Err(error) = cache.write(batch) {
                cache.rest(&error);
            }
            if more {
                cache.write_later();
            }
            cache.moved.notify();
        }));
    }

    /// What is written next; none ends the writing.
    fn next_batch(&self) -> VecDeque<Pending> {
        let mut waiting = self.waiting.lock();
        let (mut batch, mut bytes) = (VecDeque::new(), 0);
        while bytes < BATCH_BYTES
            && let Some(next) = waiting.line.pop_front()
        {
            bytes += next.bytes.len();
            batch.push_back(next);
        }
        waiting.bytes -= bytes;
        waiting.writing = !batch.is_empty();
        batch
    }

    fn write(&self, batch: VecDeque<Pending>) -> Result<()> {
        if self.rests() {
            self.dropped.fetch_add(batch.len() as u64, Ordering::Relaxed);
            return Ok(());
        }
        let mut lines = [VecDeque::new(), VecDeque::new()];
        for pending in batch {
            // The same entry may have waited twice.
            let queue = self.state.lock().kept.queue_of(pending.key, pending.bytes.len());
            if let Some(queue) = queue {
                lines[queue as usize].push_back(pending);
            }
        }
        for queue in [CacheQueue::Trial, CacheQueue::Main] {
            while let Some(first) = lines[queue as usize].front() {
                let room = self.state.lock().kept.room(queue);
                match room.filter(|room| room.entries > 0 && room.bytes >= first.bytes.len() as u64) {
                    Some(room) => self.append(queue, room, &mut lines[queue as usize])?,
                    // What moves goes to main, which comes behind.
                    None => {
                        let moving = self.begin(queue)?;
                        lines[CacheQueue::Main as usize].extend(moving);
                    }
                }
            }
        }
        Ok(())
    }

    /// Writes as many as fit, in one go, and then lets them be found.
    fn append(&self, queue: CacheQueue, room: Room, line: &mut VecDeque<Pending>) -> Result<()> {
        let (mut batch, mut free) = (Vec::new(), room.bytes);
        while batch.len() < room.entries
            && let Some(next) = line.pop_front_if(|next| next.bytes.len() as u64 <= free)
        {
            free -= next.bytes.len() as u64;
            batch.push(next);
        }
        let file = self.state.lock().files[&room.file].clone();
        let slices: Vec<_> = batch.iter().map(|pending| IoSlice::new(&pending.bytes)).collect();
        let early = planted(Bug::CacheListedEarly);
        if !early {
            file.write_at(&slices, room.offset)?;
        }
        let entries = batch.iter().map(|Pending { key, bytes, moves }| {
            let crc = entry_crc(room.salt, *key, bytes);
            (CacheEntry { key: *key, bytes: bytes.len() as u32, crc }, moves.unwrap_or(0))
        });
        let entries: Vec<_> = entries.collect();
        let mut state = self.state.lock();
        for (entry, uses) in entries {
            state.kept.add(room.order, entry, uses);
            state.unlisted[queue as usize] += u64::from(entry.bytes);
        }
        let listed = state.unlisted[queue as usize] < LISTED_EVERY;
        drop(state);
        if !listed || early {
            self.list(queue)?;
        }
        if early {
            file.write_at(&slices, room.offset)?;
        }
        file.start_write_back(room.offset, room.bytes - free);
        Ok(())
    }

    /// Begins the next file of a queue; returns what has to be written again of the one that it takes the place of.
    fn begin(&self, queue: CacheQueue) -> Result<Vec<Pending>> {
        self.list(queue)?;
        let next = self.state.lock().kept.next();
        let mut moving = Vec::new();
        let number = match next {
            Next::Free(number) => number,
            Next::Again(order) => {
                moving = self.empty(order);
                match self.state.lock().kept.next() {
                    Next::Free(number) => number,
                    Next::Again(_) => unreachable!("a file was emptied"),
                }
            }
        };
        let known = self.state.lock().files.get(&number).cloned();
        let file = match known {
            Some(file) => {
                // What it said is not so any more. Were this lost, its entries would be refused one by one.
                file.write_at(&[IoSlice::new(&[0; 512])], 0)?;
                file
            }
            None => {
                self.world.disk.create_dir(DIRECTORY)?;
                let file = self.world.disk.create(&path(number))?;
                file.set_size(self.shape.file_bytes)?;
                file
            }
        };
        let mut salt = [0; 8];
        self.world.random.fill(&mut salt);
        let mut state = self.state.lock();
        state.files.insert(number, file);
        state.kept.begin(queue, number, u64::from_le_bytes(salt));
        Ok(moving)
    }

    /// Empties a file, and reads what moves to main.
    fn empty(&self, order: u64) -> Vec<Pending> {
        let mut state = self.state.lock();
        let before = state.kept.entries();
        let survivors = state.kept.empty(order, &self.in_memory);
        let evicted = before - state.kept.entries() - survivors.len();
        self.evicted.fetch_add(evicted as u64, Ordering::Relaxed);
        let Some(first) = survivors.first() else { return Vec::new() };
        let file = state.files[&first.place.file].clone();
        drop(state);
        let moves = survivors.into_iter().filter_map(|survivor| {
            let entry = survivor.place.entry;
            let mut bytes = vec![0; entry.bytes as usize];
            file.read_at(&mut bytes, survivor.place.offset).ok()?;
            let fits = entry_crc(survivor.place.salt, entry.key, &bytes) == entry.crc;
            fits.then(|| Pending { key: entry.key, bytes: bytes.into(), moves: Some(survivor.uses) })
        });
        moves.collect()
    }

    /// Writes the catalogue of the file that a queue writes now.
    fn list(&self, queue: CacheQueue) -> Result<()> {
        let (file, catalogue) = {
            let mut state = self.state.lock();
            let Some(room) = state.kept.room(queue) else { return Ok(()) };
            state.unlisted[queue as usize] = 0;
            let (number, catalogue) = state.kept.catalogue(room.order, self.pool);
            (state.files[&number].clone(), catalogue)
        };
        file.write_at(&[IoSlice::new(&catalogue.encode())], 0)
    }

    /// Lets nothing more into the line; whether all of it is written.
    fn shut(&self) -> bool {
        let mut waiting = self.waiting.lock();
        waiting.closed = true;
        !waiting.writing
    }

    /// Writes what waits and lists it; nothing is kept after that.
    pub(crate) async fn close(self: &Arc<Self>) {
        loop {
            let seen = self.moved.generation();
            if self.shut() {
                break;
            }
            self.moved.wait_past(seen).await;
        }
        let cache = self.clone();
        let list =
            move || [CacheQueue::Trial, CacheQueue::Main].into_iter().try_for_each(|queue| cache.list(queue));
        if let Err(error) = esker_io::run(&*self.world.cpu, list).await {
            self.rest(&error);
        }
    }
}
