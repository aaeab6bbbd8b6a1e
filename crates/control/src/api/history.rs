//! Going back in a volume's history.

use serde::{Deserialize, Serialize};

use super::Setting;

/// What a volume can go back to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// The volume.
    pub name: String,
    /// How long a state stays when another has taken its place.
    pub history: Setting,
    /// Its states, oldest first; the last is the one that it has.
    pub points: Vec<Point>,
}

/// A state that a volume had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Point {
    /// The number of its head.
    pub number: u64,
    /// The head's kind: data, claim, released.
    pub kind: String,
    /// When it was written, in milliseconds since 1970, by its writer's clock.
    pub written_ms: u64,
    /// The same as a date and a time in UTC.
    pub written: String,
    /// How long ago that is by this clock; 0 for what is yet to come.
    pub age_ms: u64,
    /// The last sequence that it holds.
    pub sequence: u64,
    /// The volume's size then.
    pub size_bytes: u64,
    /// Whether the volume can go back to it.
    pub reachable: bool,
}

/// Asks for a state from before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RewindVolume {
    /// Which.
    pub to: Target,
    /// A new volume that gets it; absent: the volume itself, which nobody may be connected to.
    #[serde(default, rename = "as")]
    pub new: Option<String>,
}

/// A state from before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// That of the head of this number.
    Head(u64),
    /// The last one at or before a time, in milliseconds since 1970.
    TimeMs(u64),
    /// That of the volume's snapshot of this name.
    Snapshot(String),
}

/// A volume went back, or a new one has its state from before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rewound {
    /// The volume that has the state.
    pub name: String,
    /// The head whose state it is.
    pub head: u64,
    /// When that was written, in milliseconds since 1970, by its writer's clock.
    pub written_ms: u64,
    /// The volume's size.
    pub size_bytes: u64,
    /// The snapshot that keeps the state from before; absent for a new volume.
    pub kept: Option<String>,
}
