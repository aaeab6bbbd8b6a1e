//! THE table of metrics: what each is called, is, and says. All are made of one look at the daemon.

mod memory;
mod store;
mod volumes;

use std::{collections::BTreeMap, time::Duration};

use esker_control::api::{
    self, Bucket, Family,
    FamilyKind::{self, Counter, Gauge},
    Figures, Histogram, Metrics, Sample, Value,
};
use esker_engine::{
    core::map::MapMemory,
    fetch::{INDEX_CACHE_BYTES, PAGE_CACHE_BYTES},
    pieces::PieceMemory,
};
use esker_frontend::nbd::{Kind, Latency, Timed, Traffic};
use esker_io::objects::{BreakerState, Strain};

use super::reclaim::Totals;
use crate::config::Prices;

/// What a daemon was told, as far as metrics tell it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Told {
    pub(crate) prices: Prices,
    pub(crate) cache_bytes: usize,
    pub(crate) grace: Duration,
}

/// One look.
pub(super) struct Look {
    pub(super) told: Told,
    pub(super) status: api::Status,
    pub(super) reclaim: Totals,
    pub(super) sealed_bytes: u64,
    pub(super) holds: Holds,
    pub(super) dirty_bytes: u64,
    pub(super) dirty_bytes_max: u64,
    pub(super) maps: Maps,
    pub(super) pieces: Pieces,
    pub(super) strain: Strain,
    /// By volume.
    pub(super) traffic: BTreeMap<String, Traffic>,
}

/// The memory of all maps together.
pub(super) struct Maps {
    pub(super) bytes: u64,
    pub(super) bound: u64,
    pub(super) loaded: u64,
    pub(super) evicted: u64,
    pub(super) waits: u64,
}

impl From<&MapMemory> for Maps {
    fn from(memory: &MapMemory) -> Maps {
        Maps {
            bytes: memory.used(),
            bound: memory.bound(),
            loaded: memory.loaded(),
            evicted: memory.evicted(),
            waits: memory.waits(),
        }
    }
}

/// How long snapshots have held guests.
pub(super) struct Holds {
    pub(super) points: u64,
    pub(super) total: Duration,
    pub(super) longest: Duration,
}

impl From<&esker_engine::volume::Holds> for Holds {
    fn from(holds: &esker_engine::volume::Holds) -> Holds {
        Holds { points: holds.points(), total: holds.total(), longest: holds.longest() }
    }
}

/// The memory of all pieces together.
pub(super) struct Pieces {
    pub(super) bytes: u64,
    pub(super) bound: u64,
}

impl From<&PieceMemory> for Pieces {
    fn from(memory: &PieceMemory) -> Pieces {
        Pieces { bytes: memory.used(), bound: memory.bound() }
    }
}

/// One metric.
struct Metric {
    /// With its unit at the end, and `total` where it counts.
    name: &'static str,
    kind: FamilyKind,
    /// What tells its samples apart.
    labels: &'static [&'static str],
    help: &'static str,
    samples: fn(&Look) -> Vec<Sample>,
}

/// All, in the order in which they are told.
fn all() -> impl Iterator<Item = &'static Metric> {
    [store::METRICS, memory::METRICS, volumes::METRICS].into_iter().flatten()
}

const fn metric(
    name: &'static str,
    kind: FamilyKind,
    labels: &'static [&'static str],
    help: &'static str,
    samples: fn(&Look) -> Vec<Sample>,
) -> Metric {
    Metric { name, kind, labels, help, samples }
}

/// Every metric.
pub(super) fn metrics(look: &Look) -> Metrics {
    let family = |metric: &Metric| {
        let samples = (metric.samples)(look);
        let told = |sample: &Sample| sample.labels.keys().eq(metric.labels);
        debug_assert!(samples.iter().all(told), "{} has other labels than the table says", metric.name);
        Family { name: metric.name.to_owned(), kind: metric.kind, help: metric.help.to_owned(), samples }
    };
    Metrics { families: all().map(family).collect() }
}

fn sample<const N: usize>(labels: [(&str, &str); N], number: f64) -> Sample {
    let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Sample { labels: labels.into(), value: Value::Number(number) }
}

fn one(number: f64) -> Vec<Sample> {
    vec![sample([], number)]
}

fn seconds(ms: u64) -> f64 {
    ms as f64 / 1e3
}

/// Requests to the store: kind, count, dollars for a million.
fn requests(look: &Look) -> [(&'static str, f64, f64); 4] {
    let (requests, prices) = (&look.status.requests, look.told.prices);
    [
        ("put", requests.puts as f64, prices.put),
        ("get", requests.gets as f64, prices.get),
        ("list", requests.lists as f64, prices.put),
        ("delete", requests.deletes as f64, 0.0),
    ]
}

/// A sample for each volume that is open.
fn volumes(look: &Look, figure: fn(&Figures) -> f64) -> Vec<Sample> {
    let open = look.status.volumes.iter().filter_map(|volume| Some((volume, volume.figures.as_ref()?)));
    open.map(|(volume, figures)| sample([("volume", &volume.name)], figure(figures))).collect()
}

/// Samples for each volume that guests have asked for; with their kinds, where they have some.
fn served(look: &Look, samples: impl Fn(&Traffic) -> Vec<(Option<&'static str>, Value)>) -> Vec<Sample> {
    let of_volume = |(volume, traffic): (&String, &Traffic)| {
        let volume = volume.clone();
        let labelled = move |(kind, value): (Option<&str>, Value)| {
            let kind = kind.map(|kind| ("kind".to_owned(), kind.to_owned()));
            let labels = kind.into_iter().chain([("volume".to_owned(), volume.clone())]).collect();
            Sample { labels, value }
        };
        samples(traffic).into_iter().map(labelled).collect::<Vec<_>>()
    };
    look.traffic.iter().flat_map(of_volume).collect()
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Read => "read",
        Kind::Write => "write",
        Kind::Trim => "trim",
        Kind::Zero => "zero",
        Kind::Flush => "flush",
        Kind::Cache => "cache",
        Kind::Status => "status",
    }
}

fn histogram(latency: &Latency) -> Value {
    let mut count = 0;
    let mut buckets = Vec::new();
    for (at, in_bucket) in latency.buckets.iter().enumerate() {
        count += in_bucket;
        buckets.extend(Latency::bound(at).map(|bound| Bucket { le: bound.as_secs_f64(), count }));
    }
    Value::Histogram(Histogram { buckets, sum: latency.sum.as_secs_f64(), count })
}

#[cfg(test)]
mod tests;
