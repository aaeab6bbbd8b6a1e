//! Reading a log back: from chunk files to the records that the last commit does not cover.
//!
//! The records of an epoch end where the next epoch's first sequence begins, whatever lies behind. A gap
//! below that point, or below a mark of synced records in its own epoch, is damage (rule W3); any other
//! gap is the torn tail of a power loss, and the log ends there.

use std::sync::Arc;

use esker_format::{
    BLOCK_BYTES,
    chunk::{
        CHUNK_HEADER_BYTES, ChunkHeader, RECORD_ALIGN, Record, RecordKind, block_crc, decode_record,
        record_crc, seeded_crc,
    },
    ids::LogId,
};
use esker_io::{Bug, File, World, planted};

use super::{
    LogDirectory, Pending,
    chunk::Chunk,
    files::{ChunkFiles, Spare},
};
use crate::{EngineError, Result};

/// What a log holds beyond the last commit.
pub(crate) struct Scan {
    pub(crate) chunks: Vec<Arc<Chunk>>,
    pub(crate) records: Vec<Pending>,
    pub(crate) files: ChunkFiles,
    pub(crate) next_chunk: u64,
    /// The highest epoch that wrote to this log.
    pub(crate) newest_epoch: Option<u64>,
    /// The highest sequence found, or the commit's when the log holds nothing newer.
    pub(crate) last_sequence: u64,
    /// Where an unsynced tail was cut off, if one was.
    pub(crate) torn: Option<Torn>,
}

/// The tail that was cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Torn {
    /// Logical position of the first record that is missing or was discarded.
    pub position: u64,
    /// Readable records behind it, which are dropped.
    pub records: u64,
}

impl Scan {
    /// How many records the log holds beyond the commit.
    pub(crate) fn records(&self) -> usize {
        self.records.len()
    }
}

/// What a disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;

/// What to read, and how far.
pub(crate) struct Request<'a> {
    pub(crate) world: &'a World,
    pub(crate) directory: LogDirectory,
    pub(crate) log: LogId,
    /// The sequence that the newest head covers.
    pub(crate) covered: u64,
    /// The operator's way out of damage: nothing at or behind this position is replayed.
    pub(crate) discard_after: Option<u64>,
}

/// Reads a log.
pub(crate) fn scan(request: &Request<'_>) -> Result<Scan> {
    let mut found = find_chunks(request)?;
    found.chunks.sort_by_key(|chunk| chunk.header.chunk);
    let newest_epoch = found.chunks.iter().map(|chunk| chunk.header.epoch).max();
    let next_chunk = found.chunks.last().map_or(0, |last| last.header.chunk + 1);
    let mut spares = found.spares;
    let chunks = drop_unneeded(found.chunks, request.covered, &mut spares);
    let mut walk = Walk {
        request,
        expected: request.covered + 1,
        records: Vec::new(),
        used: Vec::new(),
        torn: None,
        at_ms: request.world.clock.monotonic().as_millis() as u64,
    };
    for index in 0..chunks.len() {
        if walk.torn.is_some() {
            break;
        }
        walk.chunk(&chunks, index)?;
    }
    for chunk in chunks {
        if !walk.used.iter().any(|used| used.number == chunk.header.chunk) {
            spares.push(chunk.spare());
        }
    }
    let log = (request.directory, request.log);
    Ok(Scan {
        chunks: walk.used,
        last_sequence: walk.expected - 1,
        records: walk.records,
        torn: walk.torn,
        files: ChunkFiles::new(request.world.clone(), log, found.next_file, spares, found.half_made),
        next_chunk,
        newest_epoch,
    })
}

/// A chunk file with a readable header.
struct Candidate {
    header: ChunkHeader,
    path: String,
    file: Arc<dyn File>,
    bytes: u64,
    /// The first sequence that does not belong to this chunk's epoch any more.
    epoch_end: Option<u64>,
}

impl Candidate {
    fn spare(self) -> Spare {
        Spare::cold(self.path, self.file)
    }

    fn base(&self) -> u64 {
        self.header.chunk * self.bytes
    }
}

struct Found {
    chunks: Vec<Candidate>,
    spares: Vec<Spare>,
    half_made: Vec<String>,
    next_file: u64,
}

fn find_chunks(request: &Request<'_>) -> Result<Found> {
    let dir = request.directory.log_path(request.log);
    let mut found = Found { chunks: Vec::new(), spares: Vec::new(), half_made: Vec::new(), next_file: 0 };
    for entry in request.world.disk.list(&dir)? {
        let Some(number) = entry.name.strip_suffix(".chunk").and_then(|stem| stem.parse::<u64>().ok()) else {
            continue;
        };
        found.next_file = found.next_file.max(number + 1);
        let path = format!("{dir}/{}", entry.name);
        let file = request.world.disk.open(&path)?;
        let size = file.size()?;
        let mut bytes = vec![0; CHUNK_HEADER_BYTES.min(size as usize)];
        file.read_at(&mut bytes, 0)?;
        match ChunkHeader::parse(&bytes) {
            Ok(_) if size != request.directory.chunk_bytes => {
                return Err(EngineError::Damaged {
                    object: path,
                    message: format!(
                        "expected a chunk of {} bytes, found {size}",
                        request.directory.chunk_bytes
                    ),
                });
            }
            Ok(header) if header.volume == request.directory.volume && header.log == request.log => {
                let bytes = request.directory.chunk_bytes;
                found.chunks.push(Candidate { header, path, file, bytes, epoch_end: None });
            }
            Ok(header) => {
                return Err(EngineError::Damaged {
                    object: path,
                    message: format!(
                        "expected a chunk of volume {} and log {}, found volume {} and log {}",
                        request.directory.volume, request.log, header.volume, header.log
                    ),
                });
            }
            // A header lies in one sector, which is written whole or not at all: zeros were never in use, or not since
            // the file was made a spare.
            Err(_) if bytes[..SECTOR_BYTES.min(bytes.len())].iter().all(|byte| *byte == 0) => {
                if size == request.directory.chunk_bytes {
                    found.spares.push(Spare::cold(path, file));
                } else {
                    found.half_made.push(path);
                }
            }
            // The operator's way out: what cannot be read is left alone, and is not in the way.
            Err(_) if request.discard_after.is_some() => {}
            Err(error) => return Err(EngineError::Damaged { object: path, message: error.to_string() }),
        }
    }
    Ok(found)
}

/// Sets where each epoch ends, and puts away the chunks that cannot hold a needed record.
fn drop_unneeded(mut chunks: Vec<Candidate>, covered: u64, spares: &mut Vec<Spare>) -> Vec<Candidate> {
    let firsts: Vec<(u64, u64)> = chunks.iter().map(|c| (c.header.epoch, c.header.first_sequence)).collect();
    for chunk in &mut chunks {
        let later = firsts.iter().filter(|(epoch, _)| *epoch > chunk.header.epoch);
        chunk.epoch_end = later.map(|(_, first)| *first).min().filter(|_| !planted(Bug::EpochReadOn));
    }
    let (live, cut): (Vec<_>, Vec<_>) = chunks
        .into_iter()
        .partition(|chunk| chunk.epoch_end.is_none_or(|end| chunk.header.first_sequence < end));
    spares.extend(cut.into_iter().map(Candidate::spare));
    let nexts: Vec<Option<u64>> =
        (1..=live.len()).map(|i| live.get(i).map(|c| c.header.first_sequence)).collect();
    let mut needed = Vec::new();
    for (chunk, next) in live.into_iter().zip(nexts) {
        if next.is_some_and(|next| next <= covered + 1) {
            spares.push(chunk.spare());
        } else {
            needed.push(chunk);
        }
    }
    needed
}

/// The walk over all records.
struct Walk<'a> {
    request: &'a Request<'a>,
    /// The next sequence that is needed.
    expected: u64,
    records: Vec<Pending>,
    used: Vec<Arc<Chunk>>,
    torn: Option<Torn>,
    at_ms: u64,
}

impl Walk<'_> {
    /// Walks one chunk; sets `torn` when the log ends in it.
    fn chunk(&mut self, chunks: &[Candidate], index: usize) -> Result<()> {
        let candidate = &chunks[index];
        let header = &candidate.header;
        let (path, file) = (candidate.path.clone(), candidate.file.clone());
        let chunk = Arc::new(Chunk::new(header, path, file, candidate.bytes));
        if candidate.header.first_sequence > self.expected {
            return self.gap(chunks, index, CHUNK_HEADER_BYTES);
        }
        let bytes = read_chunk(candidate)?;
        let kept_before = self.records.len();
        // Within the chunk: the sequence that comes next, needed or not.
        let mut next = candidate.header.first_sequence;
        let mut offset = CHUNK_HEADER_BYTES;
        while let Some(found) = self.step(&bytes, candidate, offset, next) {
            let position = candidate.base() + found.offset as u64;
            if candidate.epoch_end.is_some_and(|end| found.record.sequence >= end) {
                break;
            }
            if let Some(discard) = self.request.discard_after.filter(|discard| position >= *discard) {
                self.finish(&chunk, kept_before);
                self.torn =
                    Some(Torn { position: discard, records: count_behind(chunks, index, found.offset)? });
                return Ok(());
            }
            if found.record.sequence > self.expected {
                self.finish(&chunk, kept_before);
                return self.gap(chunks, index, offset);
            }
            offset = found.end;
            next = found.record.sequence + 1;
            chunk.remember((found.end - found.crcs.len() * BLOCK_BYTES) as u64, &found.crcs);
            if found.record.sequence == self.expected {
                self.expected += 1;
                let end = candidate.base() + found.end as u64;
                self.records.push(Pending { record: found.record, start: position, end, at_ms: self.at_ms });
            }
        }
        self.finish(&chunk, kept_before);
        self.end_of_chunk(chunks, index, offset)
    }

    /// The record at `offset`, or behind the padding of a sync, or (where records are missing) any later one.
    fn step(&self, bytes: &[u8], candidate: &Candidate, offset: usize, next: u64) -> Option<FoundRecord> {
        let salt = candidate.header.salt;
        for at in [offset, offset.next_multiple_of(4096)] {
            if let Some(found) = read_record(bytes, at, salt).filter(|found| found.record.sequence == next) {
                return Some(found);
            }
        }
        find_record(bytes, offset, salt).filter(|found| found.record.sequence >= next)
    }

    fn finish(&mut self, chunk: &Arc<Chunk>, kept_before: usize) {
        if self.records.len() > kept_before {
            self.used.push(chunk.clone());
        }
    }

    /// No further record in this chunk: is one missing that was synced?
    fn end_of_chunk(&mut self, chunks: &[Candidate], index: usize, offset: usize) -> Result<()> {
        let Some(next) = chunks.get(index + 1) else {
            return Ok(());
        };
        if next.header.first_sequence <= self.expected { Ok(()) } else { self.gap(chunks, index, offset) }
    }

    /// Record `expected` is missing at `offset` of chunk `index`: a torn tail, or damage.
    fn gap(&mut self, chunks: &[Candidate], index: usize, offset: usize) -> Result<()> {
        let candidate = &chunks[index];
        let position = candidate.base() + offset as u64;
        if self.request.discard_after.is_some_and(|discard| position >= discard) {
            self.torn = Some(Torn { position, records: count_behind(chunks, index, offset)? });
            return Ok(());
        }
        // What an older epoch was opened with was synced by that opening.
        let mut synced = candidate.epoch_end.map_or(0, |end| end - 1);
        let mut behind = 0;
        for (later, chunk) in chunks.iter().enumerate().skip(index) {
            if chunk.header.epoch != candidate.header.epoch {
                break;
            }
            synced = synced.max(chunk.header.synced_sequence);
            let from = if later == index { offset } else { CHUNK_HEADER_BYTES };
            for record in all_records(&read_chunk(chunk)?, from, chunk.header.salt) {
                synced = synced.max(record.synced_sequence);
                behind += 1;
            }
        }
        if synced >= self.expected && !planted(Bug::GapIsTorn) {
            return Err(EngineError::LogDamaged {
                volume: self.request.directory.volume.to_string(),
                position,
                expected: self.expected,
                synced,
            });
        }
        self.torn = Some(Torn { position, records: behind });
        Ok(())
    }
}

/// A record that was read whole and verified.
struct FoundRecord {
    record: Record,
    offset: usize,
    end: usize,
    /// The plain checksums of its blocks.
    crcs: Vec<u32>,
}

fn read_chunk(candidate: &Candidate) -> Result<Vec<u8>> {
    let mut bytes = vec![0; candidate.bytes as usize];
    candidate.file.read_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// The record at `offset`, if header and all blocks are whole.
fn read_record(bytes: &[u8], offset: usize, salt: u64) -> Option<FoundRecord> {
    let rest = bytes.get(offset..)?;
    let (record, header_bytes) = decode_record(rest, salt)?;
    let blocks = if record.kind == RecordKind::Write { record.blocks as usize } else { 0 };
    let data = rest.get(header_bytes..header_bytes.checked_add(blocks.checked_mul(BLOCK_BYTES)?)?)?;
    let mut crcs = Vec::with_capacity(blocks);
    for (index, block) in data.chunks_exact(BLOCK_BYTES).enumerate() {
        let plain = block_crc(block);
        if seeded_crc(plain, salt, record.sequence, record.lba + index as u64) != record_crc(rest, index)
            && !planted(Bug::CrcIgnored)
        {
            return None;
        }
        crcs.push(plain);
    }
    Some(FoundRecord { record, offset, end: offset + header_bytes + data.len(), crcs })
}

/// The first whole record at or behind `offset`.
fn find_record(bytes: &[u8], offset: usize, salt: u64) -> Option<FoundRecord> {
    let first = offset.next_multiple_of(RECORD_ALIGN);
    (first..bytes.len()).step_by(RECORD_ALIGN).find_map(|at| read_record(bytes, at, salt))
}

/// All whole records at or behind `offset`.
fn all_records(bytes: &[u8], offset: usize, salt: u64) -> Vec<Record> {
    let mut records = Vec::new();
    let mut at = offset;
    while let Some(found) = find_record(bytes, at, salt) {
        at = found.end;
        records.push(found.record);
    }
    records
}

/// How many whole records lie at or behind `offset` of chunk `index`, later chunks included.
fn count_behind(chunks: &[Candidate], index: usize, offset: usize) -> Result<u64> {
    let mut count = 0;
    for (later, chunk) in chunks.iter().enumerate().skip(index) {
        let from = if later == index { offset } else { CHUNK_HEADER_BYTES };
        count += all_records(&read_chunk(chunk)?, from, chunk.header.salt).len() as u64;
    }
    Ok(count)
}
