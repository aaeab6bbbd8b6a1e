//! A round: finds what nothing reaches, rewrites segments of which much is dead, and deletes what was dead for the grace.
//!
//! ```text
//!  LIST segments, packs, bundles ──▶ listed ──────────────────────────────────────────┐
//!  in flight ┐                                                                        ▼
//!  readers   ├─▶ mark: roots ─▶ pages ─▶ slots, packs ─▶ rewrite ─▶ listed ∖ reached ∖ in flight
//!  LIST heads┘     ▲    │ a head that was not marked                 │ = dead
//!                  └────┘ (rule R7): once more                       ▼
//!                           round record, local list ─ dead for how long ─▶ wait │ due ─▶ brake ─▶ DELETE
//! ```
//! 0. Volumes that are open here fold their tails: what a tail has overwritten counts as alive until then.
//!    Read the segment table, and which volumes are set aside (rule R13). What the table says is current for all of the
//!    round: only this run writes it.
//! 1. LIST segments, packs and bundles. Only what is listed here can be deleted, so nothing that is sent later is in danger.
//! 2. Note what this run has in flight and what its readers use, **then** LIST the heads of all volumes. An object is
//!    in flight from before its PUT until its commit is settled: so each is noted here, or its head is in this LIST.
//! 3. Bury what was never born (rule R6): its source was deleted, it is older than the grace, or, in step 5, what it names
//!    cannot be read. Whoever is giving birth to it finds that number 2 is taken, or was faster; then 6 sees its head.
//! 4. Refuse, unless this run is the only one that may have requests on the way: the newest head of each volume is a
//!    release, a deletion, or of this very run, whose claim took the only number that an earlier run could still try
//!    (rules H1, H4). So a late head is refused by the store, and names nothing.
//! 5. Mark from every listed head, old ones too, and from the readers. Strays are no roots (rule H3), nor are the heads
//!    of a deleted volume (rule H6). A root that cannot be read ends the round (rule R13).
//! 6. Once more from 2, until a LIST made **after** the mark shows no head that was not marked (rule R7): while heads
//!    come and go, all those of a LIST may be gone before they are read. Then decide what is worth rewriting (`plan`),
//!    and do it, which marks once more (`rewrite`).
//! 7. Dead is what was listed and is neither reached nor in flight. A segment's own object is reached when the segment
//!    is and the table does not say that it is in a bundle; a bundle, when the table has a reached segment there.
//!    A round record condemns the segments that are dead for the first time (rule R3). The local list says for how long
//!    each was seen dead, in every round without a break (`core::grace`); it is saved before anything is deleted.
//! 8. Due is what was dead for the grace. A round that wants to delete very much stops and asks; what rewrites have
//!    superseded is not asked about, for that is reclaim's own doing, and comes due all at once.
//!    Before a bundle goes, a record of the table takes out what is named there, all of it dead, and takes the only number
//!    that another run could still try, with a rewrite that nobody has heard of (rule G2).
//! 9. DELETE what is due, a few at once. Whatever is left when the round ends early is due in the next one.
//!
//! **Dead stays dead**: a pack has a random name and is reused only by who reaches it from the newest head (rule G6);
//! a segment is named by its own commit and by pages that copy the name from pages before. There is no deduplication.
//! So what no root reaches can get no new reference, and a round may be cut off after each step: the next one finds
//! the same and more. What the grace is for are readers that no step here sees: another process that opened a volume for
//! reading (rule R11), a read under way from a root that was just replaced.
//!
//! A host beside this one would need leases and rounds in the store (rules R1 to R3); until then step 4 refuses.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use esker_format::{
    Bulk, Dead, WaitingList,
    head::HeadKind,
    ids::{RunId, VolumeId},
    names::{self, ObjectName},
    property::History,
};
use esker_io::{
    Bug, planted,
    sync::{Mutex, timeout},
};
use futures_util::{StreamExt, stream};

pub use super::report::{Class, Options, Report};
use super::{
    mark::{Age, Listed, Mark},
    plan::{self, Known, Planned},
    quarantine::listed,
    released, waiting,
};
use crate::{
    EngineError, Result,
    birth::Pin,
    core::{grace, heads::Keep, slots::Slots, victims::Victim},
    pool::Pool,
    table::Table,
    volume::Volume,
};

/// How often a round marks while heads come and go.
const MARKS_MAX: usize = 64;
/// Deletions at once.
const DELETIONS_AT_ONCE: usize = 8;
/// Volumes that fold at once.
const FOLDS_AT_ONCE: usize = 8;
/// A volume that has not folded by then, because the store does not take its heads, is not waited for.
const FOLD_PATIENCE: Duration = Duration::from_secs(10);
/// Deletions between two looks at whether to stop.
const BATCH: usize = 64;
/// A round in the background rests so long after each batch.
const REST: Duration = Duration::from_millis(50);
/// A fork or snapshot that is being made is given so long at least, whatever the grace. A clock decides only when: who
/// is too late finds that it was buried.
const BIRTH_PATIENCE: Duration = Duration::from_secs(600);

/// Who makes a round.
pub struct Round<'a> {
    /// The pool.
    pub pool: &'a Pool,
    /// This run.
    pub run: RunId,
    /// How.
    pub options: Options,
    /// The volumes that are open here.
    pub owners: &'a [Arc<Volume>],
    /// Segments that somebody wants rewritten, whatever the policy says.
    pub asked: &'a [Victim],
    /// Read when the round begins.
    pub(crate) table: Mutex<Arc<Table>>,
    /// When this run's last round was, by the monotonic clock.
    pub since: Option<Duration>,
    /// What its rounds have learnt of segments.
    pub(crate) known: &'a Known,
    /// Asked now and then; the round ends early.
    pub stop: &'a (dyn Fn() -> bool + Sync),
    /// Is told how much of how much is deleted.
    pub progress: &'a (dyn Fn(u64, u64) + Sync),
}

impl Round<'_> {
    /// Makes it.
    ///
    /// # Errors
    /// [`EngineError::Invalid`] when another run may be at work in the pool or the brake holds,
    /// [`EngineError::Damaged`] when a root cannot be read. Nothing was deleted then.
    pub async fn run(&self) -> Result<Report> {
        let grace = self.options.grace;
        if !self.options.dry_run {
            self.fold_tails().await;
        }
        let table = self.pool.fetcher().newest_table().await?;
        self.pool.fetcher().install(table.clone());
        self.know(table);
        let mut mark = Mark::new(self.set_aside().await?, self.options.dry_run);
        let listed = listed(self.pool).await?;
        let mut report = Report::default();
        self.watch_asked(&mut mark).await?;
        let in_flight = self.mark(&mut mark, &mut report).await?;
        let table = self.table();
        report.planned = plan::decide(
            self.pool,
            (self.known, &table, &self.options.limits),
            &listed,
            &mark,
            &in_flight,
            self.stop,
        )
        .await;
        if !self.options.dry_run {
            let victims = self.victims(&mark, &report.planned);
            self.rewrite(&mut mark, victims, &mut report).await?;
        }
        let dead = self.dead(&listed, &mark, &in_flight, &mut report);
        let before = waiting::load(self.pool.world(), self.pool.id());
        let elapsed = before
            .as_ref()
            .map_or(Duration::ZERO, |list| waiting::elapsed(self.pool.world(), list, self.since, grace));
        let grace_ms = if planted(Bug::GraceIgnored) { 0 } else { millis(grace) };
        let known = before.as_ref().map_or(&[][..], |list| &list.dead);
        let verdict = self.hastened(grace::judge(&dead, known, millis(elapsed), grace_ms));
        report.waiting = Class::of(&verdict.waiting);
        report.due = Class::of(&verdict.due);
        let next = verdict.waiting.iter().map(|dead| grace_ms.saturating_sub(dead.for_ms)).min();
        report.next_due = next.map(Duration::from_millis);
        if self.options.dry_run {
            return Ok(report);
        }
        self.condemn(&dead, known).await?;
        let mut kept = verdict.waiting.clone();
        kept.extend(&verdict.due);
        self.save(kept, known)?;
        self.brake(&verdict.due, &listed)?;
        self.take_out(&verdict.due).await?;
        self.delete_heads(&mark, &mut report).await?;
        let expired = released::expire(self.pool, &mark, self.stop).await;
        report.heads_deleted += expired.heads;
        report.next_expiry = expired.next;
        if !verdict.due.is_empty() {
            let left = self.delete(verdict.due, &mut report).await;
            report.due = Class::of(&left);
            let mut kept = verdict.waiting;
            kept.extend(left);
            self.save(kept, &[])?;
        }
        Ok(report)
    }

    /// Step 0. One that cannot, or not soon, is none the worse for it: less of it is seen to be dead.
    async fn fold_tails(&self) {
        let clock = &*self.pool.world().clock;
        let folds: Vec<_> = self
            .owners
            .iter()
            .map(|volume| async move { (volume.name(), timeout(clock, FOLD_PATIENCE, volume.fold()).await) })
            .collect();
        let mut folds = stream::iter(folds).buffer_unordered(FOLDS_AT_ONCE);
        while let Some((volume, outcome)) = folds.next().await {
            if let Some(Err(error)) = outcome {
                tracing::warn!(volume, %error, "its newest segments are not in pages");
            }
        }
    }

    /// What is worth rewriting, and what somebody asked for: what shares an object later stands together.
    fn victims(&self, mark: &Mark, planned: &Planned) -> Vec<Victim> {
        let asked = self.asked.iter().filter(|victim| !mark.is_revived(victim.segment));
        let planned = planned.bundles.iter().flatten().chain(&planned.reseals);
        let others = planned.filter(|victim| !self.asked.iter().any(|asked| asked.segment == victim.segment));
        asked.chain(others).cloned().collect()
    }

    /// What somebody asked for was found before this mark, which says whether it is still so.
    async fn watch_asked(&self, mark: &mut Mark) -> Result<()> {
        for victim in self.asked {
            let kept = self.pool.fetcher().index(victim.segment, None).await?.kept();
            mark.watch(victim.segment, Slots::of(&kept).without(&Slots::of(&victim.live)));
        }
        Ok(())
    }

    /// Steps 2 to 6. Returns also what was in flight at any time meanwhile.
    pub(super) async fn mark(&self, mark: &mut Mark, report: &mut Report) -> Result<BTreeSet<Bulk>> {
        let mut in_flight = BTreeSet::new();
        for _ in 0..MARKS_MAX {
            in_flight.extend(self.pool.uses().in_flight());
            for head in self.pool.uses().read() {
                mark.root(self.pool, &head, "a volume that is open here for reading", Age::Newest).await?;
            }
            let heads = self.heads(mark).await?;
            let all_seen = mark.look(self.pool, &heads).await?;
            self.bury(mark).await?;
            self.refuse_others(mark, &heads).await?;
            if all_seen && mark.covers(&heads) {
                report.volumes =
                    mark.newest.values().filter(|newest| newest.kind != HeadKind::Deleted).count() as u64;
                (report.roots, report.pages, report.buried) = (mark.roots, mark.pages(), mark.buried);
                return Ok(in_flight);
            }
            if (self.stop)() {
                return Err(EngineError::Invalid(
                    "the round was told to stop while it marked; nothing was deleted".into(),
                ));
            }
            mark.add(self.pool, &heads, self.run).await?;
            if planted(Bug::MarkNotListed) {
                return Ok(in_flight);
            }
        }
        Err(EngineError::Invalid(format!(
            "heads came and went faster than they could be read, {MARKS_MAX} times; nothing was deleted, try again later"
        )))
    }

    /// A LIST of all heads. Heads of a volume that is written now come and go: of those it is asked again by itself, for
    /// that is one page, and one page shows its newest head (rule H9).
    async fn heads(&self, mark: &Mark) -> Result<Listed> {
        let mut heads = Listed::new();
        for object in self.pool.fetcher().list(&names::volumes()).await? {
            if let Some(ObjectName::Head { volume, number }) = names::parse(&object.name) {
                heads.entry(volume).or_default().push(number);
            }
        }
        for (volume, numbers) in &mut heads {
            let written = |kind| !has_ended(kind);
            match mark.newest.get(volume) {
                Some(newest) if written(newest.kind) => *numbers = self.pool.head_numbers(*volume).await?,
                _ => numbers.sort_unstable(),
            }
        }
        Ok(heads)
    }

    /// Step 3: forks and snapshots that were never finished, and never will be (rule R6).
    async fn bury(&self, mark: &mut Mark) -> Result<()> {
        let now_ms = self.pool.world().clock.wall_ms();
        let old_ms = millis(self.options.grace.max(BIRTH_PATIENCE));
        let gone = |volume: &VolumeId| {
            mark.newest.get(volume).is_some_and(|newest| newest.kind == HeadKind::Deleted)
        };
        let never =
            |pin: &&Pin| gone(&pin.source().volume) || now_ms.saturating_sub(pin.head().written_ms) > old_ms;
        let unborn = mark.newest.values().filter_map(|newest| newest.pin.as_ref());
        let volumes: Vec<_> = unborn.filter(never).map(Pin::volume).collect();
        for volume in volumes.into_iter().filter(|_| !planted(Bug::UnbornNotBuried)) {
            mark.bury(self.pool, volume).await?;
        }
        Ok(())
    }

    /// Step 4, as far as newest heads are known; the last time around they all are.
    async fn refuse_others(&self, mark: &Mark, heads: &Listed) -> Result<()> {
        let foreign = |volume: &VolumeId| {
            let newest = mark.newest.get(volume)?;
            (!has_ended(newest.kind) && newest.run != self.run).then_some((*volume, newest.run))
        };
        let Some((volume, run)) = heads.keys().find_map(foreign) else { return Ok(()) };
        let named = self.pool.names().await?.into_iter().find(|named| named.volume == volume);
        let name = named.map_or_else(|| volume.to_string(), |named| named.name);
        Err(EngineError::Invalid(format!(
            "volume {name} was not given back by run {run}, which may have requests on the way; nothing was deleted: \
             only one run at a time reclaims. If that run is alive, stop it; if it has ended, open the volume once here"
        )))
    }

    /// Step 7: the list, before anything on it is deleted.
    fn save(&self, mut dead: Vec<Dead>, known: &[Dead]) -> Result<()> {
        if dead.is_empty() && known.is_empty() && self.since.is_some() {
            return Ok(());
        }
        dead.sort_by_key(|dead| dead.object);
        let world = self.pool.world();
        waiting::save(world, &WaitingList { pool: self.pool.id(), wall_ms: world.clock.wall_ms(), dead })
    }

    /// Step 9. Returns what is left.
    async fn delete(&self, due: Vec<Dead>, report: &mut Report) -> Vec<Dead> {
        let (total, mut left) = (due.len() as u64, Vec::new());
        let objects = &self.pool.world().objects;
        let mut batches = due.chunks(BATCH);
        for batch in batches.by_ref() {
            if (self.stop)() {
                left.extend(batch);
                break;
            }
            let deletions: Vec<_> = batch.iter().map(|dead| delete(&**objects, *dead)).collect();
            let mut deletions = stream::iter(deletions).buffered(DELETIONS_AT_ONCE);
            while let Some((dead, outcome)) = deletions.next().await {
                match outcome {
                    Ok(()) => report.deleted.add(dead.bytes),
                    Err(error) => {
                        tracing::warn!(%error, "a dead object stays until the next round");
                        left.push(dead);
                    }
                }
            }
            (self.progress)(report.deleted.objects + left.len() as u64, total);
            if self.options.gently {
                self.pool.world().clock.sleep(REST).await;
            }
        }
        left.extend(batches.flatten());
        left
    }

    /// The heads of deleted volumes, which nobody owns any more. Those that a rule keeps stay.
    async fn delete_heads(&self, mark: &Mark, report: &mut Report) -> Result<()> {
        let deleted = mark.newest.iter().filter(|(_, newest)| newest.kind == HeadKind::Deleted);
        for (volume, _) in deleted {
            let newest = self.pool.newest_head(*volume).await?;
            let keep = Keep { heads: 1, history: History::default() };
            let mut heads = super::Heads::new(&newest.numbers, &newest.strays, keep);
            heads.thin(self.pool, *volume, self.stop, &mut report.heads_deleted).await?;
        }
        Ok(())
    }
}

/// Whether nobody writes a volume whose newest head is of this kind.
fn has_ended(kind: HeadKind) -> bool {
    matches!(kind, HeadKind::Released | HeadKind::Deleted | HeadKind::Unborn | HeadKind::Frozen)
}

async fn delete(
    objects: &dyn esker_io::Objects,
    dead: Dead,
) -> (Dead, std::result::Result<(), esker_io::StoreError>) {
    let outcome = objects.delete(&dead.object.name()).await;
    (dead, outcome)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
