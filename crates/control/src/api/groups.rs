//! Snapshots of several volumes at one point.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Pool;

/// Asks for a snapshot of each of several volumes, all at one point.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateGroup {
    /// What each of them is called, behind its volume's name.
    pub name: String,
    /// The volumes, all of which the daemon writes.
    pub volumes: Vec<String>,
    /// The labels of each.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// Every group of a pool.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Groups {
    /// The pool.
    pub pool: Pool,
    /// The oldest first.
    pub groups: Vec<Group>,
}

/// A group of snapshots.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Group {
    /// Its id.
    pub id: String,
    /// What its snapshots are called, behind their volumes' names.
    pub name: String,
    /// When it was made, in milliseconds since 1970, by its maker's clock.
    pub created_ms: u64,
    /// Its snapshots, by name.
    pub members: Vec<Member>,
}

/// A snapshot of a group.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Member {
    /// Its id.
    pub id: String,
    /// Its name; absent when it was deleted.
    pub name: Option<String>,
}
