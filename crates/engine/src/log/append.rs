//! The one place where records get their sequence and go down to the kernel.

use std::{collections::VecDeque, io::IoSlice, sync::Arc};

use esker_format::{
    BLOCK_BYTES,
    chunk::{CHUNK_HEADER_BYTES, ChunkHeader, Record, RecordKind, encode_record, record_header_bytes},
};
use esker_io::{World, emptied, sync::atomic::Ordering};

use super::{
    Log, LogIdentity, Pending,
    chunk::Chunk,
    files::{ChunkFiles, FileRequest, Spare},
};
use crate::{EngineError, Result};

mod figures;
#[cfg(feature = "planted")]
mod late;
mod room;
mod take;

/// A sync is followed by this alignment, so that synced bytes are never written again.
const SYNC_ALIGN: u64 = 4096;

/// Write-back is started in steps of so many bytes, so that a sync finds little left.
const WRITE_BACK_BYTES: u64 = 2 << 20;

/// A part of a chunk whose write-back is due.
struct WriteBack {
    chunk: Arc<Chunk>,
    from: u64,
    to: u64,
}

/// What a record carries.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Payload<'a> {
    /// Whole blocks, and the plain checksum of each.
    Write { data: &'a [u8], crcs: &'a [u32] },
    /// A trimmed range.
    Hole { blocks: u64 },
    /// A range that reads as zeros and counts as allocated.
    Zero { blocks: u64 },
}

/// A record to be written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry<'a> {
    pub(crate) lba: u64,
    pub(crate) payload: Payload<'a>,
}

impl Entry<'_> {
    fn kind(&self) -> RecordKind {
        match self.payload {
            Payload::Write { .. } => RecordKind::Write,
            Payload::Hole { .. } => RecordKind::Hole,
            Payload::Zero { .. } => RecordKind::Zero,
        }
    }

    /// Blocks that the record covers.
    pub(crate) fn blocks(&self) -> u64 {
        match self.payload {
            Payload::Write { data, .. } => (data.len() / BLOCK_BYTES) as u64,
            Payload::Hole { blocks } | Payload::Zero { blocks } => blocks,
        }
    }

    fn data(&self) -> &[u8] {
        match self.payload {
            Payload::Write { data, .. } => data,
            Payload::Hole { .. } | Payload::Zero { .. } => &[],
        }
    }

    fn crcs(&self) -> &[u32] {
        match self.payload {
            Payload::Write { crcs, .. } => crcs,
            Payload::Hole { .. } | Payload::Zero { .. } => &[],
        }
    }

    fn header_bytes(&self) -> usize {
        record_header_bytes(self.kind(), self.blocks())
    }

    /// Bytes in the log, header included.
    fn bytes(&self) -> u64 {
        (self.header_bytes() + self.data().len()) as u64
    }
}

/// A header for the chunk `number`, with a fresh salt.
pub(crate) fn header(
    world: &World,
    identity: &LogIdentity,
    number: u64,
    first_sequence: u64,
    synced_sequence: u64,
) -> ChunkHeader {
    let mut salt = [0; 8];
    world.random.fill(&mut salt);
    ChunkHeader {
        volume: identity.volume,
        log: identity.log,
        epoch: identity.epoch,
        chunk: number,
        first_sequence,
        synced_sequence,
        salt: u64::from_le_bytes(salt),
    }
}

/// What the lock on the log's end protects.
pub(crate) struct Appender {
    files: ChunkFiles,
    active: Arc<Chunk>,
    /// The active chunk has all its space; false before the first append.
    reserved: bool,
    /// Offset of the next record in the active chunk.
    offset: u64,
    align_next: bool,
    /// Up to which offset the active chunk is on its way to the device.
    written_back: u64,
    next_sequence: u64,
    /// Chunks written to since the last sync began; the active one is always among them.
    touched: Vec<Arc<Chunk>>,
    /// Records that no applied commit covers; the first `cut` of them are in a seal already.
    pending: VecDeque<Pending>,
    cut: usize,
    /// Sequences at which a cut ends, ascending: the points of snapshots (rule W6).
    stops: VecDeque<u64>,
    uncut_blocks: u64,
    figures: figures::Figures,
    headers: Vec<u8>,
    /// Empty between appends.
    slices: Vec<IoSlice<'static>>,
    failed: Option<EngineError>,
    #[cfg(feature = "planted")]
    late: late::Late,
}

impl Appender {
    pub(crate) fn new(
        files: ChunkFiles,
        active: Arc<Chunk>,
        next_sequence: u64,
        pending: VecDeque<Pending>,
    ) -> Self {
        let uncut_blocks = pending.iter().map(Pending::weight).sum();
        let figures = figures::Figures::new(next_sequence - 1 - pending.len() as u64, uncut_blocks);
        Self {
            files,
            touched: vec![active.clone()],
            active,
            reserved: false,
            offset: CHUNK_HEADER_BYTES as u64,
            align_next: true,
            written_back: 0,
            next_sequence,
            pending,
            cut: 0,
            stops: VecDeque::new(),
            uncut_blocks,
            figures,
            headers: Vec::new(),
            slices: Vec::new(),
            failed: None,
            #[cfg(feature = "planted")]
            late: late::Late::default(),
        }
    }

    /// Where the next record would start in the active chunk.
    fn next_offset(&self) -> u64 {
        if self.align_next { self.offset.next_multiple_of(SYNC_ALIGN) } else { self.offset }
    }

    /// How many of `entries` go into the active chunk.
    fn fitting(&self, entries: &[Entry<'_>]) -> usize {
        let mut offset = self.next_offset();
        entries
            .iter()
            .take_while(|entry| {
                offset += entry.bytes();
                offset <= self.files.chunk_bytes
            })
            .count()
    }

    /// Encodes and writes `entries`, which fit; then they are numbered, remembered and pending.
    fn write(
        &mut self,
        entries: &[Entry<'_>],
        synced: u64,
        at_ms: u64,
        positions: &mut Vec<u64>,
    ) -> Result<()> {
        let start = self.next_offset();
        let mut headers = std::mem::take(&mut self.headers);
        headers.clear();
        for (sequence, entry) in (self.next_sequence..).zip(entries) {
            let record = self.record(entry, sequence, synced);
            encode_record(&record, self.active.salt, entry.crcs(), &mut headers);
        }
        let mut slices: Vec<IoSlice<'_>> = std::mem::take(&mut self.slices);
        let mut rest = &headers[..];
        for entry in entries {
            let (header, behind) = rest.split_at(entry.header_bytes());
            rest = behind;
            slices.push(IoSlice::new(header));
            if !entry.data().is_empty() {
                slices.push(IoSlice::new(entry.data()));
            }
        }
        assert!(rest.is_empty(), "a header is as long as it says");
        let written = self.write_down(&slices, start);
        self.slices = emptied(slices);
        self.headers = headers;
        written?;
        self.align_next = false;
        self.offset = start;
        for entry in entries {
            self.account(entry, synced, at_ms, positions);
        }
        Ok(())
    }

    fn write_down(&mut self, slices: &[IoSlice<'_>], start: u64) -> esker_io::disk::Result<()> {
        #[cfg(feature = "planted")]
        if let Some(late) = self.late.hold_back(&self.active, slices, start, self.next_sequence) {
            return late;
        }
        self.active.file.write_at(slices, start)
    }

    fn record(&self, entry: &Entry<'_>, sequence: u64, synced: u64) -> Record {
        Record {
            sequence,
            lba: entry.lba,
            blocks: entry.blocks(),
            kind: entry.kind(),
            synced_sequence: synced,
        }
    }

    fn account(&mut self, entry: &Entry<'_>, synced: u64, at_ms: u64, positions: &mut Vec<u64>) {
        let base = self.active.base();
        let record = self.record(entry, self.next_sequence, synced);
        let pending =
            Pending { record, start: base + self.offset, end: base + self.offset + entry.bytes(), at_ms };
        self.active.remember(pending.position() - base, entry.crcs());
        positions.push(pending.position());
        self.offset += entry.bytes();
        self.next_sequence += 1;
        self.uncut_blocks += pending.weight();
        self.figures.appended(&pending);
        self.pending.push_back(pending);
    }

    /// What should be on its way to the device, once there is enough of it. The page that goes on growing stays.
    fn write_back_due(&mut self) -> Option<WriteBack> {
        let (from, to) = (self.written_back, self.offset / SYNC_ALIGN * SYNC_ALIGN);
        (to - from >= WRITE_BACK_BYTES).then(|| {
            self.written_back = to;
            WriteBack { chunk: self.active.clone(), from, to }
        })
    }

    /// Starts a sync: the sequence it will cover, and the chunks it must sync.
    pub(crate) fn begin_sync(&mut self) -> (u64, Vec<Arc<Chunk>>) {
        self.align_next = true;
        let touched = std::mem::replace(&mut self.touched, vec![self.active.clone()]);
        (self.next_sequence - 1, touched)
    }

    /// Takes back a chunk that was removed from the table.
    pub(crate) fn recycle(&mut self, chunk: &Arc<Chunk>) {
        // An unsynced chunk may be recycled: its records are committed, so nobody waits for its sync.
        self.touched.retain(|touched| touched.number != chunk.number);
        self.files.recycle(chunk);
    }

    pub(crate) fn take_surplus(&mut self) -> Vec<String> {
        self.files.take_surplus()
    }

    /// Refuses everything from now on.
    pub(crate) fn poison(&mut self, error: EngineError) {
        self.failed.get_or_insert(error);
    }

    pub(crate) fn wants_file(&mut self) -> Option<FileRequest> {
        if self.failed.is_some() { None } else { self.files.wants_file() }
    }

    /// Whether the next rotation would have to make a file itself.
    pub(crate) fn lacks_file(&self) -> bool {
        self.files.lacks_file()
    }

    pub(crate) fn file_prepared(&mut self, prepared: Option<Spare>) {
        self.files.prepared(prepared);
    }

    fn chunk_bytes(&self) -> u64 {
        self.files.chunk_bytes
    }

    /// Where the log ends.
    fn end(&self) -> u64 {
        self.active.base() + self.offset
    }
}

impl Log {
    /// Writes records in order, in one system call unless a chunk ends within them. `positions` gets the
    /// position of each record that is in the log; on an error those after it are not, and never will be.
    pub(crate) fn append(&self, entries: &[Entry<'_>], positions: &mut Vec<u64>) -> Result<()> {
        positions.clear();
        let at_ms = self.world.clock.monotonic().as_millis() as u64;
        let mut appender = self.appender.lock();
        if let Some(error) = &appender.failed {
            return Err(error.clone());
        }
        if !appender.reserved {
            self.reserve(&mut appender)?;
        }
        let mut rest = entries;
        let mut write_back = Vec::new();
        let mut outcome = Ok(());
        while !rest.is_empty() && outcome.is_ok() {
            let fitting = appender.fitting(rest);
            if fitting == 0 {
                // A chunk that cannot be had leaves no trace: the write fails, the log goes on.
                outcome = self.rotate(&mut appender).map(|full| write_back.push(full));
                if let Err(error @ EngineError::Stopped { .. }) = &outcome {
                    appender.poison(error.clone());
                }
                continue;
            }
            let synced = self.synced.load(Ordering::Acquire);
            outcome = appender.write(&rest[..fitting], synced, at_ms, positions).map_err(|error| {
                // Part of the batch may be in the file: nothing may follow it (I11).
                let stopped = self.stopped(&error.to_string());
                appender.poison(stopped.clone());
                stopped
            });
            rest = &rest[fitting..];
        }
        self.last.store(appender.next_sequence - 1, Ordering::Release);
        let before = self.end.swap(appender.end(), Ordering::AcqRel);
        self.budget.take(appender.end() - before);
        self.records.store(appender.pending_records(), Ordering::Release);
        write_back.extend(appender.write_back_due());
        drop(appender);
        for WriteBack { chunk, from, to } in write_back {
            // The kernel may hold up who starts it, for tens of milliseconds when much is on its way: no guest's thread.
            self.world.cpu.submit(Box::new(move || chunk.file.start_write_back(from, to - from)));
        }
        outcome
    }
}
