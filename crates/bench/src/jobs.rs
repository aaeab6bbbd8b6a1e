//! The jobs: what is asked of every server.

use std::time::Duration;

use crate::load::{Kind, Load};

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// The client of this crate.
    Batching,
    /// `fio` with its `nbd` engine, as a foreign witness.
    Fio,
}

/// In what state the data is when the job begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Just written: in Esker's log, in everybody's page cache.
    Written,
    /// Esker was stopped and started: in its store, and read once.
    Cached,
    /// As above, but not read; a small cache, and the page cache dropped before each slice.
    Cold,
    /// Esker's volume is `bounded(1s)`, and has been overwritten and brought into its store several times, so that
    /// its log lies in files that were used before; the store holds all of it before each slice.
    Warm,
}

/// A job.
#[derive(Debug, Clone, Copy)]
pub struct Job {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it is, in a few words.
    pub what: &'static str,
    /// Who asks.
    pub asker: Asker,
    /// The state before.
    pub state: State,
    /// What each connection asks for; the area is that of one export.
    pub load: Load,
    /// Connections, shared out over the exports.
    pub connections: usize,
    /// Exports.
    pub exports: usize,
    /// Warm-up before each slice.
    pub warm_up: Duration,
}

const MIB: u64 = 1 << 20;
/// What is read and written, all exports together.
const AREA_BYTES: u64 = 512 * MIB;

const fn job(name: &'static str, what: &'static str, kind: Kind, request_bytes: usize, depth: usize) -> Job {
    let load = Load { kind, request_bytes, depth, area_bytes: AREA_BYTES, rate: None };
    Job {
        name,
        what,
        asker: Asker::Batching,
        state: State::Written,
        load,
        connections: 1,
        exports: 1,
        warm_up: Duration::from_millis(20),
    }
}

const fn four_k(name: &'static str, what: &'static str, kind: Kind, depth: usize) -> Job {
    job(name, what, kind, 4096, depth)
}

impl Job {
    const fn by_fio(self) -> Self {
        Self { asker: Asker::Fio, warm_up: Duration::ZERO, ..self }
    }

    const fn over(self, connections: usize) -> Self {
        Self { connections, ..self }
    }

    const fn exports(self, exports: usize) -> Self {
        let load = Load { area_bytes: AREA_BYTES / exports as u64, ..self.load };
        Self { connections: exports, exports, load, ..self }
    }

    const fn when(self, state: State) -> Self {
        let area_bytes = if matches!(state, State::Cold) { AREA_BYTES } else { AREA_BYTES / 2 };
        Self { state, load: Load { area_bytes, ..self.load }, ..self }
    }

    /// Whether the raw disk can be asked for the same: only writes that are flushed end there at once.
    pub fn has_raw_witness(&self) -> bool {
        self.load.kind == Kind::WriteFlush
    }

    /// Whether Esker is stopped and started before, so that only its store holds the data.
    pub fn is_read_from_the_store(&self) -> bool {
        matches!(self.state, State::Cached | State::Cold)
    }

    /// The size of each export.
    pub fn export_bytes(&self) -> u64 {
        self.load.area_bytes
    }

    /// The unit of its rate.
    pub fn is_throughput(&self) -> bool {
        self.load.request_bytes > 4096
    }
}

/// All that run in paired slices.
pub const JOBS: [Job; 28] = [
    four_k("randread-1", "random read, depth 1, just written", Kind::Read, 1),
    four_k("randread-32", "random read, depth 32, just written", Kind::Read, 32),
    four_k("randread-128", "random read, depth 128, just written", Kind::Read, 128),
    four_k("randwrite-1", "random write, depth 1", Kind::Write, 1),
    four_k("randwrite-32", "random write, depth 32", Kind::Write, 32),
    four_k("randwrite-128", "random write, depth 128", Kind::Write, 128),
    four_k("mixed-32", "70 % read, 30 % write, depth 32", Kind::Mixed(70), 32),
    four_k("writeflush-1", "write + FLUSH, one writer", Kind::WriteFlush, 1),
    four_k("writeflush-16", "write + FLUSH, 16 writers", Kind::WriteFlush, 1).over(16),
    four_k("cachedread-1", "random read, depth 1, from the store, read before", Kind::Read, 1)
        .when(State::Cached),
    four_k("cachedread-32", "random read, depth 32, from the store, read before", Kind::Read, 32)
        .when(State::Cached),
    four_k("coldread-1", "random read, depth 1, cold", Kind::Read, 1).when(State::Cold),
    four_k("coldread-32", "random read, depth 32, cold", Kind::Read, 32).when(State::Cold),
    four_k("warmwrite-1", "random write, depth 1, to a volume at work", Kind::Write, 1).when(State::Warm),
    four_k("warmwrite-32", "random write, depth 32, to a volume at work", Kind::Write, 32).when(State::Warm),
    four_k("warmflush-1", "write + FLUSH, one writer, to a volume at work", Kind::WriteFlush, 1)
        .when(State::Warm),
    four_k("warmflush-16", "write + FLUSH, 16 writers, to a volume at work", Kind::WriteFlush, 1)
        .over(16)
        .when(State::Warm),
    job("seqread-128k", "sequential read, 128 KiB, depth 8", Kind::SequentialRead, 128 << 10, 8),
    job("seqwrite-128k", "sequential write, 128 KiB, depth 8", Kind::SequentialWrite, 128 << 10, 8),
    job("seqread-1m", "sequential read, 1 MiB, depth 4", Kind::SequentialRead, 1 << 20, 4),
    job("seqwrite-1m", "sequential write, 1 MiB, depth 4", Kind::SequentialWrite, 1 << 20, 4),
    four_k("exports-1", "random write, depth 4, 1 export", Kind::Write, 4),
    four_k("exports-16", "random write, depth 4 each, 16 exports", Kind::Write, 4).exports(16),
    four_k("exports-256", "random write, depth 4 each, 256 exports", Kind::Write, 4).exports(256),
    four_k("fio-randread-1", "fio, random read, depth 1", Kind::Read, 1).by_fio(),
    four_k("fio-randread-32", "fio, random read, depth 32", Kind::Read, 32).by_fio(),
    four_k("fio-randwrite-1", "fio, random write, depth 1", Kind::Write, 1).by_fio(),
    four_k("fio-randwrite-32", "fio, random write, depth 32", Kind::Write, 32).by_fio(),
];
