//! One process per directory.

use std::{
    fs,
    io::{Read, Seek, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use rustix::{fs::FlockOperation, io::Errno};

use super::{DiskError, Result, local};

/// The file that is locked.
const LOCK_FILE: &str = "lock";

/// An exclusive hold of a directory, until dropped or until the process ends, however it ends.
///
/// The file stays when the lock is dropped: removing it would let two processes lock two files of one name.
#[derive(Debug)]
pub struct DirectoryLock {
    _file: fs::File,
    path: PathBuf,
}

impl DirectoryLock {
    /// Takes the lock of `dir`, which is made when it does not exist. Fails at once when another
    /// process holds it; the message names that process.
    pub fn take(dir: &Path) -> Result<Self> {
        let path = dir.join(LOCK_FILE);
        let shown = path.display().to_string();
        let failed = |error: &std::io::Error| local::failed("lock", &shown, error);
        local::make_dirs(dir).map_err(|error| failed(&error))?;
        let mut options = fs::OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(&path).map_err(|error| failed(&error))?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let message = format!("held by {}", holder(&mut file));
                return Err(DiskError {
                    operation: "lock",
                    path: shown,
                    not_found: false,
                    no_space: false,
                    message,
                });
            }
            Err(error) => return Err(failed(&error.into())),
        }
        // Who holds it, for the message above. Only a hint: a stale number locks nobody out.
        file.set_len(0).map_err(|error| failed(&error))?;
        file.rewind().map_err(|error| failed(&error))?;
        file.write_all(format!("{}\n", std::process::id()).as_bytes()).map_err(|error| failed(&error))?;
        Ok(Self { _file: file, path })
    }

    /// The file that is locked.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Who wrote into the lock file last.
fn holder(file: &mut fs::File) -> String {
    let mut text = String::new();
    match file.take(32).read_to_string(&mut text) {
        Ok(_) if text.trim().parse::<u32>().is_ok() => format!("process {}", text.trim()),
        _ => "another process".to_owned(),
    }
}

#[cfg(test)]
mod tests;
