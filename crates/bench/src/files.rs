//! Files and the page cache.

use std::{fs::File, os::unix::fs::MetadataExt, path::Path};

use anyhow::Result;
use rustix::fs::{Advice, fadvise};

/// Syncs all files below a directory and drops what the page cache holds of them.
pub fn evict(directory: &Path) -> Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            evict(&entry.path())?;
        } else if kind.is_file() {
            // What has gone meanwhile is not in the cache either.
            let Ok(file) = File::open(entry.path()) else { continue };
            file.sync_data()?;
            fadvise(&file, 0, None, Advice::DontNeed)?;
        }
    }
    Ok(())
}

/// What the files below a directory take on their disk, directories included.
pub fn allocated_bytes(directory: &Path) -> Result<u64> {
    let mut bytes = std::fs::metadata(directory)?.blocks() * 512;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        // What has gone meanwhile takes nothing.
        let Ok(facts) = entry.metadata() else { continue };
        bytes += if facts.is_dir() { allocated_bytes(&entry.path())? } else { facts.blocks() * 512 };
    }
    Ok(bytes)
}

/// What is free for files below a directory.
pub fn free_bytes(directory: &Path) -> Result<u64> {
    let facts = rustix::fs::statvfs(directory)?;
    Ok(facts.f_bavail * facts.f_frsize)
}

/// Waits until the disk below a directory holds all that was written to it.
pub fn write_back(directory: &Path) -> Result<()> {
    Ok(rustix::fs::syncfs(File::open(directory)?)?)
}

/// What a directory lies on, in a word; of the common ones.
pub fn file_system(directory: &Path) -> Result<&'static str> {
    Ok(match rustix::fs::statfs(directory)?.f_type as u64 {
        0x0102_1994 => "tmpfs (memory, not a disk)",
        0xEF53 => "ext4",
        0x5846_5342 => "xfs",
        0x9123_683E => "btrfs",
        0x794C_7630 => "overlayfs",
        _ => "a file system",
    })
}

/// How many files lie below a directory, and how long they are together.
pub fn contents(directory: &Path) -> Result<(u64, u64)> {
    let (mut files, mut bytes) = (0, 0);
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        // What has gone meanwhile is none of them.
        let Ok(facts) = entry.metadata() else { continue };
        let (more, length) = if facts.is_dir() { contents(&entry.path())? } else { (1, facts.len()) };
        (files, bytes) = (files + more, bytes + length);
    }
    Ok((files, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_counted_at_any_depth() -> Result<()> {
        let directory = tempfile::tempdir()?;
        std::fs::create_dir_all(directory.path().join("a/b"))?;
        std::fs::write(directory.path().join("a/b/c"), [0; 10])?;
        std::fs::write(directory.path().join("d"), [0; 7])?;
        assert_eq!(contents(directory.path())?, (2, 17));
        Ok(())
    }
}
