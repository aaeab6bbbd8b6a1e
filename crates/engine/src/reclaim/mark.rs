//! The mark: every pack that a root reaches, and every segment with the slots that are reached of it.
//!
//! ```text
//! pages    │ a a a a a a │ b b b b │ c c c c │       leaves
//! tail           x x x     x x x x                   segments, laid over each other in their order (rule W7)
//! shows      a a x x x a   x x x x   c c c c         counts of a newest head
//! names      a a a a a a   b b b b   c c c c  x …    counts of an older one
//! ```
//! Pages are shared by heads, so each is walked once, whoever names it; the memo lasts for one round. A slot that
//! several roots reach is met on several pages, and counted from all of them: nothing is ever taken out of the set
//! (rule R5). The tail of a volume's newest head may hide up to 64 segments of pages and of itself, for as long as a
//! snapshot or a released volume exists: so of that head counts what it *shows*. A leaf that the tail touches is read
//! for each tail that does, and what is left of it counts; all other pages are walked with the memo. Heads that show the
//! same are walked once: a thousand forks of one snapshot, the unborn head of a snapshot and the frozen one.
//! Of older heads, which go soon, all counts that their pages and tails name, the hidden slots too: that takes no walk
//! for each of them.
//!
//! Why what is hidden may go, in numbered steps:
//! 1. Who uses a head lays all of its tail over its pages: an opening, a fork or snapshot (which copy root and tail), a
//!    comparison, a check. So a hidden slot is read by nobody who has the head. Only pages name it, or an older segment
//!    of the tail; and of them everything stays, packs and indexes, but for the slots.
//! 2. A head on top of it has the same tail and more, or pages into which the older part of the tail was folded. Such
//!    pages may name a hidden slot; what hid it is in the rest of the tail, or was folded as well.
//! 3. A head that was the newest and is history counts all that it names from then on. Of that, slots may be dropped
//!    already, those that it hides: so what is only named counts as far as it is there ([`Reached::stay`]), and what a
//!    head shows must be there, or the round ends.
//! 4. The index of a rewrite names no dropped slot, but has all trims, zeros and references. What it does not say of a
//!    block any more, a later segment of the tail says, where there was one when the slot was dropped. So it must never
//!    be laid without that one: a head that has the segment and not the later one shows the slot itself, and was counted.
//! 5. Such a head may come from the past, as a fork of an old head or by going back to it: it is pinned first, and the
//!    old head has to be there after that (rule R8). Then it was in the last LIST of the mark, or it came later from
//!    one that was.
//! 6. Who found a head, and reads its tail late, when the head is gone and a rewrite is current that knows nothing of
//!    it: he looks again ([`Pool::is_still_there`]). What he has read and opened is where it was for the grace.
//! 7. The second mark of a rewrite goes on with the same memo: a head that shows the same as one before names nothing
//!    that is dropped. An older one that came since may name a hidden slot; then that segment stays as it was.
//!
//! Memory: about 36 bytes a page, and each segment about 120 and its sets of slots. A TiB that is mapped in full has
//! 131,200 pages and 32,768 segments of a run or two: 10 MiB. Where blocks were overwritten one by one a set takes up to
//! a bit for each slot of its segment, 32 MiB for a TiB of blocks, and as much again where older heads name what newer
//! ones hide. What differs between heads comes on top, and up to 600 bytes for each state with a long tail. Of one head at a time
//! the tail is in memory: up to 300 MiB while 64 segments of 65,536 blocks that lie apart are laid over each other, 30
//! MiB where blocks do not compress, little where they lie together.

mod walk;

use std::collections::{BTreeMap, BTreeSet};

use esker_format::{
    Bulk,
    head::{Head, HeadKind},
    ids::{PackId, RunId, SegmentId, VolumeId},
    names,
    property::History,
    segment::SegmentIndex,
};
use esker_io::{Bug, planted};
use futures_util::{StreamExt, stream};

use self::walk::Pages;
use super::quarantine::SetAside;
use crate::{
    EngineError, Result,
    birth::{Fate, Pin},
    core::{slots::Slots, state::State},
    pool::Pool,
    recover::effective,
};

/// Heads that are read at once.
const HEADS_AT_ONCE: usize = 16;

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

impl Newest {
    fn is_written_by(&self, run: RunId) -> bool {
        self.run == run && matches!(self.kind, HeadKind::Data | HeadKind::Claim)
    }
}

/// What is reached of a segment.
#[derive(Debug, Default)]
pub(super) struct Reached {
    /// The slots that a head shows.
    pub(super) live: Slots,
    /// Those that older heads name: what their own tails have overwritten is among them, and may be dropped long ago.
    pub(super) perhaps: Slots,
    /// How many slots it has, where its index was read: it is in a tail.
    pub(super) tail: Option<u32>,
    /// It is in the tail of an older head, and so all counts that its index names.
    pub(super) whole: bool,
    /// The newest map of a volume that this run writes names it. A hint: it may be out of date.
    pub(super) open: bool,
}

impl Reached {
    /// The slots that stay, as far as the segment has them.
    pub(super) fn stay(&self) -> Slots {
        let mut all = self.live.clone();
        self.perhaps.runs().into_iter().for_each(|(first, count)| all.insert(first, count));
        all
    }

    /// How many these are.
    pub(super) fn count(&self) -> u32 {
        if self.perhaps.is_empty() { self.live.count() } else { self.stay().count() }
    }
}

/// How a head is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Age {
    /// What it shows: it is its volume's newest, or somebody reads it.
    Newest,
    /// All that it names.
    Older,
}

/// What was reached so far.
#[derive(Default)]
pub(super) struct Mark {
    pub(super) segments: BTreeMap<SegmentId, Reached>,
    packs: BTreeSet<PackId>,
    /// What is marked now is the newest map of a volume that this run writes.
    open: bool,
    /// What is marked now is what a head shows.
    surely: bool,
    /// What heads show that were marked so.
    states: BTreeSet<State>,
    /// Pages below which all is marked.
    pages: Pages,
    pages_read: u64,
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
        self.pages_read
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
    /// writes come first: a page is walked once, and so it is known which segments they name. Then the newest ones of
    /// others, so that what a head shows is told from what older ones may only name.
    pub(super) async fn add(&mut self, pool: &Pool, listed: &Listed, run: RunId) -> Result<()> {
        for own in [true, false] {
            self.open = own;
            for (volume, numbers) in listed {
                let newest = self.newest.get(volume).filter(|newest| newest.is_written_by(run) == own);
                let newest = newest.filter(|newest| numbers.contains(&newest.number)).cloned();
                if let Some(newest) = newest {
                    self.add_volume(pool, *volume, &[newest.number], &newest).await?;
                }
            }
        }
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
                Ok(Some(head)) => {
                    let age = if number == newest.number { Age::Newest } else { Age::Older };
                    match head.kind {
                        HeadKind::Unborn => self.unborn(pool, &head, age).await?,
                        _ => self.root(pool, &head, &names::head(volume, number), age).await?,
                    }
                }
                Err(error) => self.pass_over(volume, stopped_by(&names::head(volume, number), error))?,
            }
            self.heads.insert((volume, number));
        }
        Ok(())
    }

    /// Marks what a volume reaches that was not born, or not when its first head was written. That it cannot be read
    /// stops no round: it never was a root that somebody could rely on (rule R6). What was born is judged by the heads
    /// that say so.
    async fn unborn(&mut self, pool: &Pool, head: &Head, age: Age) -> Result<()> {
        if planted(Bug::UnbornNotRoot) {
            return Ok(());
        }
        match self.root(pool, head, &names::head(head.volume, head.number), age).await {
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

    /// Marks what a head reaches; of an older one, perhaps, more than that.
    pub(super) async fn root(&mut self, pool: &Pool, head: &Head, name: &str, age: Age) -> Result<()> {
        self.roots += 1;
        let outcome = match age {
            Age::Newest => self.shown(pool, head).await,
            Age::Older => self.named(pool, head).await,
        };
        outcome.or_else(|error| self.pass_over(head.volume, stopped_by(name, error)))
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
