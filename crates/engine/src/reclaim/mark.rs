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
    ids::{PackId, RunId, VolumeId},
    names,
    page::{Child, Page, PageRef},
    property::History,
};
use esker_io::{Bug, planted};
use futures_util::{StreamExt, stream};

use crate::{
    EngineError, Result,
    birth::{Fate, Pin},
    checkpoint,
    core::fold::{Place, check_page},
    pool::Pool,
    recover::effective,
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
    pub(super) history: History,
    /// It is not born.
    pub(super) pin: Option<Pin>,
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
    /// Volumes that were not born and never will be.
    pub(super) buried: u64,
    /// Nothing is changed.
    looks_only: bool,
}

/// All heads of a pool, by volume, ascending.
pub(super) type Listed = BTreeMap<VolumeId, Vec<u64>>;

impl Mark {
    /// Nothing is marked. Who only looks buries nothing.
    pub(super) fn new(looks_only: bool) -> Self {
        Self { looks_only, ..Self::default() }
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
                Err(error) => self.pass_over(stopped_by(&names::heads(*volume), error))?,
                Ok(None) => all_seen = false,
                Ok(Some(newest)) => {
                    let (kind, run) = (newest.head.kind, newest.head.run);
                    let history = effective(&newest.head.properties, &pool.record().properties).history;
                    let pin = (kind == HeadKind::Unborn).then(|| Pin::of(&newest));
                    let strays = newest.strays;
                    self.newest.insert(*volume, Newest { kind, run, history, pin, strays });
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
                // Heads live above it: a burial that came when its number was free again, and never was (rule H2).
                Ok(Some(head)) if head.kind == HeadKind::Deleted => {}
                Ok(Some(head)) if head.kind == HeadKind::Unborn => self.unborn(pool, &head).await?,
                Ok(Some(head)) => self.root(pool, &head, &names::head(volume, number)).await?,
                Err(error) => self.pass_over(stopped_by(&names::head(volume, number), error))?,
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
        self.reached.extend(head.tail.iter().map(|segment| Bulk::Segment(segment.id)));
        let Some(root) = head.root else { return Ok(()) };
        match self.walk(pool, root, blocks_of(head.size_bytes)).await {
            Err(error) => self.pass_over(stopped_by(name, error)),
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
                    if let AddressKind::Segment(id, _) = run.address.kind() {
                        self.reached.insert(Bulk::Segment(id));
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

    /// Rule R13: a root that cannot be read ends the round.
    fn pass_over(&self, error: EngineError) -> Result<()> {
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
                 back, or delete the volume"
            ),
        },
    }
}
