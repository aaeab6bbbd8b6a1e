//! An open file of the simulated disk.

use std::{io::IoSlice, sync::Arc};

use bytes::Bytes;
use esker_io::{DiskError, File, disk::Result};

use super::{Detail, Device, Operation, WriteFault, content::are_zeros, tree::NodeId};
use crate::run::Run;

/// An open file, as one run sees it.
pub(super) struct FakeFile {
    pub(super) device: Arc<Device>,
    pub(super) run: Arc<Run>,
    pub(super) node: NodeId,
    pub(super) path: String,
}

impl FakeFile {
    fn operation(&self, name: &'static str) -> Operation<'_> {
        Operation { name, path: &self.path }
    }

    fn grow(&self, name: &'static str, bytes: u64) -> Result<()> {
        let operation = self.operation(name);
        self.device.change(&self.run, &operation, Detail { offset: 0, bytes, content: None }, |state| {
            if state.full && name == "allocate" {
                return Err(operation.no_space());
            }
            if let Some(fault) = state.write_fault() {
                return Err(failed_write(&operation, fault));
            }
            state.content(self.node).grow(bytes);
            Ok(())
        })
    }
}

impl File for FakeFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        let operation = self.operation("read");
        self.device.read(&self.run, &operation, |state| {
            if state.random.chance(state.faults.read_error_ppm) {
                return Err(operation.failed("input/output error"));
            }
            let current = state.content(self.node).current();
            let end = offset.checked_add(buffer.len() as u64);
            if end.is_none_or(|end| end > current.bytes()) {
                let (asked, size) = (buffer.len(), current.bytes());
                return Err(operation.failed(format!("{asked} bytes at {offset} of a file of {size}")));
            }
            current.read(offset, buffer);
            Ok(())
        })
    }

    fn write_at(&self, buffers: &[IoSlice<'_>], offset: u64) -> Result<()> {
        let operation = self.operation("write");
        let data = Bytes::from(buffers.iter().map(|buffer| &buffer[..]).collect::<Vec<_>>().concat());
        let content = Some(if are_zeros(&data) { [0; 32] } else { *blake3::hash(&data).as_bytes() });
        let detail = Detail { offset, bytes: data.len() as u64, content };
        self.device.change(&self.run, &operation, detail, |state| {
            if offset.checked_add(data.len() as u64).is_none_or(|end| end > i64::MAX as u64) {
                return Err(operation.failed("beyond the largest file"));
            }
            let fault = state.write_fault();
            let Some(fault) = fault else {
                state.content(self.node).write(offset, data);
                return Ok(());
            };
            let sectors = state.random.below(data.len() as u64 / 512 + 1);
            if sectors > 0 {
                state.content(self.node).write(offset, data.slice(..(sectors * 512) as usize));
            }
            Err(failed_write(&operation, fault))
        })
    }

    fn allocate(&self, bytes: u64) -> Result<()> {
        self.grow("allocate", bytes)
    }

    fn set_size(&self, bytes: u64) -> Result<()> {
        // No contents need space, but a file system may find none for what it notes about the file.
        self.grow("set the size of", bytes)
    }

    fn give_back(&self, from: u64) -> Result<()> {
        let operation = self.operation("give back space of");
        self.device.change(&self.run, &operation, Detail { offset: from, ..Detail::default() }, |state| {
            state.content(self.node).clear(from);
            Ok(())
        })
    }

    fn sync(&self) -> Result<()> {
        let operation = self.operation("sync");
        self.device.change(&self.run, &operation, Detail::default(), |state| {
            if state.sync_fails() {
                let mut random = state.random.fork();
                state.content(self.node).fail_sync(&mut random);
                return Err(operation.failed("input/output error"));
            }
            state.content(self.node).sync();
            Ok(())
        })
    }

    fn start_write_back(&self, _offset: u64, _bytes: u64) {
        // Advice: what it started may or may not be done at a power loss, as without it.
    }

    fn size(&self) -> Result<u64> {
        let operation = self.operation("size");
        self.device.read(&self.run, &operation, |state| Ok(state.content(self.node).current().bytes()))
    }
}

fn failed_write(operation: &Operation<'_>, fault: WriteFault) -> DiskError {
    match fault {
        WriteFault::Error => operation.failed("input/output error"),
        WriteFault::NoSpace => operation.no_space(),
    }
}
