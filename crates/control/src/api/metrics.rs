//! What a daemon measures, as names, labels and numbers. Which there are is known to the daemon.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Everything that a daemon measures, at about one moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// One for each name.
    pub families: Vec<Family>,
}

/// Samples of one name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Family {
    /// The name, with its unit at the end.
    pub name: String,
    /// What its numbers are.
    pub kind: FamilyKind,
    /// What it says, in a sentence.
    pub help: String,
    /// One for each set of labels; none where there is nothing to say.
    pub samples: Vec<Sample>,
}

/// What numbers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FamilyKind {
    /// They only grow while the daemon runs.
    Counter,
    /// They are of the moment.
    Gauge,
    /// They are distributions.
    Histogram,
}

/// A number, or a distribution.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// What tells it from others of its name.
    pub labels: BTreeMap<String, String>,
    /// What it is.
    #[serde(flatten)]
    pub value: Value,
}

/// What a sample holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Value {
    /// A number.
    #[serde(rename = "value")]
    Number(f64),
    /// A distribution.
    #[serde(rename = "histogram")]
    Histogram(Histogram),
}

/// How often something took how long.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    /// By their bounds, which grow. What is above the last is only in `count`.
    pub buckets: Vec<Bucket>,
    /// Everything together.
    pub sum: f64,
    /// How often.
    pub count: u64,
}

/// How often something took at most so long.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Bucket {
    /// The bound.
    pub le: f64,
    /// How often, with everything in lower buckets.
    pub count: u64,
}
