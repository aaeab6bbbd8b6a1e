//! Whose every page and every slot is.
//!
//! A page that several volumes name is walked no more than twice, however many they are: once for the first of them,
//! and once more to say that all below it is shared. What it maps is remembered with it, so each further volume that
//! names it learns that without a walk.

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

use super::mapped;
use crate::{
    EngineError, Result, checkpoint,
    core::{
        fold::{Place, check_page},
        space::{Held, Holder, Sums, Weights},
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
    packs: BTreeSet<PackId>,
    tails: BTreeMap<SegmentId, Holder>,
    held: BTreeMap<SegmentId, Held>,
    weights: BTreeMap<SegmentId, Weights>,
    /// Who is walking.
    by: Holder,
}

/// The segment of an address, where it is in one.
fn segment(address: Address) -> Option<SegmentId> {
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
            tails: BTreeMap::new(),
            held: BTreeMap::new(),
            weights: BTreeMap::new(),
            by: Holder::Shared,
        }
    }

    /// Walks from a volume's heads. Returns how many blocks the newest one maps, and what it reaches takes.
    pub(super) async fn volume(&mut self, number: u32, newest: &Head, older: &[Head]) -> Result<(u64, u64)> {
        self.by = Holder::Newest(number);
        let (tail, tail_bytes) = self.tail(newest).await?;
        let pages = self.root(newest).await?;
        let mapped = mapped::blocks(self, newest, &tail).await?;
        self.by = Holder::Older(number);
        for head in older {
            self.tail(head).await?;
            self.root(head).await?;
        }
        Ok((mapped, pages.bytes + tail_bytes))
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

    /// What is known to be mapped below a page that was walked.
    pub(super) fn mapped(&self, reference: &PageRef) -> Option<Mapped> {
        let node = self.pages.get(&(reference.pack, reference.offset))?;
        Some(self.nodes[*node as usize].mapped)
    }

    pub(super) fn pool(&self) -> &'a Pool {
        self.pool
    }

    /// The segments of a tail, oldest first, and what their slots take that their own runs name.
    async fn tail(&mut self, head: &Head) -> Result<(Vec<Arc<SegmentIndex>>, u64)> {
        let pool = self.pool;
        let reads: Vec<_> =
            head.tail.iter().map(|segment| pool.fetcher().index(segment.id, Some(segment))).collect();
        let tail: Vec<_> = stream::iter(reads).buffered(INDEXES_AT_ONCE).try_collect().await?;
        let mut bytes = 0;
        for index in &tail {
            if self.listed.contains_key(&Bulk::Segment(index.id)) {
                self.weights.entry(index.id).or_insert_with(|| Weights::of(index));
            }
            let runs: Vec<_> = index.runs.iter().map(|run| (run.address(index.id), run.blocks)).collect();
            let named = runs.iter().filter_map(|(address, _)| segment(*address)).collect();
            self.weigh(named).await?;
            bytes += runs.iter().map(|(address, blocks)| self.bytes_of(*address, *blocks)).sum::<u64>();
            let before = self.tails.get(&index.id).copied();
            let holder = before.map_or(self.by, |before| before.and(self.by));
            self.tails.insert(index.id, holder);
            if before != Some(holder) {
                runs.iter().for_each(|(address, blocks)| self.hold(*address, *blocks));
            }
        }
        Ok((tail, bytes))
    }

    /// The pages of a head.
    async fn root(&mut self, head: &Head) -> Result<Mapped> {
        let Some(root) = head.root else { return Ok(Mapped::default()) };
        let size_blocks = blocks_of(head.size_bytes);
        let mut waiting = Vec::new();
        let node = self.visit(&mut waiting, None, checkpoint::top(size_blocks), root, true);
        while !waiting.is_empty() {
            // The deepest first: what waits is at most the siblings along a few paths.
            let batch = waiting.split_off(waiting.len().saturating_sub(PAGES_AT_ONCE));
            let wanted: Vec<_> = batch
                .iter()
                .map(|page: &Waiting| (page.reference, page.place.level, page.place.index))
                .collect();
            let pages = self.pool.fetcher().pages(&wanted).await?;
            let leaves = pages.iter().filter_map(|page| match page {
                Page::Leaf(runs) => Some(runs),
                Page::Inner(_) => None,
            });
            let named = leaves.flatten().filter_map(|run| segment(run.address)).collect();
            self.weigh(named).await?;
            for (from, page) in batch.iter().zip(&pages) {
                check_page(page, from.place, size_blocks).map_err(|message| EngineError::Damaged {
                    object: format!("{} at {}", names::pack(from.reference.pack), from.reference.offset),
                    message,
                })?;
                match page {
                    Page::Leaf(runs) => self.leaf(from, runs),
                    Page::Inner(children) => self.inner(&mut waiting, from, children),
                }
            }
        }
        Ok(self.nodes[node as usize].mapped)
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

    /// The slots of consecutive blocks are reached.
    fn hold(&mut self, first: Address, blocks: u64) {
        if let AddressKind::Segment(id, slot) = first.kind()
            && self.weights.contains_key(&id)
        {
            self.held.entry(id).or_default().hold(slot, blocks as u32, self.by);
        }
    }

    fn bytes_of(&self, first: Address, blocks: u64) -> u64 {
        let AddressKind::Segment(id, slot) = first.kind() else { return 0 };
        // What the segment does not have is an error in the end, when all is added up.
        self.weights.get(&id).and_then(|weights| weights.of_slots(slot, blocks as u32)).unwrap_or(0)
    }

    /// Reads what slots take, of all segments that are named here for the first time. Not of those that came after
    /// the LIST.
    async fn weigh(&mut self, named: BTreeSet<SegmentId>) -> Result<()> {
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
