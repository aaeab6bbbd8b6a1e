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
//!    it: he looks again ([`crate::pool::Pool::is_still_there`]). What he has read and opened is where it was for the grace.
//! 7. The second mark of a rewrite goes on with the same memo: a head that shows the same as one before names nothing
//!    that is dropped. An older one that came since may name a hidden slot; then that segment stays as it was.
//!
//! Memory: about 36 bytes a page, and each segment about 120 and its sets of slots. A TiB that is mapped in full has
//! 131,200 pages and 32,768 segments of a run or two: 10 MiB. Where blocks were overwritten one by one a set takes up to
//! a bit for each slot of its segment, 32 MiB for a TiB of blocks, and as much again where older heads name what newer
//! ones hide. What differs between heads comes on top, and up to 600 bytes for each state with a long tail. Of one head at a time
//! the tail is in memory: up to 300 MiB while 64 segments of 65,536 blocks that lie apart are laid over each other, 30
//! MiB where blocks do not compress, little where they lie together.

mod roots;
mod walk;

use std::collections::{BTreeMap, BTreeSet};

use esker_format::{
    Bulk,
    head::HeadKind,
    ids::{PackId, SegmentId, VolumeId},
};
use esker_io::{Bug, planted};

pub(super) use self::roots::{Age, Listed, Newest};
use super::quarantine::SetAside;
use crate::core::{slots::Slots, state::State};

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
    pages: BTreeSet<(PackId, u64)>,
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
}
