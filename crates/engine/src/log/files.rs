//! The files of a log, and where logs lie in the local directory.
//!
//! ```text
//! logs/<volume>/<log>/<n>.chunk      logs of volumes
//! aside/<volume>-<log>-<n>           logs that must not be replayed (rule H5), kept for their owner
//! ```

use std::sync::Arc;

use esker_format::{
    chunk::ChunkHeader,
    ids::{LogId, VolumeId},
};
use esker_io::{File, World};
use std::io::IoSlice;

use super::{SPARE_FILES_MAX, SPARE_FILES_MIN, chunk::Chunk};
use crate::{EngineError, Result};

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

/// A file that is not in use now.
pub(crate) struct Spare {
    pub(crate) path: String,
    pub(crate) file: Arc<dyn File>,
}

/// Asks for a new file; creating it takes time and no lock.
pub(crate) struct FileRequest {
    dir: String,
    number: u64,
    chunk_bytes: u64,
}

impl FileRequest {
    /// Creates the file: preallocated, its size and name durable.
    pub(crate) fn create(&self, world: &World) -> Result<Spare> {
        let path = format!("{}/{:08}.chunk", self.dir, self.number);
        let file = world.disk.create(&path)?;
        let prepared = file
            .allocate(self.chunk_bytes)
            .and_then(|()| file.sync())
            .and_then(|()| world.disk.sync_dir(&self.dir));
        if let Err(error) = prepared {
            // A file without its space would only be in the way; the first error is the one that counts.
            let _ = world.disk.remove(&path);
            return Err(error.into());
        }
        Ok(Spare { path, file })
    }
}

/// The files of one log that are not in use, and the makers of new ones.
pub(crate) struct ChunkFiles {
    world: World,
    dir: String,
    pub(super) chunk_bytes: u64,
    next_file: u64,
    spares: Vec<Spare>,
    /// Paths of files that are of no use: half made, or more than are kept.
    surplus: Vec<String>,
    preparing: bool,
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
        Self { world, dir, chunk_bytes, next_file, spares, surplus, preparing: false }
    }

    /// Makes a spare file (or a new one) the chunk that `header` describes.
    ///
    /// # Errors
    /// [`EngineError::Disk`] when there is no file and none can be made: nothing has happened.
    /// [`EngineError::Stopped`] when the header may or may not be in the file: no other file may get its number.
    pub(crate) fn activate(&mut self, header: &ChunkHeader) -> Result<Arc<Chunk>> {
        let spare = match self.spares.pop() {
            Some(spare) => spare,
            None => self.request().create(&self.world)?,
        };
        spare.file.write_at(&[IoSlice::new(&header.encode())], 0).map_err(|error| EngineError::Stopped {
            volume: header.volume.to_string(),
            reason: error.to_string(),
        })?;
        Ok(Arc::new(Chunk::new(header, spare.path, spare.file, self.chunk_bytes)))
    }

    fn request(&mut self) -> FileRequest {
        let number = self.next_file;
        self.next_file += 1;
        FileRequest { dir: self.dir.clone(), number, chunk_bytes: self.chunk_bytes }
    }

    /// A request for the file that the next rotation will want, when none is there or on its way.
    pub(crate) fn wants_file(&mut self) -> Option<FileRequest> {
        if self.preparing || self.spares.len() >= SPARE_FILES_MIN {
            return None;
        }
        self.preparing = true;
        Some(self.request())
    }

    /// Takes the file that was asked for, or learns that it could not be made.
    pub(crate) fn prepared(&mut self, spare: Option<Spare>) {
        self.preparing = false;
        self.spares.extend(spare);
    }

    /// Takes back the file of a chunk that nobody needs any more.
    pub(crate) fn recycle(&mut self, chunk: &Chunk) {
        self.spares.push(Spare { path: chunk.path.clone(), file: chunk.file.clone() });
    }

    /// The paths of files that should be removed. Removing takes time: the caller does it without the lock.
    pub(crate) fn take_surplus(&mut self) -> Vec<String> {
        let mut surplus = std::mem::take(&mut self.surplus);
        let kept = self.spares.len().min(SPARE_FILES_MAX);
        surplus.extend(self.spares.drain(kept..).map(|spare| spare.path));
        surplus
    }

    /// Makes the names of all files durable.
    pub(crate) fn sync_names(&self) -> Result<()> {
        Ok(self.world.disk.sync_dir(&self.dir)?)
    }
}
