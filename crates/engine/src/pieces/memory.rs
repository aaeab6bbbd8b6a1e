//! The memory that pieces take once they were read: an opening for writing has them until its segment is in the store, a
//! volume that is only read as long as it is open.
//!
//! Who opens for reading is refused at the bound: what he has stays for long, and the volume's writer will soon have made
//! a segment of it. Who opens for writing takes turns instead, since what he has goes soon, and he has claimed already.

use esker_format::head::Head;
use esker_io::{
    Bug, planted,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{
    EngineError, Result,
    permits::{Permit, Permits},
};

/// What volumes that are only read may have of pieces: twice the most that one has.
pub const PIECES_BYTES_MAX: u64 = 512 << 20;
/// Openings for writing that have pieces in memory at a time, of 250 MiB each at most.
const OPENINGS_AT_ONCE: usize = 4;

/// Bytes of pieces in memory.
pub struct PieceMemory {
    used: AtomicU64,
    bound: AtomicU64,
    openings: Permits,
}

impl Default for PieceMemory {
    fn default() -> Self {
        Self {
            used: AtomicU64::new(0),
            bound: AtomicU64::new(PIECES_BYTES_MAX),
            openings: Permits::new(OPENINGS_AT_ONCE),
        }
    }
}

impl PieceMemory {
    /// Bytes that pieces take now.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Acquire)
    }

    /// At so many nothing more is opened for reading that has pieces.
    pub fn bound(&self) -> u64 {
        self.bound.load(Ordering::Acquire)
    }

    /// Sets the bound.
    pub(crate) fn set_bound(&self, bound: u64) {
        self.bound.store(bound, Ordering::Release);
    }

    /// Waits until an opening for writing may read the pieces of `head`; no turn is needed where there are none.
    pub(crate) async fn turn(&self, head: &Head) -> Option<Permit> {
        if head.pieces.is_empty() { None } else { Some(self.openings.acquire().await) }
    }
}

/// Who reads pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reader {
    /// It has them as long as its volume is open for reading.
    Stays,
    /// It has them for a while.
    Passes,
}

/// What one head's pieces take, until this is dropped.
pub(crate) struct Held {
    memory: Arc<PieceMemory>,
    reader: Reader,
    bytes: u64,
}

impl Held {
    pub(crate) fn new(memory: Arc<PieceMemory>, reader: Reader) -> Self {
        Self { memory, reader, bytes: 0 }
    }

    /// Counts so many bytes more.
    ///
    /// # Errors
    /// [`EngineError::Invalid`] when there is no memory for what stays.
    pub(crate) fn grow(&mut self, bytes: u64) -> Result<()> {
        self.bytes += bytes;
        let used = self.memory.used.fetch_add(bytes, Ordering::AcqRel) + bytes;
        let bound = self.memory.bound();
        if self.reader == Reader::Passes || used <= bound || planted(Bug::PiecesUncounted) {
            return Ok(());
        }
        Err(EngineError::Invalid(format!(
            "what no segment holds yet of volumes that are open for reading takes {used} bytes of memory with this one, \
             more than {bound}; its writer will have made a segment of it in some minutes"
        )))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.memory.used.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}
