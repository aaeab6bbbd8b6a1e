//! What of the listed objects is dead, and what the chains say before it goes.

use std::collections::{BTreeMap, BTreeSet};

use esker_format::{
    Bulk, Dead,
    ids::{BundleId, SegmentId},
};
use esker_io::{Bug, planted};

use super::{
    chains::TableChange,
    mark::Mark,
    round::{Report, Round},
};
use crate::{
    EngineError, Result,
    core::grace::{self, BRAKE_PERCENT, Verdict},
    table::Table,
};

/// How many of these objects no rewrite has superseded: neither a segment that is in a bundle now, nor a bundle that no
/// record names any more, or ever did.
fn sealed_or_current<'a>(table: &Table, objects: impl Iterator<Item = &'a Bulk>) -> u64 {
    let current = table.bundles_of(|_| true);
    let counts = |object: &&Bulk| match object {
        Bulk::Segment(id) => table.entry(*id).is_none(),
        Bulk::Pack(_) => true,
        Bulk::Bundle(id) => current.contains(id),
    };
    objects.filter(counts).count() as u64
}

impl Round<'_> {
    /// Step 6: what is dead of the listed objects, with their sizes.
    pub(super) fn dead(
        &self,
        listed: &BTreeMap<Bulk, u64>,
        mark: &Mark,
        in_flight: &BTreeSet<Bulk>,
        report: &mut Report,
    ) -> BTreeMap<Bulk, u64> {
        let table = self.table();
        let bundles = table.bundles_of(|segment| mark.reaches(Bulk::Segment(segment)));
        let mut dead = BTreeMap::new();
        for (object, bytes) in listed {
            let reached = match object {
                Bulk::Segment(id) => mark.reaches(*object) && table.entry(*id).is_none(),
                Bulk::Pack(_) => mark.reaches(*object),
                Bulk::Bundle(id) => bundles.contains(id),
            };
            if reached || mark.keeps(object) {
                report.live.add(*bytes);
            } else if in_flight.contains(object) {
                report.in_flight.add(*bytes);
            } else {
                dead.insert(*object, *bytes);
            }
        }
        dead
    }

    /// Rule R3: whatever will be deleted is condemned before, for ever. What was dead before was condemned then.
    pub(super) async fn condemn(&self, dead: &BTreeMap<Bulk, u64>, known: &[Dead]) -> Result<()> {
        let known: BTreeSet<Bulk> = known.iter().map(|dead| dead.object).collect();
        let table = self.table();
        let (bundles, mut new) = (table.by_bundle(), BTreeSet::new());
        for object in dead.keys().filter(|object| !known.contains(object)) {
            match object {
                // One that is in a bundle now is not dead, only this object is.
                Bulk::Segment(id) if table.entry(*id).is_none() => drop(new.insert(*id)),
                Bulk::Segment(_) | Bulk::Pack(_) => {}
                Bulk::Bundle(id) => {
                    let inside = bundles.get(id).into_iter().flatten();
                    new.extend(inside.map(|entry| entry.segment));
                }
            }
        }
        if !new.is_empty() {
            self.publish(new.into_iter().collect(), Vec::new()).await?;
        }
        Ok(())
    }

    /// Step 8: whether so much is due that a person should look first.
    pub(super) fn brake(&self, due: &[Dead], listed: &BTreeMap<Bulk, u64>) -> Result<()> {
        let table = self.table();
        let due = sealed_or_current(&table, due.iter().map(|dead| &dead.object));
        let listed = sealed_or_current(&table, listed.keys());
        if self.options.force || !grace::brakes(due, listed) {
            return Ok(());
        }
        Err(EngineError::Invalid(format!(
            "{due} of the pool's {listed} segments and packs are dead, more than {BRAKE_PERCENT} %; nothing was deleted. \
             If that is right, say so: esker reclaim --force"
        )))
    }

    /// Step 8.
    pub(super) async fn take_out(&self, due: &[Dead]) -> Result<()> {
        let bundle = |dead: &Dead| if let Bulk::Bundle(id) = dead.object { Some(id) } else { None };
        let bundles: BTreeSet<BundleId> = due.iter().filter_map(bundle).collect();
        if bundles.is_empty() {
            return Ok(());
        }
        let table = self.table();
        let named = table.entries().filter(|entry| bundles.contains(&entry.bundle));
        let removed: Vec<SegmentId> = named.map(|entry| entry.segment).collect();
        if removed.is_empty() && planted(Bug::LateRewrite) {
            return Ok(());
        }
        self.write_table(TableChange { removed, ..TableChange::default() }).await
    }

    /// What is planted: an object that was superseded goes with the rewrite.
    pub(super) fn hastened(&self, mut verdict: Verdict) -> Verdict {
        if planted(Bug::SupersededAtOnce) {
            let table = self.table();
            let superseded = |dead: &Dead| match dead.object {
                Bulk::Segment(id) => table.entry(id).is_some(),
                _ => false,
            };
            let (at_once, waiting) = verdict.waiting.into_iter().partition(superseded);
            verdict.due.extend::<Vec<Dead>>(at_once);
            verdict.waiting = waiting;
        }
        verdict
    }
}
