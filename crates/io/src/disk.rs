//! The local disk: a directory of files, with explicit durability.
//!
//! Paths are relative to the directory, with `/` between parts. Nothing is durable before
//! [`File::sync`] (contents, size) and [`Disk::sync_dir`] (names) have returned.

pub(crate) mod local;
mod lock;
#[allow(unsafe_code)]
mod mapped;
#[allow(unsafe_code)]
pub(crate) mod write_back;

pub use local::LocalDisk;
pub use lock::DirectoryLock;

use std::{io::IoSlice, sync::Arc};

/// What went wrong, and with what.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{operation} {path}: {message}")]
pub struct DiskError {
    /// The verb: open, read, write, sync, …
    pub operation: &'static str,
    /// The path, as given.
    pub path: String,
    /// Whether the path does not exist.
    pub not_found: bool,
    /// Whether the device or quota is full.
    pub no_space: bool,
    /// The system's words.
    pub message: String,
}

/// The result of a disk operation.
pub type Result<T> = std::result::Result<T, DiskError>;

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The last part of its path.
    pub name: String,
    /// Whether it is a directory.
    pub directory: bool,
}

/// A directory of files. All calls block.
pub trait Disk: Send + Sync {
    /// Opens an existing file for reading and writing.
    fn open(&self, path: &str) -> Result<Arc<dyn File>>;
    /// Creates a file that must not exist.
    fn create(&self, path: &str) -> Result<Arc<dyn File>>;
    /// Lists a directory, sorted by name; empty when it does not exist.
    fn list(&self, dir: &str) -> Result<Vec<Entry>>;
    /// Creates a directory and its parents; existing ones are fine.
    fn create_dir(&self, dir: &str) -> Result<()>;
    /// Removes a file.
    fn remove(&self, path: &str) -> Result<()>;
    /// Removes a directory with all its files and directories.
    fn remove_dir(&self, dir: &str) -> Result<()>;
    /// Renames a file or directory; the target must not exist.
    fn rename(&self, from: &str, to: &str) -> Result<()>;
    /// Makes the names in a directory durable (`""` is the root).
    fn sync_dir(&self, dir: &str) -> Result<()>;
}

/// An open file. All calls block; all may be made from several threads.
pub trait File: Send + Sync {
    /// Reads exactly `buffer.len()` bytes; an end of file before that is an error.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<()>;
    /// As [`File::read_at`], for a file that is read again and again and will not be made shorter: it may be kept
    /// mapped from its first such read on, at the size it has then.
    fn read_often_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        self.read_at(buffer, offset)
    }
    /// Writes all buffers, one behind the other.
    fn write_at(&self, buffers: &[IoSlice<'_>], offset: u64) -> Result<()>;
    /// Reserves space and sets the size to at least `bytes`. One that fails may have taken all the space that there was.
    fn allocate(&self, bytes: u64) -> Result<()>;
    /// Sets the size to at least `bytes` and reserves nothing: a write there may find the device full.
    fn set_size(&self, bytes: u64) -> Result<()>;
    /// Gives back the space from an offset on, and keeps the size; what was there reads as zeros. A file system that
    /// has no such call changes nothing.
    fn give_back(&self, from: u64) -> Result<()>;
    /// Makes contents and size durable.
    fn sync(&self) -> Result<()>;
    /// Starts writing a range to the device without waiting. Advice.
    fn start_write_back(&self, offset: u64, bytes: u64);
    /// The size in bytes.
    fn size(&self) -> Result<u64>;
}
