//! The data directory.
//!
//! ```text
//! DIR/nbd.sock       NBD
//! DIR/control.sock   control
//! DIR/pool/          the pool, when no other is named
//! DIR/local/         logs; locked by the daemon that runs
//!     pool           the URL of the pool that was named last
//!     identity       random; makes this directory another than its copies
//! ```

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use anyhow::Context;
use esker_format::ids::{DirectoryId, VolumeId};
use esker_io::{Random, SystemRandom};

/// Says on which machine a directory is.
const MACHINE_ID: &str = "/etc/machine-id";

/// A data directory.
#[derive(Debug, Clone)]
pub(crate) struct DataDir {
    root: PathBuf,
}

impl DataDir {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn nbd_socket(&self) -> PathBuf {
        self.root.join("nbd.sock")
    }

    pub(crate) fn control_socket(&self) -> PathBuf {
        self.root.join("control.sock")
    }

    /// Where logs and caches are.
    pub(crate) fn local(&self) -> PathBuf {
        self.root.join("local")
    }

    /// The pool that the last daemon with this directory was told to use; else the one inside it.
    pub(crate) fn pool_url(&self) -> anyhow::Result<String> {
        let path = self.local().join("pool");
        match fs::read_to_string(&path) {
            Ok(url) => Ok(url.trim().to_owned()),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                let inside = std::path::absolute(self.root.join("pool"))
                    .with_context(|| format!("{} has no absolute path", self.root.display()))?;
                Ok(format!("file://{}", inside.display()))
            }
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Remembers a pool for the commands that name none.
    pub(crate) fn remember_pool(&self, url: &str) -> anyhow::Result<()> {
        let url = match url.strip_prefix("file://").filter(|path| !path.is_empty()) {
            Some(path) => format!("file://{}", std::path::absolute(path)?.display()),
            None => url.to_owned(),
        };
        replace(&self.local(), "pool", &format!("{url}\n"))
    }

    /// Who this directory is. A copy of it is another one: the file that it is drawn from has another inode there,
    /// or lies on another machine.
    pub(crate) fn identity(&self) -> anyhow::Result<DirectoryId> {
        let path = self.local().join("identity");
        let read = || fs::read_to_string(&path).ok().filter(|text| text.trim().len() == 32);
        let drawn = match read() {
            Some(drawn) => drawn,
            None => {
                let drawn = VolumeId(SystemRandom.id()).to_string();
                replace(&self.local(), "identity", &format!("{drawn}\n"))?;
                drawn
            }
        };
        let file = fs::metadata(&path).with_context(|| format!("cannot look at {}", path.display()))?;
        let machine = fs::read(MACHINE_ID).unwrap_or_default();
        let mut hasher = blake3::Hasher::new();
        // Not the device's number: it can be another one after a reboot.
        hasher.update(drawn.trim().as_bytes()).update(&file.ino().to_le_bytes()).update(&machine);
        let mut id = [0; 16];
        id.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Ok(DirectoryId(id))
    }

    /// The volumes of which there is a log here: what it holds may be nowhere else.
    pub(crate) fn volumes_with_log(&self) -> anyhow::Result<Vec<VolumeId>> {
        let logs = self.local().join("logs");
        let entries = match fs::read_dir(&logs) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).with_context(|| format!("cannot list {}", logs.display())),
        };
        let mut volumes = Vec::new();
        for entry in entries {
            let entry = entry.with_context(|| format!("cannot list {}", logs.display()))?;
            let volume = entry.file_name().to_str().and_then(|name| name.parse::<VolumeId>().ok());
            let holds_logs = fs::read_dir(entry.path()).is_ok_and(|mut logs| logs.next().is_some());
            volumes.extend(volume.filter(|_| holds_logs));
        }
        Ok(volumes)
    }
}

/// Gives the file `name` in `dir` new contents: the old ones or the new ones are there at any time.
fn replace(dir: &Path, name: &str, text: &str) -> anyhow::Result<()> {
    let (new, path) = (dir.join(format!("{name}.new")), dir.join(name));
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        File::open(dir)?.sync_all()
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::DataDir;

    #[test]
    fn a_copy_is_another_directory() {
        let dir = tempfile::tempdir().unwrap();
        let (here, copy) = (DataDir::new(&dir.path().join("a")), DataDir::new(&dir.path().join("b")));
        std::fs::create_dir_all(here.local()).unwrap();
        let id = here.identity().unwrap();
        assert_eq!(here.identity().unwrap(), id);
        std::fs::create_dir_all(copy.local()).unwrap();
        std::fs::copy(here.local().join("identity"), copy.local().join("identity")).unwrap();
        assert_ne!(copy.identity().unwrap(), id);
    }

    #[test]
    fn pools_are_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::new(dir.path());
        assert_eq!(data.pool_url().unwrap(), format!("file://{}/pool", dir.path().display()));
        std::fs::create_dir_all(data.local()).unwrap();
        data.remember_pool("s3://bucket/prefix").unwrap();
        assert_eq!(data.pool_url().unwrap(), "s3://bucket/prefix");
    }
}
