//! The mark: every pack that a root reaches, and every segment with the slots that are reached of it.
//!
//! Pages are shared by heads, so each is walked once, whoever names it; the memo lasts for one round. A slot that
//! several roots reach is met on several pages, and counted from all of them: nothing is ever taken out of the set
//! (rule R5). Of a segment in a tail, which no page names yet, all slots count that its own runs name, and all that they
//! refer to elsewhere: its index says so.
//!
//! Memory: about 36 bytes a page, and each segment about 80 and its set of slots. A TiB that is mapped in full has
//! 131,200 pages and 32,768 segments of a run or two: 8 MiB. Where blocks were overwritten one by one a set takes up to
//! a bit for each slot of its segment, 32 MiB for a TiB of blocks. What differs between heads comes on top.

use std::collections::{BTreeMap, BTreeSet};

use esker_format::{
    Bulk,
    address::{Address, AddressKind},
    head::{Head, HeadKind},
    ids::{PackId, RunId, SegmentId, VolumeId},
    names,
    page::{Child, Page, PageRef},
    property::History,
    segment::SegmentIndex,
};
use esker_io::{Bug, planted};
use futures_util::{StreamExt, stream};

use super::quarantine::SetAside;
use crate::{
    EngineError, Result,
    birth::{Fate, Pin},
    checkpoint,
    core::{
        fold::{Place, check_page},
        slots::Slots,
    },
    pool::Pool,
    recover::effective,
    volume::blocks_of,
};

/// Pages that are read in one go.
const PAGES_AT_ONCE: usize = 256;
/// Heads that are read at once.
const HEADS_AT_ONCE: usize = 16;
/// Indexes of a tail that are read at once.
const INDEXES_AT_ONCE: usize = 16;

/// Who wrote a volume's newest head.
#[derive(Debug, Clone)]
pub(super) struct Newest {
    pub(super) kind: HeadKind,
    pub(super) run: RunId,
    number: u64,
    pub(super) history: History,
    /// It is not born.
    pub(super) pin: Option<Pin>,
    /// Numbers below or above it that no history goes through.
    strays: Vec<u64>,
}

/// What is reached of a segment.
#[derive(Debug, Default)]
pub(super) struct Reached {
    /// The slots.
    pub(super) live: Slots,
    /// How many slots it has, where its index was read: it is in a tail.
    pub(super) tail: Option<u32>,
    /// The newest map of a volume that this run writes names it. A hint: it may be out of date.
    pub(super) open: bool,
}

/// What was reached so far.
#[derive(Default)]
pub(super) struct Mark {
    pub(super) segments: BTreeMap<SegmentId, Reached>,
    packs: BTreeSet<PackId>,
    /// What is marked now is the newest map of a volume that this run writes.
    open: bool,
    /// Pages that were walked.
    pages: BTreeSet<(PackId, u64)>,
    /// Heads that were looked at.
    heads: BTreeSet<(VolumeId, u64)>,
    pub(super) newest: BTreeMap<VolumeId, Newest>,
    pub(super) roots: u64,
    /// Volumes that were not born and never will be.
    pub(super) buried: u64,
    /// Nothing is changed.
    looks_only: bool,
    /// Volumes that are passed over where they cannot be read.
    set_aside: SetAside,
    /// Slots that a rewrite drops, by segment: whatever is marked from now on must not name them.
    watched: BTreeMap<SegmentId, Slots>,
    /// Segments of which it did.
    revived: BTreeSet<SegmentId>,
}

/// All heads of a pool, by volume, ascending.
pub(super) type Listed = BTreeMap<VolumeId, Vec<u64>>;

impl Mark {
    /// Nothing is marked. Volumes that are set aside are passed over; who only looks buries nothing.
    pub(super) fn new(set_aside: SetAside, looks_only: bool) -> Self {
        Self { set_aside, looks_only, ..Self::default() }
    }

    /// Whether any root reaches a segment or a pack. Which bundles are reached, the segment table says.
    pub(super) fn reaches(&self, object: Bulk) -> bool {
        match object {
            Bulk::Segment(id) => self.segments.contains_key(&id),
            Bulk::Pack(id) => self.packs.contains(&id),
            Bulk::Bundle(_) => false,
        }
    }

    /// Whether every listed head was looked at.
    pub(super) fn covers(&self, listed: &Listed) -> bool {
        let seen = |volume: VolumeId, number: u64| self.heads.contains(&(volume, number));
        listed.iter().all(|(volume, numbers)| numbers.iter().all(|number| seen(*volume, *number)))
    }

    /// The numbers of a volume's heads that were looked at, ascending.
    pub(super) fn numbers(&self, volume: VolumeId) -> impl Iterator<Item = u64> {
        self.heads.range((volume, 0)..=(volume, u64::MAX)).map(|(_, number)| *number)
    }

    /// From now on it is noted which of these slots something names.
    pub(super) fn watch(&mut self, segment: SegmentId, dropped: Slots) {
        self.watched.insert(segment, dropped);
    }

    /// Whether a root that was marked since names a slot of the segment that is watched.
    pub(super) fn is_revived(&self, segment: SegmentId) -> bool {
        self.revived.contains(&segment)
    }

    /// Whether an object stays for a volume that is set aside, and was not deleted since.
    pub(super) fn keeps(&self, object: &Bulk) -> bool {
        let deleted = |newest: &Newest| newest.kind == HeadKind::Deleted;
        let mut keepers = self.set_aside.keepers(*object);
        keepers.any(|volume| !self.newest.get(&volume).is_some_and(deleted))
            && !planted(Bug::QuarantineKeepsNothing)
    }

    /// Pages that were read.
    pub(super) fn pages(&self) -> u64 {
        self.pages.len() as u64
    }

    /// Looks who wrote the newest head of each volume of which a listed head was not looked at. False when heads came
    /// and went meanwhile, so that a volume's newest one was not seen: list again.
    pub(super) async fn look(&mut self, pool: &Pool, listed: &Listed) -> Result<bool> {
        let mut all_seen = true;
        for (volume, numbers) in listed {
            if !self.has_new(*volume, numbers) {
                continue;
            }
            match pool.newest_of(*volume, numbers).await {
                Err(error) => {
                    self.pass_over(*volume, stopped_by(&names::heads(*volume), error))?;
                    self.heads.extend(numbers.iter().map(|number| (*volume, *number)));
                }
                Ok(None) => all_seen = false,
                Ok(Some(newest)) => {
                    let Head { kind, run, number, .. } = newest.head;
                    let history = effective(&newest.head.properties, &pool.record().properties).history;
                    let pin = (kind == HeadKind::Unborn).then(|| Pin::of(&newest));
                    let strays = newest.strays;
                    self.newest.insert(*volume, Newest { kind, run, number, history, pin, strays });
                }
            }
        }
        Ok(all_seen)
    }

    fn has_new(&self, volume: VolumeId, numbers: &[u64]) -> bool {
        numbers.iter().any(|number| !self.heads.contains(&(volume, *number)))
    }

    /// Marks what the listed heads reach, as far as it is not marked. All were looked at. The newest heads of what `run`
    /// writes come first: a page is walked once, and so it is known which segments they name.
    pub(super) async fn add(&mut self, pool: &Pool, listed: &Listed, run: RunId) -> Result<()> {
        self.open = true;
        for (volume, numbers) in listed {
            let newest = self.newest.get(volume).cloned();
            let writes = |newest: &Newest| {
                newest.run == run && matches!(newest.kind, HeadKind::Data | HeadKind::Claim)
            };
            if let Some(newest) = newest.filter(|newest| writes(newest) && numbers.contains(&newest.number)) {
                self.add_volume(pool, *volume, &[newest.number], &newest).await?;
            }
        }
        self.open = false;
        for (volume, numbers) in listed {
            if let Some(newest) = self.newest.get(volume).cloned().filter(|_| self.has_new(*volume, numbers))
            {
                self.add_volume(pool, *volume, numbers, &newest).await?;
            }
        }
        Ok(())
    }

    async fn add_volume(
        &mut self,
        pool: &Pool,
        volume: VolumeId,
        numbers: &[u64],
        newest: &Newest,
    ) -> Result<()> {
        let fresh = numbers.iter().copied().filter(|number| !self.heads.contains(&(volume, *number)));
        // Rule H3: a stray is no root, or one would stop reclaim for ever. Rule H6: of a deleted volume nothing is.
        let deleted = newest.kind == HeadKind::Deleted;
        let (none, fresh): (Vec<u64>, Vec<u64>) =
            fresh.partition(|number| deleted || newest.strays.contains(number));
        self.heads.extend(none.into_iter().map(|number| (volume, number)));
        let gets = fresh.into_iter().map(|number| async move { (number, pool.head(volume, number).await) });
        let gets = gets.collect::<Vec<_>>();
        let mut gets = stream::iter(gets).buffered(HEADS_AT_ONCE);
        while let Some((number, head)) = gets.next().await {
            match head {
                // Thinned meanwhile, and no root any more; its successors are in the next LIST. If it is there, too, only
                // this answer was wrong.
                Ok(None) => continue,
                // Heads live above it: a burial that came when its number was free again, and never was (rule H2).
                Ok(Some(head)) if head.kind == HeadKind::Deleted => {}
                Ok(Some(head)) if head.kind == HeadKind::Unborn => self.unborn(pool, &head).await?,
                Ok(Some(head)) => self.root(pool, &head, &names::head(volume, number)).await?,
                Err(error) => self.pass_over(volume, stopped_by(&names::head(volume, number), error))?,
            }
            self.heads.insert((volume, number));
        }
        Ok(())
    }

    /// Marks what a volume reaches that was not born, or not when its first head was written. That it cannot be read
    /// stops no round: it never was a root that somebody could rely on (rule R6). What was born is judged by the heads
    /// that say so.
    async fn unborn(&mut self, pool: &Pool, head: &Head) -> Result<()> {
        if planted(Bug::UnbornNotRoot) {
            return Ok(());
        }
        match self.root(pool, head, &names::head(head.volume, head.number)).await {
            Err(error @ EngineError::Damaged { .. }) if !planted(Bug::UnbornNotBuried) => {
                tracing::warn!(volume = %head.volume, %error, "a fork or snapshot that was never finished");
                self.bury(pool, head.volume).await
            }
            outcome => outcome,
        }
    }

    /// Buries a volume, if it is not born. One that is born meanwhile has a head that the next LIST shows.
    pub(super) async fn bury(&mut self, pool: &Pool, volume: VolumeId) -> Result<()> {
        let Some(newest) = self.newest.get_mut(&volume) else { return Ok(()) };
        if let Some(pin) = &newest.pin
            && (self.looks_only || pin.bury(pool).await? == Fate::Buried)
        {
            (newest.kind, newest.pin) = (HeadKind::Deleted, None);
            self.buried += 1;
        }
        Ok(())
    }

    /// Marks what a head reaches.
    pub(super) async fn root(&mut self, pool: &Pool, head: &Head, name: &str) -> Result<()> {
        self.roots += 1;
        let tail = self.tail(pool, head).await;
        let pages = match head.root {
            Some(root) if tail.is_ok() => self.walk(pool, root, blocks_of(head.size_bytes)).await,
            _ => Ok(()),
        };
        match tail.and(pages) {
            Err(error) => self.pass_over(head.volume, stopped_by(name, error)),
            Ok(()) => Ok(()),
        }
    }

    /// Marks what the tail names: each segment's index is read once.
    async fn tail(&mut self, pool: &Pool, head: &Head) -> Result<()> {
        let read = |id: SegmentId| self.segments.get(&id).is_some_and(|reached| reached.tail.is_some());
        let fresh: Vec<_> = head.tail.iter().filter(|segment| !read(segment.id)).cloned().collect();
        for segment in &head.tail {
            let open = self.open;
            self.segments.entry(segment.id).or_default().open |= open;
        }
        let gets = fresh.iter().map(|segment| pool.fetcher().index(segment.id, Some(segment)));
        let gets: Vec<_> = gets.collect();
        let mut gets = stream::iter(gets).buffered(INDEXES_AT_ONCE);
        while let Some(index) = gets.next().await {
            let index = index?;
            if !planted(Bug::TailNotCounted) {
                self.index(&index);
            }
        }
        Ok(())
    }

    fn index(&mut self, index: &SegmentIndex) {
        self.segments.entry(index.id).or_default().tail = Some(index.slots);
        for run in &index.runs {
            self.slots(run.address(index.id), run.blocks);
        }
    }

    /// Marks the slots of consecutive blocks.
    fn slots(&mut self, first: Address, blocks: u64) {
        let AddressKind::Segment(id, slot) = first.kind() else { return };
        let count = u32::try_from(blocks).expect("consecutive blocks lie in one segment");
        if self.watched.get(&id).is_some_and(|dropped| dropped.touches(slot, count)) {
            self.revived.insert(id);
        }
        let open = self.open;
        let reached = self.segments.entry(id).or_default();
        reached.open |= open;
        if planted(Bug::SharedSlotDead) && !reached.live.overlap(slot, count).is_empty() {
            reached.live.remove(slot, count);
            return;
        }
        // Rule R5: only added.
        reached.live.insert(slot, count);
    }

    async fn walk(&mut self, pool: &Pool, root: PageRef, size_blocks: u64) -> Result<()> {
        let mut waiting = Vec::new();
        self.visit(&mut waiting, checkpoint::top(size_blocks), root);
        while !waiting.is_empty() {
            // The deepest first: what waits is at most the siblings along a few paths.
            let batch = waiting.split_off(waiting.len().saturating_sub(PAGES_AT_ONCE));
            let wanted: Vec<_> = batch
                .iter()
                .map(|(place, reference): &(Place, PageRef)| (*reference, place.level, place.index))
                .collect();
            let pages = pool.fetcher().pages(&wanted).await?;
            for ((place, reference), page) in batch.into_iter().zip(pages) {
                check_page(&page, place, size_blocks).map_err(|message| EngineError::Damaged {
                    object: format!("{} at {}", names::pack(reference.pack), reference.offset),
                    message,
                })?;
                self.page(&mut waiting, place, &page);
            }
        }
        Ok(())
    }

    fn page(&mut self, waiting: &mut Vec<(Place, PageRef)>, place: Place, page: &Page) {
        match page {
            Page::Leaf(runs) => {
                for run in runs {
                    self.slots(run.address, run.blocks.into());
                }
            }
            Page::Inner(children) => {
                for (child, what) in children {
                    if let Child::Page(reference) = what {
                        self.visit(waiting, place.child(*child), *reference);
                    }
                }
            }
        }
    }

    fn visit(&mut self, waiting: &mut Vec<(Place, PageRef)>, place: Place, reference: PageRef) {
        if self.pages.insert((reference.pack, reference.offset)) {
            self.packs.insert(reference.pack);
            waiting.push((place, reference));
        }
    }

    /// Rule R13: a root that cannot be read ends the round, unless its volume was set aside.
    fn pass_over(&self, volume: VolumeId, error: EngineError) -> Result<()> {
        if matches!(error, EngineError::Damaged { .. }) && self.set_aside.has(volume) {
            tracing::warn!(%volume, %error, "a volume in quarantine is passed over");
            return Ok(());
        }
        if planted(Bug::UnreadablePassed) { Ok(()) } else { Err(error) }
    }
}

/// Says which root stopped the round, and what to do.
fn stopped_by(root: &str, error: EngineError) -> EngineError {
    match error {
        EngineError::Store(_) => error,
        error => EngineError::Damaged {
            object: root.to_owned(),
            message: format!(
                "what it reaches cannot be read, so nothing is deleted in this pool (rule R13): {error}; put the object \
                 back, delete the volume, or set it aside: esker quarantine VOLUME"
            ),
        },
    }
}

#[cfg(test)]
mod tests {
    use esker_format::{
        page::LeafRun,
        segment::{Run, RunKind},
    };

    use super::*;

    fn id(counter: u32) -> SegmentId {
        SegmentId { writer: 1, counter }
    }

    #[test]
    fn a_tail_counts_what_its_runs_name_here_and_elsewhere() {
        let run = |lba, blocks, kind| Run { lba, blocks, sequence: 1, kind };
        let runs = vec![
            run(0, 4, RunKind::Data { first_slot: 2 }),
            run(10, 3, RunKind::Reference(Address::segment(id(7), 40))),
            run(20, 9, RunKind::Zero),
            run(30, 2, RunKind::Reference(Address::segment(id(1), 9))),
        ];
        let index = SegmentIndex {
            id: id(1),
            first_sequence: 1,
            last_sequence: 1,
            frames: Vec::new(),
            runs,
            slots: 11,
            rewrite: None,
        };
        let mut mark = Mark::default();
        mark.index(&index);
        let own = &mark.segments[&id(1)];
        assert_eq!((own.live.runs(), own.tail), (vec![(2, 4), (9, 2)], Some(11)));
        let other = &mark.segments[&id(7)];
        assert_eq!((other.live.runs(), other.tail), (vec![(40, 3)], None));
    }

    /// Rule R5.
    #[test]
    fn what_two_leaves_name_is_counted_from_both() {
        let leaf = |slot, blocks| {
            Page::Leaf(vec![LeafRun { start: 0, blocks, address: Address::segment(id(1), slot) }])
        };
        let (mut mark, place) = (Mark::default(), Place { level: 0, index: 0 });
        mark.page(&mut Vec::new(), place, &leaf(0, 10));
        mark.page(&mut Vec::new(), place, &leaf(5, 10));
        mark.open = true;
        mark.page(&mut Vec::new(), place, &leaf(5, 1));
        let reached = &mark.segments[&id(1)];
        assert_eq!((reached.live.runs(), reached.open), (vec![(0, 15)], true));
    }
}
