//! Numbers end up under their names, and the document has the same names.

use esker_engine::{core::victims::Share, reclaim::round::Class};

use super::*;

/// A daemon with one volume that serves and one that could not be opened.
fn look() -> Look {
    let text = include_str!("tests/status.json");
    let mut traffic = Traffic { connections: 1, errors: 2, ..Traffic::default() };
    traffic.requests = [10, 20, 30, 40, 50, 60, 70];
    traffic.bytes = [11, 21, 31, 41, 0, 0, 0];
    traffic.latency[Timed::Flush as usize].buckets[0] = 3;
    traffic.latency[Timed::Flush as usize].buckets[22] = 4;
    Look {
        told: Told { prices: Prices { put: 5.0, get: 0.4 }, cache_bytes: 1 << 28, ..Told::default() },
        status: serde_json::from_str(text).unwrap(),
        reclaim: Totals {
            rounds: 3,
            failed: 1,
            deleted: Class { objects: 4, bytes: 400 },
            rewritten: Class { objects: 7, bytes: 700 },
            resealed: 8,
            waiting: Class { objects: 5, bytes: 500 },
            share: Share { live_bytes: 3, stored_bytes: 4 },
            dead_inside: Class { objects: 6, bytes: 600 },
        },
        sealed_bytes: 9,
        holds: Holds { points: 2, total: Duration::from_millis(1500), longest: Duration::from_millis(1250) },
        dirty_bytes: 7,
        dirty_bytes_max: 8,
        maps: Maps { bytes: 21, bound: 22, loaded: 23, evicted: 24, waits: 25 },
        pieces: Pieces { bytes: 26, bound: 27 },
        strain: Strain {
            tries: 31,
            budget_waits: 32,
            breaker: BreakerState::Probing,
            opened: 33,
            refused: 34,
            hedges: 40,
            hedges_won: 35,
        },
        traffic: [("demo".to_owned(), traffic)].into(),
    }
}

/// The number of a sample.
fn number(metrics: &Metrics, name: &str, labels: &[(&str, &str)]) -> f64 {
    let family =
        metrics.families.iter().find(|family| family.name == name).unwrap_or_else(|| panic!("{name}"));
    let same = |sample: &&Sample| {
        sample.labels.len() == labels.len()
            && labels.iter().all(|(name, value)| sample.labels.get(*name).is_some_and(|found| found == value))
    };
    match family.samples.iter().find(same).map(|sample| &sample.value) {
        Some(Value::Number(number)) => *number,
        other => panic!("{name} {labels:?}: {other:?}"),
    }
}

#[test]
fn numbers_are_under_their_names() {
    let metrics = metrics(&look());
    for (name, labels, expected) in [
        ("esker_uptime_seconds", &[][..], 1.5),
        ("esker_store_requests_total", &[("kind", "put")], 2e6),
        ("esker_store_requests_total", &[("kind", "delete")], 4.0),
        ("esker_reclaim_reclaimable_bytes", &[], 600.0),
        ("esker_reclaim_live_ratio", &[], 0.75),
        ("esker_store_cost_usd_total", &[("kind", "put")], 10.0),
        ("esker_store_cost_usd_total", &[("kind", "get")], 0.4),
        ("esker_store_cost_usd_total", &[("kind", "list")], 15.0),
        ("esker_store_cost_usd_total", &[("kind", "delete")], 0.0),
        ("esker_store_sent_bytes_total", &[], 6.0),
        ("esker_store_received_bytes_total", &[], 7.0),
        ("esker_store_tries_total", &[], 31.0),
        ("esker_store_budget_waits_total", &[], 32.0),
        ("esker_store_breaker_open", &[], 1.0),
        ("esker_store_breaker_opened_total", &[], 33.0),
        ("esker_store_held_total", &[], 34.0),
        ("esker_store_hedges_total", &[("won", "yes")], 35.0),
        ("esker_store_hedges_total", &[("won", "no")], 5.0),
        ("esker_dirty_bytes", &[], 7.0),
        ("esker_map_bytes", &[], 21.0),
        ("esker_map_bound_bytes", &[], 22.0),
        ("esker_map_leaves_loaded_total", &[], 23.0),
        ("esker_map_leaves_evicted_total", &[], 24.0),
        ("esker_map_waits_total", &[], 25.0),
        ("esker_pieces_bytes", &[], 26.0),
        ("esker_pieces_bound_bytes", &[], 27.0),
        ("esker_reclaim_rounds_total", &[], 3.0),
        ("esker_reclaim_failed_rounds_total", &[], 1.0),
        ("esker_reclaim_deleted_objects_total", &[], 4.0),
        ("esker_reclaim_deleted_bytes_total", &[], 400.0),
        ("esker_reclaim_waiting_bytes", &[], 500.0),
        ("esker_reclaim_rewritten_segments_total", &[], 7.0),
        ("esker_reclaim_rewritten_bytes_total", &[], 700.0),
        ("esker_reclaim_resealed_blocks_total", &[], 8.0),
        ("esker_sealed_bytes_total", &[], 9.0),
        ("esker_snapshot_points_total", &[], 2.0),
        ("esker_snapshot_hold_seconds_total", &[], 1.5),
        ("esker_snapshot_hold_longest_seconds", &[], 1.25),
        ("esker_volume_serving", &[("volume", "demo")], 1.0),
        ("esker_volume_serving", &[("volume", "gone")], 0.0),
        ("esker_volume_dirty_bytes", &[("volume", "demo")], 4096.0),
        ("esker_volume_dirty_bound_bytes", &[("volume", "demo")], 8192.0),
        ("esker_volume_lag_seconds", &[("volume", "demo")], 2.25),
        ("esker_volume_log_files", &[("volume", "demo")], 3.0),
        ("esker_volume_map_bytes", &[("volume", "demo")], 777.0),
        ("esker_cache_bytes", &[("kind", "page")], 13.0),
        ("esker_cache_hits_total", &[], 14.0),
        ("esker_cache_misses_total", &[], 15.0),
        ("esker_nbd_connections", &[("volume", "demo")], 1.0),
        ("esker_nbd_requests_total", &[("kind", "status"), ("volume", "demo")], 70.0),
        ("esker_nbd_bytes_total", &[("kind", "zero"), ("volume", "demo")], 41.0),
        ("esker_nbd_errors_total", &[("volume", "demo")], 2.0),
    ] {
        assert_eq!(number(&metrics, name, labels), expected, "{name} {labels:?}");
    }
    let text = esker_control::exposition(&metrics);
    for line in [
        "esker_nbd_latency_seconds_bucket{kind=\"flush\",volume=\"demo\",le=\"0.000004\"} 3",
        "esker_nbd_latency_seconds_bucket{kind=\"flush\",volume=\"demo\",le=\"8.388608\"} 3",
        "esker_nbd_latency_seconds_bucket{kind=\"flush\",volume=\"demo\",le=\"+Inf\"} 7",
        "esker_nbd_latency_seconds_count{kind=\"flush\",volume=\"demo\"} 7",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}

#[test]
fn every_metric_has_samples_with_its_labels() {
    for (metric, family) in all().zip(metrics(&look()).families) {
        assert!(!family.samples.is_empty(), "{}", metric.name);
        for sample in family.samples {
            assert!(sample.labels.keys().eq(metric.labels), "{}: {:?}", metric.name, sample.labels);
        }
        assert_eq!(metric.name.ends_with("_total"), metric.kind == Counter, "{}", metric.name);
    }
}

#[test]
fn the_document_has_the_table() {
    let document = include_str!("../../../../../docs/metrics.md");
    let rows: Vec<&str> = document.lines().filter(|line| line.starts_with("| `esker_")).collect();
    let expected = all().map(|metric| {
        let kind = match metric.kind {
            FamilyKind::Counter => "counter",
            FamilyKind::Gauge => "gauge",
            FamilyKind::Histogram => "histogram",
        };
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        format!("| `{}` | {kind} | {} | {} |", metric.name, labels.join(", "), metric.help)
    });
    assert_eq!(rows, expected.collect::<Vec<_>>());
}
