//! What does not fit into paired slices: Esker alone, watched over time.

mod background;
mod forks;
mod guest;
mod idle;
mod open_time;
mod reclaim;
mod rounds;
mod snapshots;
mod sustained;

use std::{
    path::Path,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use anyhow::Result;

use crate::{
    load::{Connection, Templates},
    servers::{EskerSettings, Peer, Plan, Server},
};

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// Overwrites for longer than the dirty bound can hide.
    Sustained,
    /// Write latency at a quarter of the idle maximum, with and without sealing and uploading.
    Background,
    /// From the daemon's start to the first block, by the volume's size and by what is mapped.
    OpenTime,
    /// Many volumes that nobody uses.
    Idle,
    /// What forks cost, by the source's size, by their number and by their depth.
    Forks,
    /// Write latency while a snapshot is made.
    Snapshots,
    /// What overwriting costs in the store.
    Reclaim,
    /// Write latency while rounds of reclaim are made.
    Rounds,
}

/// All.
pub const SCENARIOS: [Scenario; 8] = [
    Scenario::Sustained,
    Scenario::Background,
    Scenario::OpenTime,
    Scenario::Idle,
    Scenario::Forks,
    Scenario::Snapshots,
    Scenario::Reclaim,
    Scenario::Rounds,
];

impl Scenario {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sustained => "sustained",
            Self::Background => "background",
            Self::OpenTime => "open-time",
            Self::Idle => "idle",
            Self::Forks => "forks",
            Self::Snapshots => "snapshots",
            Self::Reclaim => "reclaim",
            Self::Rounds => "rounds",
        }
    }

    /// What it is, in a few words.
    pub fn what(self) -> &'static str {
        match self {
            Self::Sustained => "random overwrite, depth 32, of eight times the dirty bound; bounded(5s)",
            Self::Background => {
                "write latency at 25 % of the idle maximum, with and without sealing and uploading"
            }
            Self::OpenTime => {
                "from the daemon's start to the first block, after a clean end; median of three"
            }
            Self::Idle => "volumes that nobody uses, in one daemon; --volumes says how many",
            Self::Forks => {
                "forks of a volume of 1 TiB, of which --written is written, and of a small one; then --volumes of them, \
                 beside each other and each of the one before"
            }
            Self::Snapshots => {
                "write latency at 25 % of the idle maximum, with and without a snapshot in the slice"
            }
            Self::Reclaim => {
                "a volume of --written, overwritten three times, uniformly and nine writes of ten in a tenth"
            }
            Self::Rounds => "write latency at 25 % of the idle maximum, with and without a round of reclaim",
        }
    }

    /// Runs it in a directory of its own.
    pub fn run(self, settings: &Settings<'_>) -> Result<Table> {
        match self {
            Self::Sustained => sustained::run(settings),
            Self::Background => background::run(settings),
            Self::OpenTime => open_time::run(settings),
            Self::Idle => idle::run(settings),
            Self::Forks => forks::run(settings),
            Self::Snapshots => snapshots::run(settings),
            Self::Reclaim => reclaim::run(settings),
            Self::Rounds => rounds::run(settings),
        }
    }
}

/// How a scenario is run.
pub struct Settings<'a> {
    /// How Esker is set up; a scenario changes what it is about.
    pub esker: EskerSettings,
    /// How many volumes, where it is about many.
    pub volumes: u64,
    /// How much is written to a volume, where it is about that; none: as the scenario likes.
    pub written_bytes: Option<u64>,
    /// Slices of each kind, where a scenario has pairs of them.
    pub slices: usize,
    /// Where files go.
    pub directory: &'a Path,
    /// Set when somebody asks for an end.
    pub stop: &'a AtomicBool,
}

impl Settings<'_> {
    fn start(&self, esker: EskerSettings, exports: usize, size_bytes: u64) -> Result<Server> {
        let plan = Plan { esker, before: None, exports, size_bytes };
        Server::start(Peer::Esker, &self.directory.join("esker"), &plan, self.stop)
    }
}

fn connect(server: &Server, export: &str, templates: Templates, seed: u64) -> Result<Connection> {
    Connection::open(&server.socket, export, &Arc::new(templates), seed)
}

/// What came of it: a table of texts, and the same as numbers.
pub struct Table {
    /// Which scenario.
    pub scenario: Scenario,
    /// Names of the columns.
    pub head: Vec<&'static str>,
    /// The rows.
    pub rows: Vec<Vec<Cell>>,
    /// What was to be reached, and whether it was.
    pub targets: Vec<Target>,
    /// Figures over time.
    pub series: Vec<Series>,
}

/// Something that was to be reached.
#[derive(Debug, Clone)]
pub struct Target {
    /// What of.
    pub what: &'static str,
    /// What was wanted.
    pub wanted: String,
    /// What was found.
    pub found: String,
    /// Whether that is enough.
    pub met: bool,
}

/// A figure over time.
#[derive(Debug, Clone)]
pub struct Series {
    /// Of what.
    pub what: &'static str,
    /// From one value to the next.
    pub step: Duration,
    /// The values.
    pub values: Vec<f64>,
}

impl Table {
    fn new(scenario: Scenario, head: Vec<&'static str>, rows: Vec<Vec<Cell>>) -> Self {
        Self { scenario, head, rows, targets: Vec::new(), series: Vec::new() }
    }
}

/// A figure.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// A text.
    Text(String),
    /// A number of something.
    Number(f64),
    /// A time.
    Time(Duration),
}
