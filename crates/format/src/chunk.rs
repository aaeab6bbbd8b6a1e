//! A chunk of the local log: a header, then records with their data.
//!
//! ```text
//!      0 ┌───────────────────────────────────────────────┐
//!        │ magic "ESKRCHNK" │ version u16 │ flags u16, 0  │
//!        │ key id u32, 0                                 │
//!     16 │ volume 16 │ log 16                            │
//!     48 │ epoch u64 │ chunk u64 │ first sequence u64    │
//!     72 │ synced sequence u64 │ salt u64                │
//!     88 │ room, 0                                       │
//!    508 │ crc32c of bytes 0..508                        │
//!    512 │ 0, never read                                 │
//!   4096 ├───────────────────────────────────────────────┤
//!        │ record header │ data: blocks × 4096 │ record … │
//!        └───────────────────────────────────────────────┘
//!
//! record header, a multiple of 64 bytes:
//!      0 │ magic u32 │ crc u32 │ sequence u64 │ lba u64 │ blocks u64 │ synced sequence u64
//!     40 │ kind u8: 0 write, 1 hole, 2 zero │ room 7, 0
//!     48 │ one crc u32 per block of a write │ 0 up to the multiple of 64
//! ```
//! Only a sector of 512 bytes is assumed to be written whole, so the chunk header's fields end there. The salt is drawn
//! at every use of the chunk; record and block checksums are seeded with it, so nothing of an earlier use passes for a
//! record of this one (rule W2). A block's checksum is computed once: its plain crc32c xor a mix of salt, sequence and
//! LBA, from which the plain one can be had again.

use crc_fast::{CrcAlgorithm, Digest, crc32_iscsi};

use crate::error::ensure;
use crate::wire::{Put, Reader, START_BYTES};
use crate::{FormatError, LogId, VolumeId};

const WHAT: &str = "log chunk header";
pub(crate) const MAGIC: &[u8; 8] = b"ESKRCHNK";
const VERSION: u16 = 1;

/// The size of a chunk.
pub const CHUNK_BYTES: u64 = 32 << 20;
/// The size of a chunk's header: one page of a disk.
pub const CHUNK_HEADER_BYTES: usize = 4096;
const SECTOR_BYTES: usize = 512;
const CRC_BYTES: usize = 4;
const CHUNK_CRC_AT: usize = SECTOR_BYTES - CRC_BYTES;
const CHUNK_FIELDS_BYTES: usize = START_BYTES + 16 + 16 + 5 * 8;

/// Record headers begin and end at multiples of this.
pub const RECORD_ALIGN: usize = 64;
/// The most blocks of one write record: 1 MiB.
pub const RECORD_BLOCKS_MAX: u64 = 256;
const RECORD_MAGIC: u32 = u32::from_le_bytes(*b"EsRc");
const RECORD_CRC_AT: usize = 4;
const RECORD_SEQUENCE_AT: usize = RECORD_CRC_AT + CRC_BYTES;
const RECORD_KIND_AT: usize = RECORD_SEQUENCE_AT + 4 * 8;
const RECORD_BLOCK_CRCS_AT: usize = RECORD_KIND_AT + 8;

const _: () = {
    assert!(CHUNK_FIELDS_BYTES == 88 && CHUNK_FIELDS_BYTES <= CHUNK_CRC_AT);
    assert!(RECORD_KIND_AT == 40 && RECORD_BLOCK_CRCS_AT == 48);
    assert!(
        CHUNK_HEADER_BYTES.is_multiple_of(RECORD_ALIGN)
            && CHUNK_BYTES.is_multiple_of(CHUNK_HEADER_BYTES as u64)
    );
    assert!(record_header_bytes(RecordKind::Hole, u64::MAX) == 64);
    assert!(
        record_header_bytes(RecordKind::Write, 4) == 64 && record_header_bytes(RecordKind::Write, 5) == 128
    );
    assert!(record_header_bytes(RecordKind::Write, RECORD_BLOCKS_MAX) == 1088);
};

/// What a chunk is part of and from where its records count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkHeader {
    /// The volume.
    pub volume: VolumeId,
    /// The log.
    pub log: LogId,
    /// The epoch in which the chunk was started.
    pub epoch: u64,
    /// The chunk's logical number: its bytes are log positions from `chunk * CHUNK_BYTES`.
    pub chunk: u64,
    /// The sequence of its first record.
    pub first_sequence: u64,
    /// The highest sequence known to be synced when the chunk was started (rule W3).
    pub synced_sequence: u64,
    /// Drawn for this use of the chunk.
    pub salt: u64,
}

impl ChunkHeader {
    /// The header's bytes.
    pub fn encode(&self) -> [u8; CHUNK_HEADER_BYTES] {
        let mut fields = Vec::with_capacity(SECTOR_BYTES);
        fields.put_start(MAGIC, VERSION);
        fields.put(&self.volume.0);
        fields.put(&self.log.0);
        for word in [self.epoch, self.chunk, self.first_sequence, self.synced_sequence, self.salt] {
            fields.put_u64(word);
        }
        assert_eq!(fields.len(), CHUNK_FIELDS_BYTES, "the drawing above");
        fields.resize(CHUNK_CRC_AT, 0);
        fields.put_u32(crc32_iscsi(&fields));
        let mut out = [0; CHUNK_HEADER_BYTES];
        out[..SECTOR_BYTES].copy_from_slice(&fields);
        out
    }

    /// Reads a header from the start of a chunk; 512 bytes are enough.
    pub fn parse(bytes: &[u8]) -> Result<ChunkHeader, FormatError> {
        let Some(sector) = bytes.first_chunk::<SECTOR_BYTES>() else {
            return Err(FormatError::short(WHAT, "sector", SECTOR_BYTES, bytes.len()));
        };
        let mut from = Reader::new(WHAT, sector);
        from.start(MAGIC, VERSION)?;
        let header = ChunkHeader {
            volume: VolumeId(from.array("volume")?),
            log: LogId(from.array("log")?),
            epoch: from.u64("epoch")?,
            chunk: from.u64("chunk")?,
            first_sequence: from.u64("first sequence")?,
            synced_sequence: from.u64("synced sequence")?,
            salt: from.u64("salt")?,
        };
        let room = from.take("room", CHUNK_CRC_AT - CHUNK_FIELDS_BYTES)?;
        let (crc, found) = (crc32_iscsi(&sector[..CHUNK_CRC_AT]), from.u32("crc")?);
        ensure(crc == found, WHAT, "crc", &format!("{crc:#010x}"), format_args!("{found:#010x}"))?;
        if room.iter().any(|&byte| byte != 0) {
            return Err(FormatError::newer(WHAT, "room", "zeros", "fields"));
        }
        Ok(header)
    }
}

/// What a record does to its blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RecordKind {
    /// Writes the data that follows the record's header.
    Write = 0,
    /// Trims them.
    Hole = 1,
    /// Writes zeros.
    Zero = 2,
}

/// One change of a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// Its number in the volume's history.
    pub sequence: u64,
    /// The first block.
    pub lba: u64,
    /// How many blocks: any number for holes and zeros, at most [`RECORD_BLOCKS_MAX`] for writes.
    pub blocks: u64,
    /// What it does.
    pub kind: RecordKind,
    /// The highest sequence known to be synced when the record was written (rule W3).
    pub synced_sequence: u64,
}

impl Record {
    /// True when the blocks exist and the kind allows their number.
    const fn is_valid(&self) -> bool {
        let blocks_max = if matches!(self.kind, RecordKind::Write) { RECORD_BLOCKS_MAX } else { u64::MAX };
        self.blocks > 0 && self.blocks <= blocks_max && self.lba.checked_add(self.blocks).is_some()
    }
}

/// The length of a record's header; a write's data follows it directly.
pub const fn record_header_bytes(kind: RecordKind, blocks: u64) -> usize {
    let crcs = match kind {
        RecordKind::Write => blocks as usize,
        RecordKind::Hole | RecordKind::Zero => 0,
    };
    (RECORD_BLOCK_CRCS_AT + CRC_BYTES * crcs).next_multiple_of(RECORD_ALIGN)
}

/// Appends a record's header. `crcs` has the plain [`block_crc`] of each block of a write, and is empty otherwise.
/// Panics on a record that cannot be one.
pub fn encode_record(record: &Record, salt: u64, crcs: &[u32], out: &mut Vec<u8>) {
    assert!(record.is_valid(), "a record within its bounds");
    let blocks_with_crc = if record.kind == RecordKind::Write { record.blocks } else { 0 };
    assert_eq!(crcs.len() as u64, blocks_with_crc, "one crc for each block written");
    let start = out.len();
    out.put_u32(RECORD_MAGIC);
    out.put_u32(0);
    for word in [record.sequence, record.lba, record.blocks, record.synced_sequence] {
        out.put_u64(word);
    }
    out.put_u64(u64::from(record.kind as u8));
    for (&crc, lba) in crcs.iter().zip(record.lba..) {
        out.put_u32(seeded_crc(crc, salt, record.sequence, lba));
    }
    out.resize(start + record_header_bytes(record.kind, record.blocks), 0);
    let crc = header_crc(&out[start..], salt);
    out[start + RECORD_CRC_AT..start + RECORD_SEQUENCE_AT].copy_from_slice(&crc.to_le_bytes());
}

/// Reads a record at the start of `bytes`, which may go on after it; returns it with the length of its header.
/// `None` when there is no valid record here; then nothing follows from the bytes. The data is not looked at:
/// compare its [`block_crc`] by [`record_crc`] and [`seeded_crc`].
pub fn decode_record(bytes: &[u8], salt: u64) -> Option<(Record, usize)> {
    let fixed = bytes.first_chunk::<RECORD_BLOCK_CRCS_AT>()?;
    let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| fixed[at + i]));
    let half = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| fixed[at + i]));
    if half(0) != RECORD_MAGIC {
        return None;
    }
    let kind = match word(RECORD_KIND_AT) {
        0 => RecordKind::Write,
        1 => RecordKind::Hole,
        2 => RecordKind::Zero,
        _ => return None,
    };
    let record = Record {
        sequence: word(RECORD_SEQUENCE_AT),
        lba: word(RECORD_SEQUENCE_AT + 8),
        blocks: word(RECORD_SEQUENCE_AT + 16),
        kind,
        synced_sequence: word(RECORD_SEQUENCE_AT + 24),
    };
    if !record.is_valid() {
        return None;
    }
    let header = bytes.get(..record_header_bytes(kind, record.blocks))?;
    (header_crc(header, salt) == half(RECORD_CRC_AT)).then_some((record, header.len()))
}

/// The seeded crc of block `i` in the header of a write that [`decode_record`] has accepted.
pub fn record_crc(header: &[u8], i: usize) -> u32 {
    let at = RECORD_BLOCK_CRCS_AT + CRC_BYTES * i;
    u32::from_le_bytes(std::array::from_fn(|byte| header[at + byte]))
}

/// The plain crc32c of a block.
pub fn block_crc(block: &[u8]) -> u32 {
    crc32_iscsi(block)
}

/// A block's crc as it stands in a record; applied to that with the same salt, sequence and LBA, the plain one again.
pub fn seeded_crc(plain: u32, salt: u64, sequence: u64, lba: u64) -> u32 {
    plain ^ mix(mix(mix(salt) ^ sequence) ^ lba) as u32
}

/// All bytes of a record header except the crc itself, seeded with the salt.
fn header_crc(header: &[u8], salt: u64) -> u32 {
    let mut crc = Digest::new(CrcAlgorithm::Crc32Iscsi);
    crc.update(&mix(salt).to_le_bytes());
    crc.update(&header[..RECORD_CRC_AT]);
    crc.update(&header[RECORD_SEQUENCE_AT..]);
    crc.finalize() as u32
}

/// The finalizer of SplitMix64: every input bit changes about half of the output bits.
const fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}
