//! What travels, as JSON. Keys are never renamed or given another meaning; new ones may come.

mod changes;
mod groups;
mod history;
mod metrics;
mod snapshots;
mod space;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use changes::{
    CreateVolume, Deleted, Objects, OpenVolume, Opened, ReclaimPool, Reclaimed, ResizeVolume, SetProperties,
    Torn,
};
pub use groups::{CreateGroup, Group, Groups, Member};
pub use history::{History, Point, RewindVolume, Rewound, Target};
pub use metrics::{Bucket, Family, FamilyKind, Histogram, Metrics, Sample, Value};
pub use snapshots::{CreateSnapshot, ForkVolume, LabelSnapshot, Origin, Snapshot, SnapshotSpace, Snapshots};
pub use space::{Pinned, ReasonSum, Reasons, SegmentReason, Space, VolumeSpace};

/// The daemon and what it serves.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Status {
    /// The version of the program.
    pub version: String,
    /// What the daemon does.
    pub state: DaemonState,
    /// The id of this run.
    pub run: String,
    /// The data directory.
    pub data: String,
    /// The pool.
    pub pool: Pool,
    /// Where NBD is served.
    pub nbd: Nbd,
    /// Milliseconds since the start.
    pub uptime_ms: u64,
    /// The volumes that this daemon serves or was to serve.
    pub volumes: Vec<Served>,
    /// What was sent to the store since the start.
    pub requests: Requests,
    /// The cache of decoded frames.
    pub cache: Cache,
}

/// What a daemon does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DaemonState {
    /// It opens the volumes it was started with.
    Opening,
    /// It serves.
    Ready,
    /// It brings everything into the store, to end then.
    Draining,
}

/// A pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// The store, without credentials.
    pub url: String,
    /// The pool's id.
    pub id: String,
}

/// Where NBD is served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nbd {
    /// The unix socket.
    pub socket: String,
    /// The TCP address.
    pub tcp: Option<String>,
    /// Connections open now.
    pub connections: u64,
}

/// Requests to the store, by kind. LIST of several pages counts once, a try that failed counts too.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requests {
    /// PUT requests.
    pub puts: u64,
    /// GET requests.
    pub gets: u64,
    /// LIST requests.
    pub lists: u64,
    /// DELETE requests.
    pub deletes: u64,
    /// Requests of any kind that failed.
    pub errors: u64,
    /// Bytes sent.
    pub bytes_up: u64,
    /// Bytes received.
    pub bytes_down: u64,
}

/// The cache of decoded frames.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cache {
    /// Bytes of frames held.
    pub frame_bytes: u64,
    /// Bytes of segment indexes held.
    pub index_bytes: u64,
    /// Bytes of pages held.
    #[serde(default)]
    pub page_bytes: u64,
    /// How often a read found a frame.
    #[serde(default)]
    pub hits: u64,
    /// How often a read had to wait for a frame.
    #[serde(default)]
    pub misses: u64,
    /// The cache on the local disk.
    #[serde(default)]
    pub disk: DiskCache,
    /// Frames that were read ahead.
    #[serde(default)]
    pub ahead_fetched: u64,
    /// Of these, read by a guest.
    #[serde(default)]
    pub ahead_used: u64,
    /// Of these, dropped unread.
    #[serde(default)]
    pub ahead_wasted: u64,
}

/// The cache on the local disk: what the store has, as it has it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskCache {
    /// Bytes that its files may take; 0 without a disk cache.
    pub bytes_max: u64,
    /// Bytes that they take.
    pub bytes: u64,
    /// Entries held.
    pub entries: u64,
    /// Memory for knowing where they are.
    pub memory_bytes: u64,
    /// How often a read found an entry.
    pub hits: u64,
    /// How often it did not.
    pub misses: u64,
    /// Entries whose bytes were damaged.
    pub refused: u64,
    /// Entries that made room for others.
    pub evicted: u64,
    /// Entries that were not kept, since too many waited or the disk had failed.
    pub dropped: u64,
}

/// Every volume of a pool.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Volumes {
    /// The pool.
    pub pool: Pool,
    /// By name.
    pub volumes: Vec<Volume>,
}

/// A volume.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: String,
    /// What the store says; absent when it could not be read.
    pub stored: Option<Stored>,
    /// What the daemon that was asked says; absent when it does not serve the volume, or none was asked.
    pub served: Option<Served>,
    /// Why something is absent.
    pub problem: Option<String>,
}

/// What the store holds of a volume: its newest head.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Stored {
    /// The volume's size.
    pub size_bytes: u64,
    /// What may be lost with the host.
    pub durability: Setting,
    /// How segments are compressed.
    pub compression: Setting,
    /// What happens while the store lags behind: alarm or stall.
    pub on_lag: Setting,
    /// How long old states stay reachable.
    pub history: Setting,
    /// The newest head's number.
    pub head: u64,
    /// The newest head's kind: data, claim, released; unborn: a fork that was never finished.
    pub kind: String,
    /// What it was forked from; absent for a volume that began empty.
    #[serde(default)]
    pub source: Option<Origin>,
    /// The epoch of the last claim.
    pub epoch: u64,
    /// The highest sequence in the store.
    pub sequence: u64,
    /// Segments that are not folded into pages yet.
    pub tail_segments: u64,
    /// Pieces in heads that no segment covers yet.
    pub tail_pieces: u64,
    /// When the head was written, in milliseconds since 1970, by its writer's clock.
    pub written_ms: u64,
}

/// A property and where its value comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// The value that holds.
    pub value: String,
    /// Who says so.
    pub source: Source,
}

/// Where a property's value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The volume.
    Volume,
    /// The pool; the volume says nothing.
    Pool,
    /// The program; neither volume nor pool says anything.
    BuiltIn,
}

/// A volume as a daemon serves it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Served {
    /// Its name.
    pub name: String,
    /// Whether it serves.
    pub state: VolumeState,
    /// Why it does not.
    pub problem: Option<String>,
    /// Its figures; absent when it is not open.
    pub figures: Option<Figures>,
}

/// Whether a volume serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VolumeState {
    /// It is being opened.
    Opening,
    /// It could not be opened.
    Failed,
    /// It reads and writes.
    Running,
    /// It reads.
    ReadOnly,
    /// It is on its way into the store before it is released; it reads.
    Draining,
    /// It is released.
    Closed,
    /// It stopped after a failure; it reads as far as possible.
    Stopped,
}

/// Figures of an open volume.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Figures {
    /// Its id.
    pub id: String,
    /// Its size.
    pub size_bytes: u64,
    /// What may be lost with the host.
    pub durability: String,
    /// How segments are compressed.
    pub compression: String,
    /// What happens while the store lags behind: alarm or stall.
    #[serde(default)]
    pub on_lag: String,
    /// How long old states stay reachable.
    #[serde(default)]
    pub history: String,
    /// Highest sequence written.
    pub sequence: u64,
    /// Highest sequence known to be durable on the local disk.
    pub synced_sequence: u64,
    /// Highest sequence in the store.
    pub committed_sequence: u64,
    /// Log bytes that no segment in the store holds yet; pieces may.
    pub dirty_bytes: u64,
    /// At this many, writes wait.
    pub dirty_bytes_max: u64,
    /// The newest head.
    pub head: u64,
    /// The epoch of this run.
    pub epoch: u64,
    /// Segments that are not folded into pages yet.
    pub tail_segments: u64,
    /// Memory of the map.
    pub map_bytes: u64,
    /// Age of the oldest write that the store does not hold, in milliseconds; 0 when it holds all.
    #[serde(default)]
    pub lag_ms: u64,
    /// Whether that is more than the volume's durability promises.
    #[serde(default)]
    pub lags: bool,
    /// Pieces in heads that no segment covers yet.
    #[serde(default)]
    pub pieces: u64,
    /// Their bytes.
    #[serde(default)]
    pub piece_bytes: u64,
    /// Files of the log, in use and spare.
    #[serde(default)]
    pub log_files: u64,
}

impl fmt::Display for DaemonState {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            DaemonState::Opening => "opening",
            DaemonState::Ready => "ready",
            DaemonState::Draining => "draining",
        })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Source::Volume => "volume",
            Source::Pool => "pool",
            Source::BuiltIn => "built-in",
        })
    }
}

impl fmt::Display for VolumeState {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            VolumeState::Opening => "opening",
            VolumeState::Failed => "failed",
            VolumeState::Running => "running",
            VolumeState::ReadOnly => "read-only",
            VolumeState::Draining => "draining",
            VolumeState::Closed => "closed",
            VolumeState::Stopped => "stopped",
        })
    }
}
