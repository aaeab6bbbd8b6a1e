//! The mark: every segment and pack that a root reaches.
//!
//! Pages are shared by heads, so each is walked once, whoever names it; the memo lasts for one round. It takes about
//! 36 bytes a page and each segment found about 30: a TiB that is mapped in full has 131,200 pages and 32,768 segments,
//! so 6 MiB. What differs between heads comes on top.

use std::collections::{BTreeMap, BTreeSet};

use esker_format::{
    Bulk,
    address::AddressKind,
    head::{Head, HeadKind},
    ids::{PackId, RunId, SegmentId, VolumeId},
    names,
    page::{Child, Page, PageRef},
};
use esker_io::{Bug, planted};
use futures_util::{StreamExt, stream};

use super::quarantine::SetAside;
use crate::{
    EngineError, Result, checkpoint,
    core::{
        fold::{Place, check_page},
        slots::Slots,
    },
    pool::Pool,
    volume::blocks_of,
};

/// Pages that are read in one go.
const PAGES_AT_ONCE: usize = 256;
/// Heads that are read at once.
const HEADS_AT_ONCE: usize = 16;

/// Who wrote a volume's newest head.
#[derive(Debug, Clone)]
pub(super) struct Newest {
    pub(super) kind: HeadKind,
    pub(super) run: RunId,
    /// Numbers below or above it that no history goes through.
    strays: Vec<u64>,
}

/// What was reached so far.
#[derive(Default)]
pub(super) struct Mark {
    pub(super) reached: BTreeSet<Bulk>,
    /// Pages that were walked.
    pages: BTreeSet<(PackId, u64)>,
    /// Heads that were looked at.
    heads: BTreeSet<(VolumeId, u64)>,
    pub(super) newest: BTreeMap<VolumeId, Newest>,
    pub(super) roots: u64,
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
    /// A mark that passes over volumes that are set aside.
    pub(super) fn passing(set_aside: SetAside) -> Self {
        Self { set_aside, ..Self::default() }
    }

    /// Whether every listed head was looked at.
    pub(super) fn covers(&self, listed: &Listed) -> bool {
        let seen = |volume: VolumeId, number: u64| self.heads.contains(&(volume, number));
        listed.iter().all(|(volume, numbers)| numbers.iter().all(|number| seen(*volume, *number)))
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
                    let (kind, run) = (newest.head.kind, newest.head.run);
                    self.newest.insert(*volume, Newest { kind, run, strays: newest.strays });
                }
            }
        }
        Ok(all_seen)
    }

    fn has_new(&self, volume: VolumeId, numbers: &[u64]) -> bool {
        numbers.iter().any(|number| !self.heads.contains(&(volume, *number)))
    }

    /// Marks what the listed heads reach, as far as it is not marked. All were looked at.
    pub(super) async fn add(&mut self, pool: &Pool, listed: &Listed) -> Result<()> {
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
                Ok(Some(head)) => self.root(pool, &head, &names::head(volume, number)).await?,
                Err(error) => self.pass_over(volume, stopped_by(&names::head(volume, number), error))?,
            }
            self.heads.insert((volume, number));
        }
        Ok(())
    }

    /// Marks what a head reaches.
    pub(super) async fn root(&mut self, pool: &Pool, head: &Head, name: &str) -> Result<()> {
        self.roots += 1;
        self.reached.extend(head.tail.iter().map(|segment| Bulk::Segment(segment.id)));
        // Which of its slots a tail names is not looked at: all.
        let watched = head.tail.iter().map(|segment| segment.id).filter(|id| self.watched.contains_key(id));
        self.revived.extend(watched);
        let Some(root) = head.root else { return Ok(()) };
        match self.walk(pool, root, blocks_of(head.size_bytes)).await {
            Err(error) => self.pass_over(head.volume, stopped_by(name, error)),
            Ok(()) => Ok(()),
        }
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
                    if let AddressKind::Segment(id, slot) = run.address.kind() {
                        self.reached.insert(Bulk::Segment(id));
                        let watched = self.watched.get(&id);
                        if watched.is_some_and(|slots| slots.touches(slot.into(), run.blocks.into())) {
                            self.revived.insert(id);
                        }
                    }
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
            self.reached.insert(Bulk::Pack(reference.pack));
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
