//! A directory of the host's file system as a [`Disk`].

use std::{
    fs,
    io::{self, ErrorKind, IoSlice},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Component, Path, PathBuf},
    sync::{Arc, OnceLock},
};

use rustix::{
    fs::{CWD, FallocateFlags, RenameFlags},
    io::Errno,
};

use super::{Disk, DiskError, Entry, File, Result, mapped::Mapping};

/// The most buffers that one system call takes (Linux's `UIO_MAXIOV`).
const BUFFERS_MAX: usize = 1024;

/// A directory of the host's file system.
#[derive(Debug)]
pub struct LocalDisk {
    root: PathBuf,
}

impl LocalDisk {
    /// A disk at `root`, which is made (durably) when it does not exist.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self> {
        let root = root.into();
        let shown = root.display().to_string();
        // An empty path is the current directory everywhere but in system calls.
        let root = if root.as_os_str().is_empty() { PathBuf::from(".") } else { root };
        make_dirs(&root).map_err(|error| failed("create directory", &shown, &error))?;
        Ok(Self { root })
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn path(&self, operation: &'static str, path: &str) -> Result<PathBuf> {
        let plain = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
        if !plain || path.contains('\0') {
            let message = "not a plain path below the directory".to_owned();
            return Err(DiskError {
                operation,
                path: path.to_owned(),
                not_found: false,
                no_space: false,
                message,
            });
        }
        Ok(self.root.join(path))
    }

    fn open_file(&self, operation: &'static str, path: &str, create: bool) -> Result<Arc<dyn File>> {
        let full = self.path(operation, path)?;
        let mut options = fs::OpenOptions::new();
        // O_CLOEXEC is the standard library's default.
        let file = options.read(true).write(true).create_new(create).mode(0o600).open(full);
        let file = file.map_err(|error| failed(operation, path, &error))?;
        Ok(Arc::new(LocalFile { file, path: path.to_owned(), mapping: OnceLock::new() }))
    }
}

impl Disk for LocalDisk {
    fn open(&self, path: &str) -> Result<Arc<dyn File>> {
        self.open_file("open", path, false)
    }

    fn create(&self, path: &str) -> Result<Arc<dyn File>> {
        self.open_file("create", path, true)
    }

    fn list(&self, dir: &str) -> Result<Vec<Entry>> {
        let failed = |error: &io::Error| failed("list", dir, error);
        let entries = match fs::read_dir(self.path("list", dir)?) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(&error)),
        };
        let mut list = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|error| failed(&error))?;
            let directory = entry.file_type().map_err(|error| failed(&error))?.is_dir();
            // A name that is not UTF-8 is none of ours and cannot be said here.
            if let Ok(name) = entry.file_name().into_string() {
                list.push(Entry { name, directory });
            }
        }
        list.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(list)
    }

    fn create_dir(&self, dir: &str) -> Result<()> {
        let full = self.path("create directory", dir)?;
        fs::create_dir_all(full).map_err(|error| failed("create directory", dir, &error))
    }

    fn remove(&self, path: &str) -> Result<()> {
        let full = self.path("remove", path)?;
        fs::remove_file(full).map_err(|error| failed("remove", path, &error))
    }

    fn remove_dir(&self, dir: &str) -> Result<()> {
        let full = self.path("remove directory", dir)?;
        if dir.is_empty() {
            let message = "the root itself is not removed".to_owned();
            let path = dir.to_owned();
            return Err(DiskError {
                operation: "remove directory",
                path,
                not_found: false,
                no_space: false,
                message,
            });
        }
        fs::remove_dir_all(full).map_err(|error| failed("remove directory", dir, &error))
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        let (source, target) = (self.path("rename", from)?, self.path("rename", to)?);
        rename_new(&source, &target).map_err(|error| failed("rename", &format!("{from} to {to}"), &error))
    }

    fn sync_dir(&self, dir: &str) -> Result<()> {
        let full = self.path("sync directory", dir)?;
        sync_dir(&full).map_err(|error| failed("sync directory", dir, &error))
    }
}

/// One open file.
struct LocalFile {
    file: fs::File,
    path: String,
    mapping: OnceLock<Option<Mapping>>,
}

impl LocalFile {
    fn failed(&self, operation: &'static str, error: &io::Error) -> DiskError {
        failed(operation, &self.path, error)
    }
}

impl File for LocalFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        self.file.read_exact_at(buffer, offset).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => {
                let size = self.file.metadata().map_or(0, |data| data.len());
                let end = offset.saturating_add(buffer.len() as u64);
                let error = io::Error::other(format!("bytes {offset}..{end} of a file of {size}"));
                self.failed("read", &error)
            }
            _ => self.failed("read", &error),
        })
    }

    fn read_often_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        let mapping = self.mapping.get_or_init(|| {
            let size = self.file.metadata().map_or(0, |data| data.len());
            Mapping::new(&self.file, size)
        });
        match mapping {
            Some(mapping) if mapping.read(buffer, offset) => Ok(()),
            _ => self.read_at(buffer, offset),
        }
    }

    fn write_at(&self, buffers: &[IoSlice<'_>], offset: u64) -> Result<()> {
        write_all(&self.file, buffers, offset).map_err(|error| self.failed("write", &error))
    }

    fn allocate(&self, bytes: u64) -> Result<()> {
        allocate(&self.file, bytes).map_err(|error| self.failed("allocate", &error))
    }

    fn set_size(&self, bytes: u64) -> Result<()> {
        set_size(&self.file, bytes).map_err(|error| self.failed("set the size of", &error))
    }

    fn give_back(&self, from: u64) -> Result<()> {
        give_back(&self.file, from).map_err(|error| self.failed("give back space of", &error))
    }

    fn sync(&self) -> Result<()> {
        // fdatasync also makes durable what is needed to read the data back, the size included.
        self.file.sync_data().map_err(|error| self.failed("sync", &error))
    }

    fn start_write_back(&self, offset: u64, bytes: u64) {
        super::write_back::start(&self.file, offset, bytes);
    }

    fn size(&self) -> Result<u64> {
        self.file.metadata().map(|data| data.len()).map_err(|error| self.failed("size", &error))
    }
}

/// Writes all buffers at `offset`: at most [`BUFFERS_MAX`] a call, going on where a short write ended.
fn write_all(file: &fs::File, buffers: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
    let mut offset = offset;
    for group in buffers.chunks(BUFFERS_MAX) {
        let total: usize = group.iter().map(|buffer| buffer.len()).sum();
        let written = write_once(file, group, offset)?;
        if written < total {
            // Rare (a full device, a signal): only now are the slices copied, to be advanced.
            let mut copied = group.to_vec();
            let mut rest = copied.as_mut_slice();
            IoSlice::advance_slices(&mut rest, written);
            write_rest(file, rest, offset + written as u64)?;
        }
        offset += total as u64;
    }
    Ok(())
}

fn write_rest(file: &fs::File, mut rest: &mut [IoSlice<'_>], mut offset: u64) -> io::Result<()> {
    while rest.iter().any(|buffer| !buffer.is_empty()) {
        let written = write_once(file, rest, offset)?;
        if written == 0 {
            return Err(io::Error::new(ErrorKind::WriteZero, "the system wrote nothing"));
        }
        IoSlice::advance_slices(&mut rest, written);
        offset += written as u64;
    }
    Ok(())
}

fn write_once(file: &fs::File, buffers: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
    loop {
        match rustix::io::pwritev(file, buffers, offset) {
            Err(Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}

fn allocate(file: &fs::File, bytes: u64) -> io::Result<()> {
    if bytes == 0 {
        return Ok(());
    }
    loop {
        match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, bytes) {
            Err(Errno::INTR) => {}
            // A file system without reservations: the size at least. A full device then shows at the write.
            Err(Errno::OPNOTSUPP) => return set_size(file, bytes),
            other => return Ok(other?),
        }
    }
}

fn set_size(file: &fs::File, bytes: u64) -> io::Result<()> {
    if file.metadata()?.len() < bytes { file.set_len(bytes) } else { Ok(()) }
}

fn give_back(file: &fs::File, from: u64) -> io::Result<()> {
    let size = file.metadata()?.len();
    if from >= size {
        return Ok(());
    }
    loop {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match rustix::fs::fallocate(file, flags, from, size - from) {
            Err(Errno::INTR) => {}
            Err(Errno::OPNOTSUPP) => return Ok(()),
            other => return Ok(other?),
        }
    }
}

/// Renames; the target must not exist.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // A file system that does not know the flag. The directory lock keeps other processes out.
        Err(Errno::INVAL | Errno::NOSYS) if to.symlink_metadata().is_err() => fs::rename(from, to),
        other => Ok(other?),
    }
}

/// Makes the names in a directory durable.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    fs::File::open(dir)?.sync_all()
}

/// Makes a directory and its parents, and each new one's name durable.
pub(crate) fn make_dirs(dir: &Path) -> io::Result<()> {
    match fs::create_dir(dir) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            // Somebody else may have made it a moment ago and not have synced its name yet; whoever
            // needs that syncs the parent as well.
            return if dir.is_dir() { Ok(()) } else { Err(error) };
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty()).ok_or(error)?;
            make_dirs(parent)?;
            match fs::create_dir(dir) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        Err(error) => return Err(error),
    }
    match dir.parent() {
        Some(parent) if parent.as_os_str().is_empty() => sync_dir(Path::new(".")),
        Some(parent) => sync_dir(parent),
        None => Ok(()),
    }
}

pub(super) fn failed(operation: &'static str, path: &str, error: &io::Error) -> DiskError {
    DiskError {
        operation,
        path: path.to_owned(),
        not_found: error.kind() == ErrorKind::NotFound,
        no_space: matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded),
        message: error.to_string(),
    }
}

#[cfg(test)]
mod tests;
