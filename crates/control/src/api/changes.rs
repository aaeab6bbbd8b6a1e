//! What can be asked for, and what came of it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// Asks for a new volume.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateVolume {
    /// Its name.
    pub name: String,
    /// Its size.
    pub size_bytes: u64,
    /// What may be lost with the host; absent: as the pool says.
    #[serde(default)]
    pub durability: Option<String>,
    /// How segments are compressed; absent: as the pool says.
    #[serde(default)]
    pub compression: Option<String>,
    /// What happens while the store lags behind: alarm or stall; absent: as the pool says.
    #[serde(default)]
    pub on_lag: Option<String>,
    /// How long old states stay reachable, such as 1h or 7d; absent: as the pool says.
    #[serde(default)]
    pub history: Option<String>,
}

/// A volume was deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deleted {
    /// The name that is free now.
    pub deleted: String,
}

/// Another size for a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResizeVolume {
    /// The size, a multiple of 4096 bytes.
    pub size_bytes: u64,
}

/// Other properties for a volume. Keys are durability, compression, on_lag, history.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetProperties {
    /// Properties that the volume gets, with their values.
    #[serde(default)]
    pub set: BTreeMap<String, String>,
    /// Properties that it does without, so that the pool's hold.
    #[serde(default)]
    pub inherit: BTreeSet<String>,
}

/// Asks for a round of reclaim.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReclaimPool {
    /// Look only.
    #[serde(default)]
    pub dry_run: bool,
    /// Delete however much of the pool it is.
    #[serde(default)]
    pub force: bool,
    /// Leave guests the store and the processors, as the daemon's own rounds do.
    #[serde(default)]
    pub gently: bool,
}

/// Objects of the store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Objects {
    /// How many.
    pub objects: u64,
    /// Their size.
    pub bytes: u64,
}

/// What a round of reclaim found and did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reclaimed {
    /// Nothing was deleted, for that was not asked.
    pub dry_run: bool,
    /// How long dead objects stay.
    pub grace_ms: u64,
    /// Volumes that are not deleted.
    pub volumes: u64,
    /// Heads and readers from which was looked.
    pub roots: u64,
    /// Pages that were read.
    pub pages: u64,
    /// What they reach.
    pub live: Objects,
    /// Uploaded, and not committed yet.
    pub in_flight: Objects,
    /// Dead, and not for the grace yet.
    pub waiting: Objects,
    /// How long until the next of them is due.
    pub next_due_ms: Option<u64>,
    /// Dead for the grace, and still there.
    pub due: Objects,
    /// Deleted.
    pub deleted: Objects,
    /// Heads that were deleted: of deleted volumes, and of released ones those that are older than the history.
    pub heads_deleted: u64,
    /// How long until a head of a released volume is older than that.
    #[serde(default)]
    pub next_expiry_ms: Option<u64>,
    /// Forks and snapshots that were never finished, and never will be.
    #[serde(default)]
    pub buried: u64,
    /// How much of what is stored lives, in per cent: blocks of segments that are not dead as a whole.
    #[serde(default)]
    pub live_percent: u64,
    /// Dead blocks of segments that live on.
    #[serde(default)]
    pub dead_inside: Objects,
    /// Why each segment stays; where it was only looked.
    #[serde(default)]
    pub why: Option<super::Reasons>,
    /// Segments that were rewritten, with what they take now.
    pub rewritten: Objects,
    /// Blocks of almost empty segments that their volumes wrote anew.
    pub resealed: u64,
}

/// Asks for a volume to be served.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenVolume {
    /// Give up what the local log holds at and behind this position.
    #[serde(default)]
    pub discard_after: Option<u64>,
    /// Serve the last commit for reading, beside whoever writes the volume.
    #[serde(default)]
    pub read_only: bool,
}

/// A volume is served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// Its name.
    pub name: String,
    /// It was served before, and nothing was done.
    pub already_open: bool,
    /// The epoch that the claim began; 0 where there was none.
    pub epoch: u64,
    /// Records replayed from the local log.
    pub replayed: u64,
    /// The end of the log that was given up.
    pub torn: Option<Torn>,
    /// Logs that were not replayed, and where they are kept.
    pub set_aside: Vec<String>,
}

/// The end of a log that was given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Torn {
    /// Logical log position of the first record given up.
    pub position: u64,
    /// Readable records that were given up.
    pub records: u64,
}
