//! THE table of metrics: what each is called, is, and says. All are made of one look at the daemon.

use std::{collections::BTreeMap, time::Duration};

use esker_control::api::{
    self, Bucket, Family,
    FamilyKind::{self, Counter, Gauge},
    Figures, Histogram, Metrics, Sample, Value,
};
use esker_engine::{
    core::map::MapMemory,
    fetch::{INDEX_CACHE_BYTES, PAGE_CACHE_BYTES},
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
    pub(super) dirty_bytes: u64,
    pub(super) dirty_bytes_max: u64,
    pub(super) maps: Maps,
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

const METRICS: [Metric; 55] = [
    metric("esker_info", Gauge, &["version"], "Always 1; the label says which program runs", |look| {
        vec![sample([("version", &look.status.version)], 1.0)]
    }),
    metric("esker_uptime_seconds", Gauge, &[], "Time since the daemon's start", |look| {
        one(seconds(look.status.uptime_ms))
    }),
    metric(
        "esker_store_requests_total",
        Counter,
        &["kind"],
        "Requests sent to the store, tries that failed too",
        |look| requests(look).map(|(kind, count, _)| sample([("kind", kind)], count)).into(),
    ),
    metric("esker_store_errors_total", Counter, &[], "Requests to the store that failed", |look| {
        one(look.status.requests.errors as f64)
    }),
    metric(
        "esker_store_cost_usd_total",
        Counter,
        &["kind"],
        "What those requests cost in US dollars, by the prices of the configuration",
        |look| {
            requests(look).map(|(kind, count, price)| sample([("kind", kind)], count * price / 1e6)).into()
        },
    ),
    metric("esker_store_sent_bytes_total", Counter, &[], "Bytes of bodies sent to the store", |look| {
        one(look.status.requests.bytes_up as f64)
    }),
    metric(
        "esker_store_received_bytes_total",
        Counter,
        &[],
        "Bytes of bodies received from the store",
        |look| one(look.status.requests.bytes_down as f64),
    ),
    metric("esker_store_tries_total", Counter, &[], "Requests sent again after a failure", |look| {
        one(look.strain.tries as f64)
    }),
    metric(
        "esker_store_budget_waits_total",
        Counter,
        &[],
        "Tries that had to wait because too many requests were sent again",
        |look| one(look.strain.budget_waits as f64),
    ),
    metric(
        "esker_store_breaker_open",
        Gauge,
        &[],
        "1 while most requests fail and only a probe is sent now and then; else 0",
        |look| one(f64::from(u8::from(look.strain.breaker != BreakerState::Closed))),
    ),
    metric("esker_store_breaker_opened_total", Counter, &[], "Times that it came to that", |look| {
        one(look.strain.opened as f64)
    }),
    metric("esker_store_held_total", Counter, &[], "Requests that were therefore not sent", |look| {
        one(look.strain.refused as f64)
    }),
    metric(
        "esker_store_hedges_total",
        Counter,
        &["won"],
        "GETs sent a second time because the answer took long; won: the second answer came first",
        |look| {
            let (sent, won) = (look.strain.hedges, look.strain.hedges_won);
            let lost = sent.saturating_sub(won);
            vec![sample([("won", "yes")], won as f64), sample([("won", "no")], lost as f64)]
        },
    ),
    metric(
        "esker_dirty_bytes",
        Gauge,
        &[],
        "Log bytes of all volumes that the store does not hold yet",
        |look| one(look.dirty_bytes as f64),
    ),
    metric("esker_dirty_bound_bytes", Gauge, &[], "At so many, writes to all volumes wait", |look| {
        one(look.dirty_bytes_max as f64)
    }),
    metric("esker_map_bytes", Gauge, &[], "Memory of the maps of all volumes", |look| {
        one(look.maps.bytes as f64)
    }),
    metric("esker_map_bound_bytes", Gauge, &[], "At so many, writes that make a map grow wait", |look| {
        one(look.maps.bound as f64)
    }),
    metric(
        "esker_map_leaves_loaded_total",
        Counter,
        &[],
        "Times that the page of a leaf, of 8 MiB of a volume, was read into a map",
        |look| one(look.maps.loaded as f64),
    ),
    metric(
        "esker_map_leaves_evicted_total",
        Counter,
        &[],
        "Times that a leaf was let go of, to be read again when somebody asks",
        |look| one(look.maps.evicted as f64),
    ),
    metric("esker_map_waits_total", Counter, &[], "Times that a change waited for memory of maps", |look| {
        one(look.maps.waits as f64)
    }),
    metric("esker_reclaim_rounds_total", Counter, &[], "Rounds of reclaim that came to their end", |look| {
        one(look.reclaim.rounds as f64)
    }),
    metric(
        "esker_reclaim_failed_rounds_total",
        Counter,
        &[],
        "Rounds of reclaim that were refused or failed; the log says why",
        |look| one(look.reclaim.failed as f64),
    ),
    metric(
        "esker_reclaim_deleted_objects_total",
        Counter,
        &[],
        "Segments and packs that were deleted",
        |look| one(look.reclaim.deleted.objects as f64),
    ),
    metric("esker_reclaim_deleted_bytes_total", Counter, &[], "Their size", |look| {
        one(look.reclaim.deleted.bytes as f64)
    }),
    metric(
        "esker_reclaim_waiting_bytes",
        Gauge,
        &[],
        "Size of what is dead and was not deleted by the last round",
        |look| one(look.reclaim.waiting.bytes as f64),
    ),
    metric(
        "esker_volume_serving",
        Gauge,
        &["volume"],
        "1 while the volume can be read, and written unless it is read-only; else 0",
        |look| {
            let serves = |state| matches!(state, api::VolumeState::Running | api::VolumeState::ReadOnly);
            let volumes = look.status.volumes.iter();
            volumes
                .map(|volume| sample([("volume", &volume.name)], f64::from(u8::from(serves(volume.state)))))
                .collect()
        },
    ),
    metric("esker_volume_size_bytes", Gauge, &["volume"], "Its size", |look| {
        volumes(look, |figures| figures.size_bytes as f64)
    }),
    metric(
        "esker_volume_dirty_bytes",
        Gauge,
        &["volume"],
        "Its log bytes that no segment in the store holds yet; pieces may",
        |look| volumes(look, |figures| figures.dirty_bytes as f64),
    ),
    metric("esker_volume_dirty_bound_bytes", Gauge, &["volume"], "At so many, writes to it wait", |look| {
        volumes(look, |figures| figures.dirty_bytes_max as f64)
    }),
    metric(
        "esker_volume_lag_seconds",
        Gauge,
        &["volume"],
        "Age of its oldest write that the store does not hold yet; 0 if it holds all",
        |look| volumes(look, |figures| seconds(figures.lag_ms)),
    ),
    metric(
        "esker_volume_lagging",
        Gauge,
        &["volume"],
        "1 while that is more than its durability promises",
        |look| volumes(look, |figures| f64::from(u8::from(figures.lags))),
    ),
    metric("esker_volume_pieces", Gauge, &["volume"], "Its pieces that no segment covers yet", |look| {
        volumes(look, |figures| figures.pieces as f64)
    }),
    metric("esker_volume_piece_bytes", Gauge, &["volume"], "The bytes of these pieces", |look| {
        volumes(look, |figures| figures.piece_bytes as f64)
    }),
    metric(
        "esker_volume_log_files",
        Gauge,
        &["volume"],
        "Files of its log, in use and spare, each of 32 MiB",
        |look| volumes(look, |figures| figures.log_files as f64),
    ),
    metric("esker_volume_map_bytes", Gauge, &["volume"], "Memory of its map", |look| {
        volumes(look, |figures| figures.map_bytes as f64)
    }),
    metric(
        "esker_volume_tail_segments",
        Gauge,
        &["volume"],
        "Its segments that are not folded into pages yet",
        |look| volumes(look, |figures| figures.tail_segments as f64),
    ),
    metric(
        "esker_cache_bytes",
        Gauge,
        &["kind"],
        "Memory of the caches: decoded frames, indexes of segments, pages of maps",
        |look| {
            let cache = &look.status.cache;
            let bytes =
                [("frame", cache.frame_bytes), ("index", cache.index_bytes), ("page", cache.page_bytes)];
            bytes.map(|(kind, bytes)| sample([("kind", kind)], bytes as f64)).into()
        },
    ),
    metric("esker_cache_bound_bytes", Gauge, &["kind"], "The most that they may take", |look| {
        let bytes =
            [("frame", look.told.cache_bytes), ("index", INDEX_CACHE_BYTES), ("page", PAGE_CACHE_BYTES)];
        bytes.map(|(kind, bytes)| sample([("kind", kind)], bytes as f64)).into()
    }),
    metric("esker_cache_hits_total", Counter, &[], "Times that a read found a frame in the cache", |look| {
        one(look.status.cache.hits as f64)
    }),
    metric(
        "esker_cache_misses_total",
        Counter,
        &[],
        "Times that a read had to wait for a frame, from the disk cache or the store",
        |look| one(look.status.cache.misses as f64),
    ),
    metric("esker_disk_cache_bytes", Gauge, &[], "Space that the files of the disk cache take", |look| {
        one(look.status.cache.disk.bytes as f64)
    }),
    metric(
        "esker_disk_cache_bound_bytes",
        Gauge,
        &[],
        "The most that they may take; 0 without a disk cache",
        |look| one(look.status.cache.disk.bytes_max as f64),
    ),
    metric("esker_disk_cache_entries", Gauge, &[], "Frames, indexes and pages in them", |look| {
        one(look.status.cache.disk.entries as f64)
    }),
    metric("esker_disk_cache_memory_bytes", Gauge, &[], "Memory for knowing where those are", |look| {
        one(look.status.cache.disk.memory_bytes as f64)
    }),
    metric(
        "esker_disk_cache_hits_total",
        Counter,
        &[],
        "Times that what memory did not hold was found in the disk cache",
        |look| one(look.status.cache.disk.hits as f64),
    ),
    metric("esker_disk_cache_misses_total", Counter, &[], "Times that it was not", |look| {
        one(look.status.cache.disk.misses as f64)
    }),
    metric(
        "esker_disk_cache_refused_total",
        Counter,
        &[],
        "Entries of the disk cache whose bytes were damaged",
        |look| one(look.status.cache.disk.refused as f64),
    ),
    metric("esker_disk_cache_evicted_total", Counter, &[], "Entries that made room for others", |look| {
        one(look.status.cache.disk.evicted as f64)
    }),
    metric(
        "esker_disk_cache_dropped_total",
        Counter,
        &[],
        "Entries that were not kept, since too many waited or the disk had failed",
        |look| one(look.status.cache.disk.dropped as f64),
    ),
    metric(
        "esker_read_ahead_frames_total",
        Counter,
        &["kind"],
        "Frames that were read ahead: fetched; of these used by a guest; of these wasted, dropped unread",
        |look| {
            let cache = &look.status.cache;
            let counts = [
                ("fetched", cache.ahead_fetched),
                ("used", cache.ahead_used),
                ("wasted", cache.ahead_wasted),
            ];
            counts.map(|(kind, count)| sample([("kind", kind)], count as f64)).into()
        },
    ),
    metric("esker_nbd_connections", Gauge, &["volume"], "Connections that are open", |look| {
        served(look, |traffic| vec![(None, Value::Number(traffic.connections as f64))])
    }),
    metric(
        "esker_nbd_requests_total",
        Counter,
        &["kind", "volume"],
        "Requests of guests that were legal",
        |look| {
            served(look, |traffic| {
                let count =
                    |kind: Kind| (Some(name(kind)), Value::Number(traffic.requests[kind as usize] as f64));
                Kind::ALL.map(count).into()
            })
        },
    ),
    metric(
        "esker_nbd_bytes_total",
        Counter,
        &["kind", "volume"],
        "Bytes that those requests were about",
        |look| {
            served(look, |traffic| {
                let count =
                    |kind: Kind| (Some(name(kind)), Value::Number(traffic.bytes[kind as usize] as f64));
                [Kind::Read, Kind::Write, Kind::Trim, Kind::Zero].map(count).into()
            })
        },
    ),
    metric(
        "esker_nbd_errors_total",
        Counter,
        &["volume"],
        "Requests of guests that were answered with an error",
        |look| served(look, |traffic| vec![(None, Value::Number(traffic.errors as f64))]),
    ),
    metric(
        "esker_nbd_latency_seconds",
        FamilyKind::Histogram,
        &["kind", "volume"],
        "Time from a request's coming to its reply, by batch; flush: FLUSH, and what asks for FUA; write: other changes",
        |look| {
            served(look, |traffic| {
                let names = [(Timed::Read, "read"), (Timed::Write, "write"), (Timed::Flush, "flush")];
                names.map(|(timed, name)| (Some(name), histogram(&traffic.latency[timed as usize]))).into()
            })
        },
    ),
];

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
    Metrics { families: METRICS.iter().map(family).collect() }
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
