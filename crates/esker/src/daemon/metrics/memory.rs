//! What all volumes share: the dirty bound, maps, caches, read-ahead.

use super::*;

pub(super) const METRICS: &[Metric] = &[
    metric(
        "esker_dirty_bytes",
        Gauge,
        &[],
        "Log bytes of all volumes that no segment in the store holds yet; pieces may",
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
    metric(
        "esker_pieces_bytes",
        Gauge,
        &[],
        "Memory of pieces: of volumes that are only read, and of openings that make a segment of them",
        |look| one(look.pieces.bytes as f64),
    ),
    metric(
        "esker_pieces_bound_bytes",
        Gauge,
        &[],
        "At so many, nothing more is opened for reading that has pieces",
        |look| one(look.pieces.bound as f64),
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
];
