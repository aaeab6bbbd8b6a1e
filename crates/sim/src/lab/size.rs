//! The volume's size, and changing it.

use esker_engine::EngineError;
use esker_format::BLOCK_BYTES;

use super::{Lab, Outcome, violation};
use crate::Task;

/// What the volume's size may be.
pub(super) struct Size {
    known: u64,
    /// One that was asked for and not answered: it is true already, or never.
    tried: Option<u64>,
}

impl Size {
    pub(super) fn new(size_bytes: u64) -> Self {
        Self { known: size_bytes, tried: None }
    }

    /// It was asked for.
    pub(super) fn may_be(&mut self, size_bytes: u64) {
        self.tried = Some(size_bytes);
    }

    pub(super) fn now(&self) -> u64 {
        self.known
    }

    /// The volume came back with this size.
    pub(super) fn found(&mut self, size_bytes: u64) -> Outcome {
        if size_bytes != self.known && Some(size_bytes) != self.tried {
            let Size { known, tried } = self;
            return Err(violation(format!(
                "the volume has {size_bytes} bytes, expected {known} or {tried:?}"
            )));
        }
        *self = Self::new(size_bytes);
        Ok(())
    }
}

impl Lab {
    /// Gives the owner's volume another size, in blocks; it has to succeed.
    pub fn resize(&mut self, blocks: u64) -> Outcome {
        let resizing = self.begin_resize(blocks);
        self.end_resize(resizing)
    }

    /// Asks for another size.
    pub fn begin_resize(&mut self, blocks: u64) -> Task<Result<(), EngineError>> {
        let (owner, size_bytes) = (self.owner(), blocks * BLOCK_BYTES as u64);
        let volume = self.volume(owner);
        self.size.tried = Some(size_bytes);
        self.book.reach(blocks);
        self.sites[owner].host.spawn("resize", async move { volume.resize(size_bytes).await })
    }

    /// Waits for a resize; it has to succeed.
    pub fn end_resize(&mut self, resizing: Task<Result<(), EngineError>>) -> Outcome {
        self.wait(resizing)?.map_err(|error| violation(format!("a resize fails: {error}")))?;
        let size_bytes = self.volume(self.owner()).size_bytes();
        if Some(size_bytes) != self.size.tried {
            return Err(violation(format!("a resize to {:?} gave {size_bytes} bytes", self.size.tried)));
        }
        self.size.found(size_bytes)
    }

    /// A resize that has to be refused.
    pub fn resize_refused(&mut self, blocks: u64) -> Outcome {
        let before = self.size.now();
        let resizing = self.begin_resize(blocks);
        if self.wait(resizing)?.is_ok() {
            return Err(violation(format!("a resize to {blocks} blocks succeeds")));
        }
        self.size.tried = None;
        self.size.found(self.volume(self.owner()).size_bytes())?;
        if self.size.now() != before {
            return Err(violation("a resize that was refused has changed the size"));
        }
        Ok(())
    }
}
