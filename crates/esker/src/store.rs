//! The edges of a process: a store, a disk, a clock, randomness, processor time.

use std::{path::Path, sync::Arc};

use anyhow::Context;
use esker_io::{
    CpuPool, Disk, DiskError, File, LocalDisk, SystemClock, SystemRandom, World,
    disk::Entry,
    objects::{self, Counted, Sheltered},
};

/// The world, and what tells of its traffic with the store.
pub(crate) struct Edges {
    pub(crate) world: World,
    pub(crate) traffic: Traffic,
}

/// What is sent to the store, and how the store takes it.
pub(crate) struct Traffic {
    pub(crate) counted: Arc<Counted>,
    pub(crate) sheltered: Arc<Sheltered>,
}

/// The edges of a daemon, whose logs are in `local`.
pub(crate) fn with_disk(url: &str, local: &Path, cpu_threads: usize) -> anyhow::Result<Edges> {
    edges(url, Arc::new(LocalDisk::open(local)?), cpu_threads)
}

/// The edges of a command that keeps nothing on the local disk.
pub(crate) fn without_disk(url: &str) -> anyhow::Result<Edges> {
    edges(url, Arc::new(NoDisk), 2)
}

/// As [`without_disk`], for a store that must be there.
pub(crate) fn existing(url: &str) -> anyhow::Result<Edges> {
    must_exist(url)?;
    without_disk(url)
}

/// Refuses a store that is not there, where that can be seen: opening a directory would make it.
pub(crate) fn must_exist(url: &str) -> anyhow::Result<()> {
    if let Some(path) = url.strip_prefix("file://")
        && !Path::new(path).is_dir()
    {
        return Err(no_pool(url));
    }
    Ok(())
}

/// What to say where no pool is.
pub(crate) fn no_pool(url: &str) -> anyhow::Error {
    anyhow::anyhow!(
        "there is no pool at {url}; `esker pool create {url}` makes one, `esker serve` makes that of its data \
         directory, and --pool URL names another"
    )
}

fn edges(url: &str, disk: Arc<dyn Disk>, cpu_threads: usize) -> anyhow::Result<Edges> {
    let counted = Arc::new(Counted::new(objects::open(url)?));
    let (clock, random) = (Arc::new(SystemClock::new()), Arc::new(SystemRandom));
    let sheltered = Arc::new(Sheltered::new(counted.clone(), clock.clone(), random.clone()));
    let world = World {
        disk,
        objects: sheltered.clone(),
        clock,
        random,
        cpu: Arc::new(CpuPool::new(cpu_threads).context("cannot start threads")?),
    };
    Ok(Edges { world, traffic: Traffic { counted, sheltered } })
}

/// The disk of a command that has none.
struct NoDisk;

impl NoDisk {
    fn refuse<T>(&self, operation: &'static str, path: &str) -> Result<T, DiskError> {
        let message = "this command works without a local directory".to_owned();
        Err(DiskError { operation, path: path.to_owned(), not_found: false, no_space: false, message })
    }
}

impl Disk for NoDisk {
    fn open(&self, path: &str) -> Result<Arc<dyn File>, DiskError> {
        self.refuse("open", path)
    }

    fn create(&self, path: &str) -> Result<Arc<dyn File>, DiskError> {
        self.refuse("create", path)
    }

    fn list(&self, _: &str) -> Result<Vec<Entry>, DiskError> {
        Ok(Vec::new())
    }

    fn create_dir(&self, dir: &str) -> Result<(), DiskError> {
        self.refuse("create directory", dir)
    }

    fn remove(&self, path: &str) -> Result<(), DiskError> {
        self.refuse("remove", path)
    }

    fn remove_dir(&self, dir: &str) -> Result<(), DiskError> {
        self.refuse("remove directory", dir)
    }

    fn rename(&self, from: &str, _to: &str) -> Result<(), DiskError> {
        self.refuse("rename", from)
    }

    fn sync_dir(&self, dir: &str) -> Result<(), DiskError> {
        self.refuse("sync directory", dir)
    }
}
