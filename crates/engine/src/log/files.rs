//! The files of a log, and where logs lie in the local directory.
//!
//! ```text
//! logs/<volume>/<log>/<n>.chunk      logs of volumes
//! aside/<volume>-<log>-<n>           logs that must not be replayed (rule H5), kept for their owner
//! ```
//!
//! How many files a log has: those that its chunks are in, and spares, as many as it has use for.
//! 1. While it is one chunk of which less than a quarter is written, none is made ahead; then as many as there are chunks
//!    in use, four at most. A steady load needs none to be made: the files of released chunks serve it.
//! 2. A release leaves at most as many spares as there are chunks in use, or eight where those are fewer.
//! 3. A release that leaves one chunk in use takes one spare more away, unless the stretch since the last such
//!    release had use for it: a burst's files go one by one, without a timer, as further writes are committed.
//! 4. An opening keeps one of the files that it finds for each chunk in use. They are cold: raw material for warm ones.

use std::{collections::VecDeque, sync::Arc};

use esker_format::{
    chunk::{CHUNK_HEADER_BYTES, ChunkHeader},
    ids::{LogId, VolumeId},
};
use esker_io::World;
use std::io::IoSlice;

pub(super) use super::spare::{FileRequest, Spare};
use super::{
    chunk::Chunk,
    remove_files,
    spare::{Next, Shelf, Warmth},
};
use crate::{EngineError, Result};

/// Spares that a short log may keep.
const SPARES_MAX: usize = 8;
/// Spares, new ones at least, that are made ahead of their use.
const NEW_AHEAD_MAX: usize = 4;
/// How many of them are made warm.
const WARM_AHEAD_MAX: usize = 2;

/// The largest record fits.
const CHUNK_BYTES_MIN: u64 = 2 << 20;

/// Where the logs of one volume lie.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogDirectory {
    /// The volume.
    pub(crate) volume: VolumeId,
    /// Bytes of each chunk file, and of the stretch of positions that it holds.
    pub(crate) chunk_bytes: u64,
}

impl LogDirectory {
    /// The directory of all logs of the volume.
    pub(crate) fn volume_path(&self) -> String {
        format!("logs/{}", self.volume)
    }

    /// The directory of one log.
    pub(crate) fn log_path(&self, log: LogId) -> String {
        format!("logs/{}/{log}", self.volume)
    }

    /// The logs that are there.
    pub(crate) fn logs(&self, world: &World) -> Result<Vec<LogId>> {
        let entries = world.disk.list(&self.volume_path())?;
        Ok(entries
            .iter()
            .filter(|entry| entry.directory)
            .filter_map(|entry| entry.name.parse().ok())
            .collect())
    }

    /// Creates the directory of a new log; the names on the way to it are durable.
    pub(crate) fn create(&self, world: &World, log: LogId) -> Result<()> {
        world.disk.create_dir(&self.log_path(log))?;
        self.sync_names(world, log)
    }

    /// Makes the names on the way to a log durable. One that is found may have been made by a run that was killed
    /// before it came to this.
    pub(crate) fn sync_names(&self, world: &World, log: LogId) -> Result<()> {
        for dir in ["", "logs", &self.volume_path(), &self.log_path(log)] {
            world.disk.sync_dir(dir)?;
        }
        Ok(())
    }

    /// Makes the directory that logs beside this one may be moved to.
    pub(crate) fn make_aside(&self, world: &World, log: LogId) -> Result<()> {
        if self.logs(world)?.iter().any(|other| *other != log) {
            world.disk.create_dir("aside")?;
        }
        Ok(())
    }

    /// Moves a log that must not be replayed out of the way; returns its new path.
    pub(crate) fn set_aside(&self, world: &World, log: LogId) -> Result<String> {
        world.disk.create_dir("aside")?;
        let taken = world.disk.list("aside")?;
        let mut path = String::new();
        for attempt in 0..=taken.len() {
            path = format!("{}-{log}-{attempt}", self.volume);
            if !taken.iter().any(|entry| entry.name == path) {
                break;
            }
        }
        let target = format!("aside/{path}");
        world.disk.rename(&self.log_path(log), &target)?;
        world.disk.sync_dir("aside")?;
        world.disk.sync_dir(&self.volume_path())?;
        world.disk.sync_dir("")?;
        Ok(target)
    }

    /// Removes all logs of a volume that was deleted.
    pub(crate) fn remove_all(&self, world: &World) -> Result<()> {
        for log in self.logs(world)? {
            self.remove(world, log)?;
        }
        Ok(())
    }

    /// Removes a log whose every record is committed.
    pub(crate) fn remove(&self, world: &World, log: LogId) -> Result<()> {
        world.disk.remove_dir(&self.log_path(log))?;
        world.disk.sync_dir(&self.volume_path())?;
        Ok(())
    }
}

/// The files of one log that are not in use, and the makers of new ones.
pub(crate) struct ChunkFiles {
    world: World,
    dir: String,
    pub(super) chunk_bytes: u64,
    next_file: u64,
    /// By warmth; of the warm ones the latest used last.
    spares: VecDeque<Spare>,
    /// The file that an opening's chunk will have. If the opening comes to nothing, it goes.
    first: Option<Spare>,
    /// Paths of files that are of no use: half made, or more than are kept.
    surplus: Vec<String>,
    shelf: Arc<Shelf>,
    /// A file is being prepared.
    preparing: bool,
    /// The last one could not be; another is asked for when a chunk has changed hands.
    failed: bool,
    /// A rotation has left no file for the next one, since a file was last asked for.
    hurried: bool,
    /// Chunks that hold records, or will next.
    in_use: usize,
    /// The most of them since there was only one.
    in_use_max: usize,
    /// The number of the first chunk of this run.
    first_own: Option<u64>,
}

impl ChunkFiles {
    /// The files of a log whose directory exists. `next_file` is above every file number there.
    pub(crate) fn new(
        world: World,
        (directory, log): (LogDirectory, LogId),
        next_file: u64,
        spares: Vec<Spare>,
        surplus: Vec<String>,
    ) -> Self {
        let (dir, chunk_bytes) = (directory.log_path(log), directory.chunk_bytes);
        assert!(chunk_bytes >= CHUNK_BYTES_MIN, "a chunk of {chunk_bytes} bytes");
        Self {
            world,
            dir,
            chunk_bytes,
            next_file,
            spares: spares.into(),
            first: None,
            surplus,
            shelf: Arc::default(),
            preparing: false,
            hurried: false,
            failed: false,
            in_use: 0,
            in_use_max: 0,
            first_own: None,
        }
    }

    /// Files that chunks are in, and spares.
    pub(super) fn count(&self) -> usize {
        self.in_use + self.spares.len()
    }

    /// An opening goes on with so many chunks that hold records.
    pub(super) fn adopt(&mut self, replayed: usize) {
        self.in_use = replayed;
        let kept = self.spares.len().min(SPARES_MAX).min(replayed + 1);
        self.surplus.extend(self.spares.drain(kept..).map(|spare| spare.path));
    }

    /// Where the file lies that is being prepared.
    pub(super) fn shelf(&self) -> Arc<Shelf> {
        self.shelf.clone()
    }

    /// Makes a file the chunk that `header` describes: a warm one, or a new one, or whatever there is on a full disk.
    /// Its first `reserved` bytes, the header at least, have their space.
    ///
    /// # Errors
    /// [`EngineError::Disk`] when there is no file and none can be made: nothing has happened.
    /// [`EngineError::Stopped`] when the header may or may not be in the file: no other file may get its number.
    pub(crate) fn activate(&mut self, header: &ChunkHeader, reserved: u64) -> Result<Arc<Chunk>> {
        let spare = self.take_spare(reserved)?;
        spare.file.write_at(&[IoSlice::new(&header.encode())], 0).map_err(|error| EngineError::Stopped {
            volume: header.volume.to_string(),
            reason: error.to_string(),
        })?;
        self.first_own.get_or_insert(header.chunk);
        self.in_use += 1;
        self.in_use_max = self.in_use_max.max(self.in_use);
        self.failed = false;
        Ok(Arc::new(Chunk::new(header, spare.path, spare.file, self.chunk_bytes)))
    }

    /// Has the file ready that an opening's chunk will have, with the space of its header.
    ///
    /// # Errors
    /// [`EngineError::Disk`] when there is no file and none can be made.
    pub(crate) fn make_first(&mut self) -> Result<()> {
        self.first = Some(self.take_spare(CHUNK_HEADER_BYTES as u64)?);
        Ok(())
    }

    fn take_spare(&mut self, reserved: u64) -> Result<Spare> {
        if let Some(first) = self.first.take() {
            // The rest of its space is reserved by the first append.
            assert!(reserved == CHUNK_HEADER_BYTES as u64, "an opening's chunk is the first to take a file");
            return Ok(first);
        }
        if let Some(ready) = self.spares.pop_back_if(|spare| spare.warmth >= Warmth::New) {
            self.hurried = self.ready(Warmth::New) == 0;
            return Ok(ready);
        }
        self.hurried = true;
        let number = self.next_number();
        Spare::create(&self.world, &self.dir, number, self.chunk_bytes, reserved)
            .or_else(|error| self.take_found(reserved).ok_or(error))
    }

    /// A file that an opening found, or the one on the shelf. One that never got its space, and cannot have it, makes
    /// room for the next.
    fn take_found(&mut self, reserved: u64) -> Option<Spare> {
        while let Some(spare) = self.spares.pop_back().or_else(|| self.shelf.take()) {
            if spare.file.allocate(reserved).is_ok() {
                return Some(spare);
            }
            let Spare { path, file, .. } = spare;
            drop(file);
            remove_files(&self.world, vec![path]);
        }
        None
    }

    /// Removes all files that are not in use, for the sake of their space; false when there was none.
    pub(super) fn give_up_spares(&mut self) -> bool {
        let paths: Vec<String> =
            self.spares.drain(..).chain(self.shelf.take()).map(|spare| spare.path).collect();
        let any = !paths.is_empty();
        remove_files(&self.world, paths);
        any
    }

    fn next_number(&mut self) -> u64 {
        self.next_file += 1;
        self.next_file - 1
    }

    /// How many spares there are that are at least so warm.
    fn ready(&self, warmth: Warmth) -> usize {
        self.spares.len() - self.spares.partition_point(|spare| spare.warmth < warmth)
    }

    /// Whether the next rotation would have to make a file itself, because one came sooner than another file was ready.
    pub(crate) fn lacks_file(&self) -> bool {
        self.hurried
    }

    /// A file that is to be made warm, where that leaves one for a rotation.
    fn take_lukewarm(&mut self) -> Option<Spare> {
        let enough = self.ready(Warmth::New) > 1;
        self.spares
            .pop_front_if(|spare| spare.warmth == Warmth::Cold || (spare.warmth == Warmth::New && enough))
    }

    /// A request for another file, or for a warmer one, when there are too few and none is on its way.
    pub(crate) fn wants_file(&mut self) -> Option<FileRequest> {
        if self.preparing || self.failed {
            return None;
        }
        let next = if self.ready(Warmth::New) < self.in_use.min(NEW_AHEAD_MAX) {
            Next::Create(self.next_number())
        } else if self.ready(Warmth::Warm) < self.in_use.min(WARM_AHEAD_MAX) {
            let spare = self.take_lukewarm()?;
            let next = if spare.warmth == Warmth::Cold { Next::Header } else { Next::Zeros(0) };
            // A log that has ended wants nothing any more.
            if !self.shelf.put(|| Ok(spare)).is_ok_and(|put| put) {
                return None;
            }
            next
        } else {
            return None;
        };
        self.preparing = true;
        self.hurried = false;
        let (shelf, dir) = (self.shelf.clone(), self.dir.clone());
        Some(FileRequest { shelf, dir, chunk_bytes: self.chunk_bytes, next })
    }

    /// Takes the file that was asked for, or learns that it could not be made.
    pub(crate) fn prepared(&mut self, spare: Option<Spare>) {
        self.preparing = false;
        self.failed = spare.is_none();
        spare.into_iter().for_each(|spare| self.keep(spare));
    }

    fn keep(&mut self, spare: Spare) {
        let place = self.spares.partition_point(|other| other.warmth <= spare.warmth);
        self.spares.insert(place, spare);
    }

    /// Takes back the file of a chunk that nobody needs any more.
    pub(crate) fn recycle(&mut self, chunk: &Chunk) {
        // One of an earlier run may have been filled in part only, and is not cached for certain.
        let warm = self.first_own.is_some_and(|first| chunk.number >= first);
        let warmth = if warm { Warmth::Warm } else { Warmth::Cold };
        self.keep(Spare { path: chunk.path.clone(), file: chunk.file.clone(), warmth });
        self.in_use -= 1;
        self.failed = false;
    }

    /// The paths of files that should be removed. Removing takes time: the caller does it without the lock.
    pub(crate) fn take_surplus(&mut self) -> Vec<String> {
        let mut kept = self.spares.len().min(SPARES_MAX.max(self.in_use));
        if self.in_use == 1 {
            // Stretches are not all of one length: what the last had use for, and what is made ahead.
            let used = if self.in_use_max == 1 { 1 } else { self.in_use_max + NEW_AHEAD_MAX };
            kept = kept.min(used.max(kept.saturating_sub(1)));
            self.in_use_max = 1;
        }
        let gone = self.spares.len() - kept;
        self.surplus.extend(self.spares.drain(..gone).map(|spare| spare.path));
        std::mem::take(&mut self.surplus)
    }

    /// Makes the names of all files durable.
    pub(crate) fn sync_names(&self) -> Result<()> {
        Ok(self.world.disk.sync_dir(&self.dir)?)
    }
}

impl Drop for ChunkFiles {
    fn drop(&mut self) {
        remove_files(&self.world, self.first.take().map(|spare| spare.path).into_iter().collect());
    }
}
