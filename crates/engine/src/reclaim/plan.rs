//! What a round knows of each segment, and what it plans to do about those that are partly dead.
//!
//! How many slots a segment has stands in its index, and changes only when it is rewritten: it is read once in a run for each
//! object, with one GET, and remembered. That is about 50 bytes a segment, 2 MiB for a TiB. Of a segment in a tail the mark has read it, of one
//! that nothing reaches it does not matter.

use std::collections::{BTreeMap, BTreeSet};

use esker_format::{
    Bulk,
    ids::{BundleId, SegmentId},
};
use esker_io::sync::Mutex;
use futures_util::{StreamExt, stream};

use super::{
    mark::{Mark, Reached},
    round::Class,
};
use crate::{
    core::victims::{Limits, Object, Part, Plan, Reason, Verdict, Victim, plan},
    pool::Pool,
    table::Table,
};

/// Indexes that are read at once.
const INDEXES_AT_ONCE: usize = 8;

/// What is known of segments, kept from round to round.
#[derive(Default)]
pub(crate) struct Known(Mutex<BTreeMap<SegmentId, Facts>>);

/// How many slots a segment was sealed with, how many are left, and where that was read.
#[derive(Debug, Clone, Copy)]
struct Facts {
    sealed: u32,
    slots: u32,
    bundle: Option<BundleId>,
}

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

/// Decides about all segments whose objects are listed. What was superseded waits to be deleted, and is none of them.
pub(super) async fn decide(
    pool: &Pool,
    (known, table, limits): (&Known, &Table, &Limits),
    listed: &BTreeMap<Bulk, u64>,
    mark: &Mark,
    in_flight: &BTreeSet<Bulk>,
    stop: &(dyn Fn() -> bool + Sync),
) -> Planned {
    let homes = homes(listed, table);
    known.learn(pool, &homes, mark, stop).await;
    let facts = known.0.lock();
    let (mut objects, mut unread) = (BTreeMap::<Bulk, Object>::new(), Vec::new());
    for (id, home) in &homes {
        let reached = mark.segments.get(id);
        let shown = reached.map_or(0, |reached| reached.live.count());
        let tail = reached.and_then(|reached| reached.tail);
        let in_tail = tail.map(|sealed| Facts { sealed, slots: sealed, bundle: None });
        let none = Facts { sealed: 0, slots: 0, bundle: None };
        let Facts { sealed, slots, .. } = facts.get(id).copied().or(in_tail).unwrap_or(none);
        if shown > slots {
            let reason = Reason::Unreadable;
            unread.push(Verdict { segment: *id, bytes: listed[home], slots: 0, live: shown, reason });
            continue;
        }
        // Of what is only named, some may be dropped already: at most all that is left lives.
        let live = reached.map_or(0, Reached::count).min(slots);
        let in_flight = in_flight.contains(home);
        let open = reached.is_some_and(|reached| reached.open);
        let whole = reached.is_some_and(|reached| reached.whole);
        let part = Part { segment: *id, sealed, slots, live, tail: tail.is_some(), whole, in_flight, open };
        let object =
            objects.entry(*home).or_insert_with(|| Object { bytes: listed[home], parts: Vec::new() });
        object.parts.push(part);
    }
    // A bundle of which a part cannot be judged stays as it is.
    let doubtful: BTreeSet<Bulk> = unread.iter().map(|verdict| homes[&verdict.segment]).collect();
    objects.retain(|object, _| !doubtful.contains(object));
    let objects: Vec<Object> = objects.into_values().collect();
    let mut plan = plan(&objects, limits);
    plan.verdicts.extend(unread);
    plan.verdicts.sort_by_key(|verdict| verdict.segment);
    let victim =
        |segment: &SegmentId| Victim { segment: *segment, live: mark.segments[segment].stay().runs() };
    let bundles = plan.bundles.iter().map(|bundle| bundle.iter().map(victim).collect()).collect();
    let reseals = plan.reseals.iter().map(victim).collect();
    Planned { plan, bundles, reseals }
}

/// The object of each segment that has one.
fn homes(listed: &BTreeMap<Bulk, u64>, table: &Table) -> BTreeMap<SegmentId, Bulk> {
    let sealed = listed.keys().filter_map(|object| match object {
        Bulk::Segment(id) => table.entry(*id).is_none().then_some((*id, *object)),
        Bulk::Pack(_) | Bulk::Bundle(_) => None,
    });
    let moved = table.entries().map(|entry| (entry.segment, Bulk::Bundle(entry.bundle)));
    sealed.chain(moved.filter(|(_, bundle)| listed.contains_key(bundle))).collect()
}

impl Known {
    /// Reads the indexes of segments that are new here. One that cannot be read is asked for again in the next round.
    async fn learn(
        &self,
        pool: &Pool,
        homes: &BTreeMap<SegmentId, Bulk>,
        mark: &Mark,
        stop: &(dyn Fn() -> bool + Sync),
    ) {
        let bundle_of = |id: &SegmentId| match homes.get(id) {
            Some(Bulk::Bundle(bundle)) => Some(*bundle),
            _ => None,
        };
        let missing: Vec<SegmentId> = {
            let mut known = self.0.lock();
            known.retain(|id, facts| homes.contains_key(id) && facts.bundle == bundle_of(id));
            let tails = mark.segments.iter().filter_map(|(id, reached)| Some((*id, reached.tail?)));
            for (id, sealed) in tails.filter(|(id, _)| bundle_of(id).is_none()) {
                known.insert(id, Facts { sealed, slots: sealed, bundle: None });
            }
            let wanted = |id: &&SegmentId| mark.segments.contains_key(id) && !known.contains_key(id);
            homes.keys().filter(wanted).copied().collect()
        };
        let read = |id: SegmentId| async move { (id, pool.fetcher().index_once(id).await) };
        let mut reads = stream::iter(missing.into_iter().map(read)).buffer_unordered(INDEXES_AT_ONCE);
        while let Some((id, index)) = reads.next().await {
            match index {
                Ok(index) => {
                    let slots = index.kept().iter().map(|run| run.1).sum();
                    let facts = Facts { sealed: index.slots, slots, bundle: bundle_of(&id) };
                    self.0.lock().insert(id, facts);
                }
                Err(error) => tracing::warn!(%error, "a segment is left alone"),
            }
            if stop() {
                return;
            }
        }
    }
}
