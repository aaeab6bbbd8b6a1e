//! What a round knows of each segment, and what it plans to do about those that are partly dead.
//!
//! How many slots a segment has stands in its index, and never changes: it is read once in a run, with one GET, and
//! remembered. That is about 30 bytes a segment, 1 MiB for a TiB. Of a segment in a tail the mark has read it, of one
//! that nothing reaches it does not matter.

use std::collections::{BTreeMap, BTreeSet};

use esker_format::{Bulk, ids::SegmentId};
use esker_io::sync::Mutex;
use futures_util::{StreamExt, stream};

use super::{mark::Mark, round::Class};
use crate::{
    core::victims::{Limits, Object, Part, Plan, Reason, Verdict, Victim, plan},
    pool::Pool,
};

/// Indexes that are read at once.
const INDEXES_AT_ONCE: usize = 8;
/// When a round rewrites, and how much. Kept by the simulation in `core/victims`.
const LIMITS: Limits =
    Limits { start_percent: 70, stop_percent: 75, bytes_max: 64 << 30, bundle_bytes: 32 << 20 };

/// The slots of segments, kept from round to round.
#[derive(Default)]
pub(crate) struct Known(Mutex<BTreeMap<SegmentId, u32>>);

/// What a round made of the pool's segments.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Planned {
    /// What was decided.
    pub plan: Plan,
    /// What shares an object, with the slots to keep.
    pub bundles: Vec<Vec<Victim>>,
    /// What owners write again.
    pub reseals: Vec<Victim>,
}

impl Planned {
    /// Dead slots of segments that live on.
    pub fn dead_inside(&self) -> Class {
        let mut class = Class::default();
        let partly =
            self.plan.verdicts.iter().filter(|verdict| verdict.live > 0 && verdict.live < verdict.slots);
        partly.for_each(|verdict| class.add(verdict.dead_bytes()));
        class
    }
}

/// Decides about all listed segments.
pub(super) async fn decide(
    pool: &Pool,
    known: &Known,
    listed: &BTreeMap<Bulk, u64>,
    mark: &Mark,
    in_flight: &BTreeMap<Bulk, ()>,
    stop: &(dyn Fn() -> bool + Sync),
) -> Planned {
    let segments = listed.iter().filter_map(|(object, bytes)| match object {
        Bulk::Segment(id) => Some((*id, *bytes)),
        Bulk::Pack(_) => None,
    });
    let segments: BTreeMap<SegmentId, u64> = segments.collect();
    known.learn(pool, &segments, mark, stop).await;
    let slots = known.0.lock();
    let (mut objects, mut unread) = (Vec::with_capacity(segments.len()), BTreeSet::new());
    for (id, bytes) in &segments {
        let reached = mark.segments.get(id);
        let live = reached.map_or(0, |reached| reached.live.count());
        let sealed = reached.and_then(|reached| reached.tail).or_else(|| slots.get(id).copied()).unwrap_or(0);
        if live > sealed {
            unread.insert(*id);
            continue;
        }
        let in_flight = in_flight.contains_key(&Bulk::Segment(*id));
        let tail = reached.is_some_and(|reached| reached.tail.is_some());
        let open = reached.is_some_and(|reached| reached.open);
        let part = Part { segment: *id, sealed, slots: sealed, live, tail, in_flight, open };
        objects.push(Object { bytes: *bytes, parts: vec![part] });
    }
    let mut plan = plan(&objects, &LIMITS);
    plan.verdicts.extend(unread.into_iter().map(|segment| {
        let live = mark.segments[&segment].live.count();
        Verdict { segment, bytes: segments[&segment], slots: 0, live, reason: Reason::Unreadable }
    }));
    plan.verdicts.sort_by_key(|verdict| verdict.segment);
    let victim = |segment: &SegmentId| Victim { segment: *segment, live: mark.segments[segment].live.runs() };
    let bundles = plan.bundles.iter().map(|bundle| bundle.iter().map(victim).collect()).collect();
    let reseals = plan.reseals.iter().map(victim).collect();
    Planned { plan, bundles, reseals }
}

impl Known {
    /// Reads the indexes of segments that are new here. One that cannot be read is asked for again in the next round.
    async fn learn(
        &self,
        pool: &Pool,
        segments: &BTreeMap<SegmentId, u64>,
        mark: &Mark,
        stop: &(dyn Fn() -> bool + Sync),
    ) {
        let missing: Vec<SegmentId> = {
            let mut slots = self.0.lock();
            slots.retain(|id, _| segments.contains_key(id));
            let tails = mark.segments.iter().filter_map(|(id, reached)| Some((*id, reached.tail?)));
            slots.extend(tails);
            let wanted = |id: &&SegmentId| mark.segments.contains_key(id) && !slots.contains_key(id);
            segments.keys().filter(wanted).copied().collect()
        };
        let read = |id: SegmentId| async move { (id, pool.fetcher().index_once(id).await) };
        let mut reads = stream::iter(missing.into_iter().map(read)).buffer_unordered(INDEXES_AT_ONCE);
        while let Some((id, index)) = reads.next().await {
            match index {
                Ok(index) => drop(self.0.lock().insert(id, index.slots)),
                Err(error) => tracing::warn!(%error, "a segment is left alone"),
            }
            if stop() {
                return;
            }
        }
    }
}
