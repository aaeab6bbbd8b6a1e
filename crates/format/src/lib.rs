//! Bytes ⇄ values of everything Esker stores, in the object store and in the local log.
//!
//! Nothing here does I/O, reads a clock or draws a random number. One stored thing has one module, and its drawing is
//! that module's first comment. All numbers are little-endian. What was parsed is *unverified* until one function has
//! compared it with the facts that the caller expects (pool, name, number, length, hash).
//!
//! Bad bytes give a [`FormatError`]; they never panic, and no allocation is larger than a small multiple of the bytes
//! that were handed in, or than a cap named beside the format.
#![forbid(unsafe_code)]

pub mod address;
pub mod bundle;
pub mod cache;
pub mod chain;
pub mod chunk;
pub mod codec;
mod envelope;
pub mod error;
pub mod group;
pub mod head;
pub mod ids;
pub mod inspect;
pub mod name;
pub mod names;
pub mod page;
pub mod pool;
pub mod property;
pub mod quarantine;
pub mod round;
pub mod segment;
pub mod table;
pub mod time;
pub mod waiting;
mod wire;
pub mod writer;

#[cfg(test)]
mod tests;

pub use address::{Address, AddressKind};
pub use cache::{CacheCatalogue, CacheEntry, CacheKey, CacheQueue};
pub use chain::Link;
pub use chunk::{ChunkHeader, Record, RecordKind};
pub use codec::Codec;
pub use error::FormatError;
pub use group::{GroupFate, GroupRecord};
pub use head::{Head, HeadKind, Lineage, Piece, Previous, Source, TailPiece, TailSegment};
pub use ids::{
    AttemptId, BundleId, DirectoryId, GroupId, Hash, LogId, LogPosition, PackId, PoolId, RunId, SegmentId,
    Sequence, VolumeId,
};
pub use inspect::describe;
pub use name::{NameRecord, NameState};
pub use names::ObjectName;
pub use page::{Child, LeafRun, Page, PageRef};
pub use pool::PoolRecord;
pub use property::{Compression, Durability, History, OnLag, Properties};
pub use quarantine::Quarantine;
pub use round::{RoundRecord, Suspended};
pub use table::{TableEntry, TableRecord};
pub use time::Time;
pub use waiting::{Bulk, Dead, WaitingList};
pub use writer::WriterRecord;

/// The unit of the map and of dedup, in bytes.
pub const BLOCK_BYTES: usize = 4096;
