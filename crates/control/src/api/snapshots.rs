//! Snapshots and forks.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Pool;

/// Where a volume or a snapshot comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The id of what it was made from.
    pub id: String,
    /// Its name; absent when it has none any more, or nobody looked.
    pub name: Option<String>,
    /// As of which of its heads.
    pub head: u64,
}

/// Every snapshot of a pool.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Snapshots {
    /// The pool.
    pub pool: Pool,
    /// By name.
    pub snapshots: Vec<Snapshot>,
}

/// A snapshot.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Snapshot {
    /// Its name: VOLUME@SNAPSHOT.
    pub name: String,
    /// Its id.
    pub id: String,
    /// Frozen, or unborn: it was never finished.
    pub state: String,
    /// When it was made, in milliseconds since 1970, by its maker's clock.
    pub created_ms: u64,
    /// The volume's size then.
    pub size_bytes: u64,
    /// The last write that it holds.
    pub sequence: u64,
    /// What it was made from.
    pub source: Option<Origin>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The names of the volumes that were forked from it.
    pub forks: Vec<String>,
    /// Why it cannot be read.
    pub problem: Option<String>,
    /// What it takes in the store; where that was measured.
    #[serde(default)]
    pub space: Option<SnapshotSpace>,
}

/// What a snapshot takes in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotSpace {
    /// What volumes or other snapshots reach too.
    pub shared_bytes: u64,
    /// What nobody else reaches: it comes back when the snapshot is deleted.
    pub exclusive_bytes: u64,
}

/// Asks for a snapshot of a volume.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateSnapshot {
    /// Its name, behind the volume's.
    pub name: String,
    /// Its labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// Asks for a volume whose first state is that of another, or of a snapshot.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForkVolume {
    /// The new volume's name.
    pub name: String,
    /// Serve it at once.
    #[serde(default)]
    pub open: bool,
}

/// Asks for other labels of a snapshot.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelSnapshot {
    /// Labels that it gets, also in place of ones with these keys.
    #[serde(default)]
    pub set: BTreeMap<String, String>,
    /// Keys of labels that go.
    #[serde(default)]
    pub remove: Vec<String>,
}
