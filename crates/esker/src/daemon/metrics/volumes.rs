//! Each volume, and what guests ask of it.

use super::*;

pub(super) const METRICS: &[Metric] = &[
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
