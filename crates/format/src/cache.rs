//! A file of the local disk cache: a catalogue, then entries back to back.
//!
//! ```text
//!      0 ┌──────────────────────────────────────────────────────────┐
//!        │ magic "ESKRCACH" │ version u16 │ flags u16, 0 │ key id u32, 0
//!     16 │ pool 16 │ salt u64 │ order u64                           │
//!     48 │ queue u8: 0 trial, 1 main │ room 3, 0 │ entries u32      │
//!     56 │ for each entry: key 16 │ bytes u32 │ crc u32             │
//!        │ BLAKE3 of all before, 32 bytes                           │
//!        │ never read                                               │
//!      C ├──────────────────────────────────────────────────────────┤  C = catalogue_bytes(size of the file)
//!        │ entry 0 │ entry 1 │ …                                    │
//!        └──────────────────────────────────────────────────────────┘
//! ```
//! An entry holds bytes of an object as the store has them: a frame, a segment's index with its trailer, a page. A file
//! is written from its start to its end and then used again as a whole, under a new salt and order. An entry's crc is
//! seeded with the salt and the entry's key, so neither bytes of an earlier use nor another entry's pass for it. Nothing
//! here is ever synced: whatever a crash leaves is either what the catalogue says, or refused.

use crc_fast::{CrcAlgorithm, Digest};

use crate::envelope::{self, HASH_BYTES};
use crate::error::{ensure, same};
use crate::page::PageRef;
use crate::wire::{Put, Reader, START_BYTES};
use crate::{Address, AddressKind, BundleId, FormatError, PoolId, SegmentId};

const WHAT: &str = "cache catalogue";
pub(crate) const MAGIC: &[u8; 8] = b"ESKRCACH";
const VERSION: u16 = 1;

const FIELDS_BYTES: usize = START_BYTES + 16 + 8 + 8 + 4 + 4;
const ENTRY_BYTES: usize = 16 + 4 + 4;
/// The smallest catalogue.
const CATALOGUE_BYTES_MIN: u64 = 4096;
/// A file has a catalogue of this part of it, so an entry of less than 6 KiB takes the room of one of 6 KiB.
const CATALOGUE_PART: u64 = 256;

const _: () = assert!(FIELDS_BYTES == 56 && ENTRY_BYTES == 24);

/// What an entry is of: one word of 128 bits, the kind in its highest byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CacheKey(u128);

impl CacheKey {
    const KIND_SHIFT: u32 = 120;

    /// A frame of a segment as it was sealed, by its first slot.
    pub fn frame(segment: SegmentId, first_slot: u16) -> CacheKey {
        CacheKey(1 << Self::KIND_SHIFT | u128::from(Address::segment(segment, first_slot).raw()))
    }

    /// The index of a segment as it was sealed.
    pub fn index(segment: SegmentId) -> CacheKey {
        CacheKey(2 << Self::KIND_SHIFT | u128::from(Address::segment(segment, 0).raw()))
    }

    /// A frame of a rewrite, by its first place: frames of another image have other borders.
    pub fn frame_in(segment: SegmentId, bundle: BundleId, first_place: u16) -> CacheKey {
        CacheKey(CacheKey::frame(segment, first_place).0 | image(bundle))
    }

    /// The index of a rewrite.
    pub fn index_in(segment: SegmentId, bundle: BundleId) -> CacheKey {
        CacheKey(CacheKey::index(segment).0 | image(bundle))
    }

    /// A page, by its hash.
    pub fn page(reference: &PageRef) -> CacheKey {
        let hash = reference.hash.0.first_chunk().expect("a hash is longer than a key");
        CacheKey(3 << Self::KIND_SHIFT | u128::from_le_bytes(*hash) >> 8)
    }

    /// Segment and first slot, where it is that of a frame of a sealed segment.
    pub fn as_frame(self) -> Option<(SegmentId, u16)> {
        // Only a frame's word is an address, and what a catalogue says may be none.
        let frame = self.0 >> 64 == 1 << (Self::KIND_SHIFT - 64);
        match Address::parse(self.0 as u64).ok().filter(|_| frame)?.kind() {
            AddressKind::Segment(segment, slot) => Some((segment, slot)),
            _ => None,
        }
    }
}

/// Which rewrite of its segment: 56 bits of the bundle's id, one of them set so that it is no sealed segment's. Two that
/// are alike do no harm: what is kept under a key is proven by whoever reads it.
fn image(bundle: BundleId) -> u128 {
    let word = u128::from(u64::from_le_bytes(*bundle.0.first_chunk().expect("an id is longer than a word")));
    (word | 1) << 64 & ((1 << CacheKey::KIND_SHIFT) - 1)
}

/// The queue that a file belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum CacheQueue {
    /// New entries.
    Trial = 0,
    /// Entries that were used while they were new, or came back.
    Main = 1,
}

/// An entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheEntry {
    /// What it is of.
    pub key: CacheKey,
    /// Its length.
    pub bytes: u32,
    /// Its [`entry_crc`].
    pub crc: u32,
}

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheCatalogue {
    /// The pool whose objects the entries are parts of.
    pub pool: PoolId,
    /// Drawn for this use of the file.
    pub salt: u64,
    /// Which use of a file in this directory it is: counts up, never repeats.
    pub order: u64,
    /// Its queue.
    pub queue: CacheQueue,
    /// The entries, in the order of their bytes.
    pub entries: Vec<CacheEntry>,
}

/// A catalogue that was only parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnverifiedCatalogue(CacheCatalogue);

/// The bytes at the start of a file of this size that its catalogue may take.
pub const fn catalogue_bytes(file_bytes: u64) -> u64 {
    let part = file_bytes / CATALOGUE_PART;
    if part < CATALOGUE_BYTES_MIN { CATALOGUE_BYTES_MIN } else { part }
}

/// The most entries of a file of this size.
pub const fn entries_max(file_bytes: u64) -> usize {
    (catalogue_bytes(file_bytes) as usize - FIELDS_BYTES - HASH_BYTES) / ENTRY_BYTES
}

/// The crc32c of an entry, seeded.
pub fn entry_crc(salt: u64, key: CacheKey, bytes: &[u8]) -> u32 {
    let mut crc = Digest::new(CrcAlgorithm::Crc32Iscsi);
    crc.update(&salt.to_le_bytes());
    crc.update(&key.0.to_le_bytes());
    crc.update(bytes);
    crc.finalize() as u32
}

impl CacheCatalogue {
    /// The catalogue's bytes, for the start of a file.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(FIELDS_BYTES + self.entries.len() * ENTRY_BYTES + HASH_BYTES);
        out.put_start(MAGIC, VERSION);
        out.put(&self.pool.0);
        out.put_u64(self.salt);
        out.put_u64(self.order);
        out.put(&[self.queue as u8, 0, 0, 0]);
        out.put_u32(u32::try_from(self.entries.len()).expect("fewer entries than bytes of a file"));
        for entry in &self.entries {
            out.put(&entry.key.0.to_le_bytes());
            out.put_u32(entry.bytes);
            out.put_u32(entry.crc);
        }
        envelope::put_hash(&mut out);
        out
    }

    /// Reads a catalogue from the start of a file.
    pub fn parse(bytes: &[u8]) -> Result<UnverifiedCatalogue, FormatError> {
        let mut from = Reader::new(WHAT, bytes);
        from.start(MAGIC, VERSION)?;
        let pool = PoolId(from.array("pool")?);
        let (salt, order) = (from.u64("salt")?, from.u64("order")?);
        let queue = match from.u8("queue")? {
            0 => CacheQueue::Trial,
            1 => CacheQueue::Main,
            other => return Err(FormatError::newer(WHAT, "queue", "0 or 1", other)),
        };
        from.room("room", 3)?;
        let count = from.count("entries", ENTRY_BYTES)?;
        envelope::check_hash(
            WHAT,
            bytes.get(..FIELDS_BYTES + count * ENTRY_BYTES + HASH_BYTES).unwrap_or(&[]),
        )?;
        let mut entries = Vec::with_capacity(count);
        for _ in 0..count {
            let key = CacheKey(u128::from_le_bytes(from.array("key")?));
            entries.push(CacheEntry { key, bytes: from.u32("length")?, crc: from.u32("crc")? });
        }
        Ok(UnverifiedCatalogue(CacheCatalogue { pool, salt, order, queue, entries }))
    }
}

impl UnverifiedCatalogue {
    /// The catalogue, if it is of this pool and fits into a file of this size.
    pub fn verify(self, pool: PoolId, file_bytes: u64) -> Result<CacheCatalogue, FormatError> {
        let catalogue = self.0;
        same(WHAT, "pool", pool, catalogue.pool)?;
        let taken: u64 = catalogue.entries.iter().map(|entry| u64::from(entry.bytes)).sum();
        let room = file_bytes.saturating_sub(catalogue_bytes(file_bytes));
        ensure(taken <= room, WHAT, "length of all entries", &format!("at most {room}"), taken)?;
        let most = entries_max(file_bytes);
        ensure(
            catalogue.entries.len() <= most,
            WHAT,
            "entries",
            &format!("at most {most}"),
            catalogue.entries.len(),
        )?;
        Ok(catalogue)
    }

    /// The catalogue as it was parsed, to look at.
    pub fn peek(&self) -> &CacheCatalogue {
        &self.0
    }
}
