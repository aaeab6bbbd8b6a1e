//! The daemon itself, its requests to the store, and what it deletes there.

use esker_engine::core::victims::Share;

use super::*;

pub(super) const METRICS: &[Metric] = &[
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
        "esker_sealed_bytes_total",
        Counter,
        &[],
        "Size of the segments that seals have brought into the store",
        |look| one(look.sealed_bytes as f64),
    ),
    metric("esker_snapshot_points_total", Counter, &[], "Points taken for snapshots and forks", |look| {
        one(look.holds.points as f64)
    }),
    metric(
        "esker_snapshot_hold_seconds_total",
        Counter,
        &[],
        "Time for which writes were held to take them, those of a group at once",
        |look| one(look.holds.total.as_secs_f64()),
    ),
    metric("esker_snapshot_hold_longest_seconds", Gauge, &[], "The longest of these times", |look| {
        one(look.holds.longest.as_secs_f64())
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
        "esker_reclaim_rewritten_segments_total",
        Counter,
        &[],
        "Segments that were rewritten, since much of them was dead",
        |look| one(look.reclaim.rewritten.objects as f64),
    ),
    metric(
        "esker_reclaim_rewritten_bytes_total",
        Counter,
        &[],
        "What these took in the store afterwards: bytes sent to make room",
        |look| one(look.reclaim.rewritten.bytes as f64),
    ),
    metric(
        "esker_reclaim_resealed_blocks_total",
        Counter,
        &[],
        "Blocks of almost empty segments that their volumes wrote anew",
        |look| one(look.reclaim.resealed as f64),
    ),
    metric(
        "esker_reclaim_waiting_bytes",
        Gauge,
        &[],
        "Size of what is dead and was not deleted by the last round",
        |look| one(look.reclaim.waiting.bytes as f64),
    ),
    metric(
        "esker_reclaim_reclaimable_bytes",
        Gauge,
        &[],
        "Size of dead blocks in segments that live on, as the last round found it",
        |look| one(look.reclaim.dead_inside.bytes as f64),
    ),
    metric(
        "esker_reclaim_live_ratio",
        Gauge,
        &[],
        "Live share of the segments that are not dead as a whole, as the last round found it; 1 before that",
        |look| one(live(look.reclaim.share)),
    ),
];

fn live(share: Share) -> f64 {
    if share.stored_bytes == 0 { 1.0 } else { share.live_bytes as f64 / share.stored_bytes as f64 }
}
