//! A disk in memory whose durability is modelled write by write and name by name.
//!
//! Reads see everything at once; a power loss keeps what was synced, and of the rest what [`Survival`] says.
//! Writes, allocations, syncs and changes of names are *steps*: they are counted together with the host's
//! steps on the store, and a host can be told to crash at any of them. Reads change nothing, so they are not
//! counted: a crash at a read leaves what a crash after the step before it leaves.

mod api;
mod content;
mod file;
mod tree;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use esker_io::{DiskError, File, disk::Result};

use self::{
    content::Content,
    file::FakeFile,
    tree::{Missing, NodeId, Tree},
};
use crate::{
    DiskFaults, Prng,
    executor::Executor,
    run::{Gone, Run},
    trace::Event,
};

/// What a power loss keeps of what was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Survival {
    /// Nothing.
    OnlySynced,
    /// Everything.
    Everything,
    /// What the seed says: each write whole, not at all, or any subset of its 512-byte sectors; each change of
    /// a name or size by itself.
    Subset(u64),
}

/// How a write fails. Some first sectors of it may have been written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteFault {
    /// EIO.
    Error,
    /// ENOSPC.
    NoSpace,
}

/// How a sync of a file fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncFault {
    /// Once; as on Linux, what it did not write is marked clean, and the next sync succeeds without it.
    Once,
    /// This time and always, until [`FakeDisk::repair`].
    ForEver,
}

/// A host's disk, as one of its runs sees it. Handles of an earlier run fail.
#[derive(Clone)]
pub struct FakeDisk {
    device: Arc<Device>,
    run: Arc<Run>,
}

pub(crate) struct Device {
    executor: Executor,
    state: Mutex<State>,
}

struct State {
    tree: Tree,
    random: Prng,
    faults: DiskFaults,
    writes: u64,
    syncs: u64,
    write_faults: BTreeMap<u64, WriteFault>,
    sync_faults: BTreeMap<u64, SyncFault>,
    broken: bool,
    /// Nothing can be allocated; what has its space can be written.
    full: bool,
}

/// Says what is done, in errors and in the trace.
struct Operation<'a> {
    name: &'static str,
    path: &'a str,
}

impl Operation<'_> {
    fn failed(&self, message: impl Into<String>) -> DiskError {
        DiskError {
            operation: self.name,
            path: self.path.to_owned(),
            not_found: false,
            no_space: false,
            message: message.into(),
        }
    }

    fn missing(&self, missing: Missing) -> DiskError {
        match missing {
            Missing::NotFound => DiskError { not_found: true, ..self.failed("no such file or directory") },
            Missing::NotDirectory => self.failed("not a directory"),
        }
    }

    fn no_space(&self) -> DiskError {
        DiskError { no_space: true, ..self.failed("no space left on device") }
    }

    /// Refuses what is no plain path below the directory.
    fn check(&self) -> Result<()> {
        let plain = self.path.split('/').all(|part| !matches!(part, "." | "..") && !part.contains('\0'));
        if plain && !self.path.starts_with('/') {
            Ok(())
        } else {
            Err(self.failed("not a plain path below the directory"))
        }
    }
}

impl Device {
    pub(crate) fn new(executor: Executor, random: Prng, faults: DiskFaults) -> Self {
        let state = State {
            tree: Tree::new(),
            random,
            faults,
            writes: 0,
            syncs: 0,
            write_faults: BTreeMap::new(),
            sync_faults: BTreeMap::new(),
            broken: false,
            full: false,
        };
        Self { executor, state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The power fails: what was not synced survives as `survival` says.
    pub(crate) fn lose_power(&self, survival: Survival) {
        let mut random = match survival {
            Survival::Subset(seed) => Prng::new(seed),
            Survival::OnlySynced | Survival::Everything => Prng::new(0),
        };
        self.lock().tree.lose_power(survival, &mut random);
    }
}

impl FakeDisk {
    pub(crate) fn new(device: Arc<Device>, run: Arc<Run>) -> Self {
        Self { device, run }
    }

    /// Sets the faults that happen by chance, from now on.
    pub fn set_faults(&self, faults: DiskFaults) {
        self.device.lock().faults = faults;
    }

    /// Makes a coming write or allocation fail: the next is number 1.
    pub fn fail_write(&self, number: u64, fault: WriteFault) {
        let mut state = self.device.lock();
        let at = state.writes + number;
        state.write_faults.insert(at, fault);
    }

    /// Makes a coming sync of a file fail: the next is number 1.
    pub fn fail_sync(&self, number: u64, fault: SyncFault) {
        let mut state = self.device.lock();
        let at = state.syncs + number;
        state.sync_faults.insert(at, fault);
    }

    /// Forgets all planned faults that did not happen yet.
    pub fn forget_plan(&self) {
        let mut state = self.device.lock();
        state.write_faults.clear();
        state.sync_faults.clear();
    }

    /// Fills the disk or makes room again: while it is full no space is reserved, and what is reserved stays.
    pub fn fill(&self, full: bool) {
        self.device.lock().full = full;
    }

    /// Ends a [`SyncFault::ForEver`].
    pub fn repair(&self) {
        self.device.lock().broken = false;
    }

    /// Flips one bit of what the device holds of a file. False when the file does not reach so far.
    pub fn rot(&self, path: &str, offset: u64, bit: u8) -> bool {
        let mut state = self.device.lock();
        let Some(content) = state.tree.lookup(path).and_then(|node| state.tree.content(node)) else {
            return false;
        };
        let there = offset < content.durable_bytes();
        if there {
            content.rot(offset, bit);
        }
        there
    }

    /// How many changes of a file are not durable yet.
    pub fn unsynced(&self, path: &str) -> Option<usize> {
        let mut state = self.device.lock();
        let node = state.tree.lookup(path)?;
        state.tree.content(node).map(|content| content.unsynced())
    }

    fn read<T>(&self, operation: &Operation<'_>, look: impl FnOnce(&mut State) -> Result<T>) -> Result<T> {
        self.device.read(&self.run, operation, look)
    }

    fn change<T>(
        &self,
        operation: &Operation<'_>,
        effect: impl FnOnce(&mut State) -> Result<T>,
    ) -> Result<T> {
        operation.check()?;
        self.device.change(&self.run, operation, Detail::default(), effect)
    }

    fn file(&self, node: NodeId, path: &str) -> Arc<dyn File> {
        Arc::new(FakeFile { device: self.device.clone(), run: self.run.clone(), node, path: path.to_owned() })
    }
}

/// What the trace is told besides the operation.
#[derive(Default)]
struct Detail {
    offset: u64,
    bytes: u64,
    content: Option<[u8; 32]>,
}

impl Device {
    fn read<T>(
        &self,
        run: &Run,
        operation: &Operation<'_>,
        look: impl FnOnce(&mut State) -> Result<T>,
    ) -> Result<T> {
        operation.check()?;
        if run.is_dead() {
            return Err(operation.failed(GONE));
        }
        look(&mut self.lock())
    }

    fn change<T>(
        &self,
        run: &Run,
        operation: &Operation<'_>,
        detail: Detail,
        effect: impl FnOnce(&mut State) -> Result<T>,
    ) -> Result<T> {
        let done = run.step(|| {
            self.executor.trace().record(&Event {
                now: self.executor.now(),
                host: run.host,
                kind: operation.name,
                path: operation.path,
                numbers: [detail.offset, detail.bytes],
                content: detail.content,
            });
            effect(&mut self.lock())
        });
        done.unwrap_or_else(|Gone| Err(operation.failed(GONE)))
    }
}

const GONE: &str = "the machine is gone";

impl State {
    fn parent<'a>(&self, operation: &Operation<'_>, path: &'a str) -> Result<(NodeId, &'a str)> {
        self.tree.parent(path).map_err(|missing| operation.missing(missing))
    }

    fn find(&self, operation: &Operation<'_>, path: &str) -> Result<NodeId> {
        self.tree.find(path).map_err(|missing| operation.missing(missing))
    }

    /// Whether this write fails, and how.
    fn write_fault(&mut self) -> Option<WriteFault> {
        self.writes += 1;
        let planned = self.write_faults.remove(&self.writes);
        let error = self.random.chance(self.faults.write_error_ppm).then_some(WriteFault::Error);
        let no_space = self.random.chance(self.faults.no_space_ppm).then_some(WriteFault::NoSpace);
        planned.or(error).or(no_space)
    }

    /// Whether this sync fails.
    fn sync_fails(&mut self) -> bool {
        self.syncs += 1;
        match self.sync_faults.remove(&self.syncs) {
            Some(SyncFault::ForEver) => self.broken = true,
            Some(SyncFault::Once) => return true,
            None => {}
        }
        self.broken || self.random.chance(self.faults.sync_error_ppm)
    }

    fn content(&mut self, node: NodeId) -> &mut Content {
        // Removed files stay until the power fails, as open handles may use them; those handles die with it.
        self.tree.content(node).expect("an open file is there")
    }
}

#[cfg(test)]
mod differential;
#[cfg(test)]
mod tests;
