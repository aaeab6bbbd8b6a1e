//! Directories whose names are known to be durable.

use std::{
    collections::HashSet,
    fs,
    io::{self, ErrorKind},
    path::Path,
};

use crate::{
    disk::local::{make_dirs, sync_dir},
    sync::Mutex,
};

/// When this many are remembered, all are forgotten; each then costs one sync again.
const REMEMBERED_MAX: usize = 8192;

/// The directories below a root that this process has made durable: those it found, too, since
/// whoever made one may have crashed before the sync.
pub(super) struct Durable {
    known: Mutex<HashSet<String>>,
}

impl Durable {
    /// Makes the root and its name durable.
    pub(super) fn open(root: &Path) -> io::Result<Self> {
        make_dirs(root)?;
        let full = root.canonicalize()?;
        match full.parent().map_or(Ok(()), sync_dir) {
            // A root that somebody else made for us, in a place that we cannot read.
            Err(error) if error.kind() != ErrorKind::PermissionDenied => return Err(error),
            _ => {}
        }
        Ok(Self { known: Mutex::new(HashSet::new()) })
    }

    /// Makes all directories above `name`, and their names durable.
    pub(super) fn make_parent(&self, root: &Path, name: &str) -> io::Result<()> {
        let Some((parent, _)) = name.rsplit_once('/') else { return Ok(()) };
        if self.known.lock().contains(parent) {
            return Ok(());
        }
        let ends = parent.match_indices('/').map(|(end, _)| end).chain([parent.len()]);
        let mut above = root.to_owned();
        for end in ends {
            let dir = root.join(&parent[..end]);
            match fs::create_dir(&dir) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
                _ => sync_dir(&above)?,
            }
            above = dir;
        }
        let mut known = self.known.lock();
        if known.len() >= REMEMBERED_MAX {
            known.clear();
        }
        known.insert(parent.to_owned());
        Ok(())
    }

    /// Makes the name of an object itself durable.
    pub(super) fn sync_parent(&self, root: &Path, name: &str) -> io::Result<()> {
        match name.rsplit_once('/') {
            Some((parent, _)) => sync_dir(&root.join(parent)),
            None => sync_dir(root),
        }
    }

    /// Forgets what is known: directories have gone.
    pub(super) fn forget(&self) {
        self.known.lock().clear();
    }
}
