//! Whose every page and every slot is.
//!
//! A page that several volumes name is walked no more than twice, however many they are: once for the first of them,
//! and once more to say that all below it is shared. What it maps is remembered with it, so each further volume that
//! names it learns that without a walk.
//!
//! What a volume's newest head shows is its ([`super::shown`]), and so is what somebody reads. Of its older heads all
//! counts that they name, as in a round of reclaim: also what their own tails have overwritten, as far as it is there.

use std::collections::{BTreeMap, BTreeSet};

use esker_format::{
    Bulk,
    address::{Address, AddressKind},
    head::Head,
    ids::{PackId, SegmentId},
    names,
    page::{Child, LeafRun, Page, PageRef},
    segment::SegmentIndex,
};
use esker_io::sync::Arc;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::Roots;
use crate::{
    EngineError, Result, checkpoint,
    core::{
        fold::{Place, check_page},
        space::{Held, Holder, Sums, Weights},
        state::State,
    },
    pool::Pool,
    volume::blocks_of,
};

/// Pages that are read in one go.
const PAGES_AT_ONCE: usize = 256;
/// Indexes that are read at once.
const INDEXES_AT_ONCE: usize = 16;

/// What is known of a page.
#[derive(Debug, Clone, Copy)]
struct Node {
    holder: Holder,
    /// The page through which it was reached first.
    parent: Option<u32>,
    mapped: Mapped,
}

/// What is mapped below a page.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Mapped {
    /// Blocks with data.
    pub(super) blocks: u64,
    /// What their slots take in the store.
    pub(super) bytes: u64,
}

/// A page that is to be read.
struct Waiting {
    place: Place,
    reference: PageRef,
    node: u32,
    /// What it maps is not known yet.
    fresh: bool,
}

/// Whose what is, as far as it was walked.
pub(super) struct Walk<'a> {
    pool: &'a Pool,
    listed: &'a BTreeMap<Bulk, u64>,
    progress: &'a (dyn Fn(u64, u64) + Sync),
    nodes: Vec<Node>,
    pages: BTreeMap<(PackId, u64), u32>,
    pub(super) packs: BTreeSet<PackId>,
    /// What heads show, and how much that is.
    pub(super) states: BTreeMap<State, (Holder, Mapped)>,
    /// Segments in the tails of older heads.
    tails: BTreeMap<SegmentId, Holder>,
    held: BTreeMap<SegmentId, Held>,
    weights: BTreeMap<SegmentId, Weights>,
    /// Who is walking.
    pub(super) by: Holder,
}

/// The segment of an address, where it is in one.
pub(super) fn segment(address: Address) -> Option<SegmentId> {
    match address.kind() {
        AddressKind::Segment(id, _) => Some(id),
        _ => None,
    }
}

async fn index(pool: &Pool, id: SegmentId) -> Result<(SegmentId, Arc<SegmentIndex>)> {
    Ok((id, pool.fetcher().index_once(id).await?))
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        pool: &'a Pool,
        listed: &'a BTreeMap<Bulk, u64>,
        progress: &'a (dyn Fn(u64, u64) + Sync),
    ) -> Self {
        Self {
            pool,
            listed,
            progress,
            nodes: Vec::new(),
            pages: BTreeMap::new(),
            packs: BTreeSet::new(),
            states: BTreeMap::new(),
            tails: BTreeMap::new(),
            held: BTreeMap::new(),
            weights: BTreeMap::new(),
            by: Holder::Shared,
        }
    }

    /// Walks from a volume's heads. Returns how many blocks the newest one maps, and what it reaches takes.
    pub(super) async fn volume(&mut self, number: u32, roots: &Roots) -> Result<Mapped> {
        self.by = Holder::Newest(number);
        let mapped = self.shown(&roots.newest).await?;
        self.by = Holder::Older(number);
        for head in &roots.read {
            self.shown(head).await?;
        }
        for head in &roots.older {
            self.named(head).await?;
        }
        Ok(mapped)
    }

    /// All that a head names is reached.
    async fn named(&mut self, head: &Head) -> Result<()> {
        if head.tail.is_empty() || self.states.contains_key(&State::of(head)) {
            self.shown(head).await?;
            return Ok(());
        }
        for index in self.tail(head).await? {
            let before = self.tails.get(&index.id).copied();
            let holder = before.map_or(self.by, |before| before.and(self.by));
            self.tails.insert(index.id, holder);
            if before != Some(holder) {
                let runs: Vec<_> = index.runs.iter().map(|run| (run.address(index.id), run.blocks)).collect();
                self.weigh(runs.iter().filter_map(|(address, _)| segment(*address)).collect()).await?;
                runs.iter().for_each(|(address, blocks)| self.hold(*address, *blocks));
            }
        }
        let top = checkpoint::top(blocks_of(head.size_bytes));
        self.whole(head.root.map(|root| (top, root)).as_slice(), blocks_of(head.size_bytes)).await?;
        Ok(())
    }

    /// Whether anything reaches it.
    pub(super) fn reaches(&self, object: Bulk) -> bool {
        match object {
            Bulk::Pack(id) => self.packs.contains(&id),
            Bulk::Segment(id) => self.weights.contains_key(&id),
            // The segment table says it.
            Bulk::Bundle(_) => false,
        }
    }

    /// What the slots of a segment take that is reached.
    pub(super) fn slots_bytes(&self, id: SegmentId) -> u64 {
        self.weights[&id].total()
    }

    /// All segments together.
    pub(super) fn sums(&self) -> Result<Sums> {
        let mut sums = Sums::default();
        let none = Held::default();
        for (id, weights) in &self.weights {
            let held = self.held.get(id).unwrap_or(&none);
            let added = sums.add(*id, held, weights);
            added.map_err(|message| EngineError::Damaged { object: names::segment(*id), message })?;
        }
        Ok(sums)
    }

    /// The indexes of a tail, oldest first.
    pub(super) async fn tail(&mut self, head: &Head) -> Result<Vec<Arc<SegmentIndex>>> {
        let pool = self.pool;
        let reads: Vec<_> =
            head.tail.iter().map(|segment| pool.fetcher().index(segment.id, Some(segment))).collect();
        let tail: Vec<_> = stream::iter(reads).buffered(INDEXES_AT_ONCE).try_collect().await?;
        for index in tail.iter().filter(|index| self.listed.contains_key(&Bulk::Segment(index.id))) {
            self.weights.entry(index.id).or_insert_with(|| Weights::of(index));
        }
        Ok(tail)
    }

    /// These pages are reached, and all below them. Returns how much they map.
    pub(super) async fn whole(&mut self, pages: &[(Place, PageRef)], size_blocks: u64) -> Result<Mapped> {
        let mut waiting = Vec::new();
        let visit = |(place, page): &(Place, PageRef)| self.visit(&mut waiting, None, *place, *page, false);
        let nodes: Vec<u32> = pages.iter().map(visit).collect();
        while !waiting.is_empty() {
            // The deepest first: what waits is at most the siblings along a few paths.
            let batch = waiting.split_off(waiting.len().saturating_sub(PAGES_AT_ONCE));
            let wanted: Vec<_> = batch.iter().map(|page: &Waiting| (page.place, page.reference)).collect();
            let pages = self.read(&wanted, size_blocks).await?;
            let leaves = pages.iter().filter_map(|page| match page {
                Page::Leaf(runs) => Some(runs),
                Page::Inner(_) => None,
            });
            let named = leaves.flatten().filter_map(|run| segment(run.address)).collect();
            self.weigh(named).await?;
            for (from, page) in batch.iter().zip(&pages) {
                match page {
                    Page::Leaf(runs) => self.leaf(from, runs),
                    Page::Inner(children) => self.inner(&mut waiting, from, children),
                }
            }
        }
        let mut mapped = Mapped::default();
        nodes.into_iter().for_each(|node| mapped += self.nodes[node as usize].mapped);
        Ok(mapped)
    }

    /// Reads pages that stand there.
    pub(super) async fn read(&self, pages: &[(Place, PageRef)], size_blocks: u64) -> Result<Vec<Page>> {
        let wanted: Vec<_> = pages.iter().map(|(place, page)| (*page, place.level, place.index)).collect();
        let found = self.pool.fetcher().pages(&wanted).await?;
        for ((place, reference), page) in pages.iter().zip(&found) {
            check_page(page, *place, size_blocks).map_err(|message| EngineError::Damaged {
                object: format!("{} at {}", names::pack(reference.pack), reference.offset),
                message,
            })?;
        }
        Ok(found)
    }

    fn inner(&mut self, waiting: &mut Vec<Waiting>, from: &Waiting, children: &[(u16, Child)]) {
        for (child, what) in children {
            if let Child::Page(reference) = what {
                self.visit(waiting, Some(from.node), from.place.child(*child), *reference, from.fresh);
            }
        }
    }

    fn leaf(&mut self, from: &Waiting, runs: &[LeafRun]) {
        let mut mapped = Mapped::default();
        for run in runs {
            self.hold(run.address, run.blocks.into());
            if run.address.is_segment() {
                mapped.blocks += u64::from(run.blocks);
                mapped.bytes += self.bytes_of(run.address, run.blocks.into());
            }
        }
        if from.fresh {
            self.count(Some(from.node), mapped);
        }
    }

    /// Notes that a page is reached, and what it maps where that is known; else, or when it was another's alone until
    /// now, it has to be read.
    fn visit(
        &mut self,
        waiting: &mut Vec<Waiting>,
        parent: Option<u32>,
        place: Place,
        reference: PageRef,
        counts: bool,
    ) -> u32 {
        let key = (reference.pack, reference.offset);
        let Some(node) = self.pages.get(&key).copied() else {
            let node = self.nodes.len() as u32;
            self.nodes.push(Node { holder: self.by, parent, mapped: Mapped::default() });
            self.pages.insert(key, node);
            self.packs.insert(reference.pack);
            waiting.push(Waiting { place, reference, node, fresh: true });
            return node;
        };
        let known = &mut self.nodes[node as usize];
        let (holder, mapped) = (known.holder.and(self.by), known.mapped);
        let changed = std::mem::replace(&mut known.holder, holder) != holder;
        if counts {
            self.count(parent, mapped);
        }
        if changed {
            waiting.push(Waiting { place, reference, node, fresh: false });
        }
        node
    }

    /// Adds to a page and to those above it.
    fn count(&mut self, mut node: Option<u32>, mapped: Mapped) {
        while let Some(at) = node {
            let known = &mut self.nodes[at as usize];
            known.mapped.blocks += mapped.blocks;
            known.mapped.bytes += mapped.bytes;
            node = known.parent;
        }
    }

    /// The slots of consecutive blocks are reached. Older heads name some that their own tails hide, and that may be
    /// dropped: those that are left count.
    pub(super) fn hold(&mut self, first: Address, blocks: u64) {
        let AddressKind::Segment(id, slot) = first.kind() else { return };
        let Some(weights) = self.weights.get(&id) else { return };
        let count = blocks as u32;
        let stretches = match self.by {
            Holder::Older(_) => weights.left_of(slot, count),
            Holder::Newest(_) | Holder::Shared => vec![(slot, count)],
        };
        let held = self.held.entry(id).or_default();
        stretches.into_iter().for_each(|(slot, count)| held.hold(slot, count, self.by));
    }

    pub(super) fn bytes_of(&self, first: Address, blocks: u64) -> u64 {
        let AddressKind::Segment(id, slot) = first.kind() else { return 0 };
        // What the segment does not have is an error in the end, when all is added up.
        self.weights.get(&id).and_then(|weights| weights.of_slots(slot, blocks as u32)).unwrap_or(0)
    }

    /// Reads what slots take, of all segments that are named here for the first time. Not of those that came after
    /// the LIST.
    pub(super) async fn weigh(&mut self, named: BTreeSet<SegmentId>) -> Result<()> {
        let missing =
            |id: &SegmentId| !self.weights.contains_key(id) && self.listed.contains_key(&Bulk::Segment(*id));
        let reads: Vec<_> = named.into_iter().filter(missing).map(|id| index(self.pool, id)).collect();
        let mut reads = stream::iter(reads).buffer_unordered(INDEXES_AT_ONCE);
        while let Some(read) = reads.next().await {
            let (id, index) = read?;
            self.weights.insert(id, Weights::of(&index));
            (self.progress)(self.weights.len() as u64, self.listed.len() as u64);
        }
        Ok(())
    }
}
