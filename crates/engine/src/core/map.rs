//! The map: which address each block of a volume has.
//!
//! A tree of fixed shape, the same as the tree of pages in the store: leaves of 2,048 blocks, inner
//! nodes of 1,024 children, as many levels as [`page::height`] says for the volume's size. A subtree
//! in which every block is a hole, or every block is zeros, is one word whatever its size, so a trim
//! of an aligned range is a pointer swap. So is a subtree whose pages were not read yet: of an opened volume that
//! is nearly all, and pages come as somebody asks for what they say ([`Map::fill`]).
//!
//! ```text
//!   Inner ─┬─ Uniform   one address (hole, zero or unloaded) for the whole subtree
//!          ├─ Inner     1,024 children, 24 bytes each
//!          ├─ Runs      a leaf: sorted runs, 12 bytes each; no log positions
//!          ├─ Sparse    a leaf: runs, and over them atomic words for the few blocks that writers have changed
//!          └─ Flat      a leaf: 2,048 atomic words
//! ```
//!
//! There is no lock in here. Methods with `&self` run under a **shared** guard, in parallel, and change
//! nothing but words of sparse and flat leaves and a node's mark; methods with `&mut self` change the shape and run under the
//! **exclusive** guard. A writer holds the shared guard from its append to the log until it has
//! published, and a trim holds the exclusive one, so that rule W4 holds (see [`Map::publish`]).
//!
//! A block is *unloaded* as long as nothing has changed it since the volume was opened or the block was let go of
//! (`evict`), so every map root from then on says the same of it, and its page is right whenever it comes. It fills in
//! what is still unloaded and nothing else: whatever else is in the map is newer.

mod evict;
mod leaf;
mod mark;
mod memory;
mod node;
mod publish;
mod resize;
mod sparse;
#[cfg(test)]
mod tests;

use std::ops::Range;

use esker_format::{
    address::Address,
    ids::{LogPosition, SegmentId},
    page::{self, FANOUT, LEAF_BLOCKS, Page},
    segment::Run,
};
use esker_io::sync::Arc;

use self::{
    evict::Clock,
    memory::Share,
    node::{Node, child_at},
};
pub use self::{
    evict::{Facts, Swept},
    memory::{MAP_BYTES_MAX, MapMemory},
};
pub(crate) use self::{leaf::RunBuilder, node::span, resize::Mapped};

/// The largest map, in blocks: what pages can hold, eight pebibytes.
pub const BLOCKS_MAX: u64 = LEAF_BLOCKS * FANOUT.pow(page::HEIGHT_MAX as u32 - 1);

/// Consecutive blocks whose addresses continue each other: block `lba + i` has `address.plus(i)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// First block.
    pub lba: u64,
    /// Number of blocks, at least one.
    pub blocks: u64,
    /// Address of the first block.
    pub address: Address,
}

impl Extent {
    /// One past the last block.
    pub fn end(&self) -> u64 {
        self.lba + self.blocks
    }

    /// The part from block `from` to before block `to`, or nothing when they do not meet.
    pub fn clip(&self, from: u64, to: u64) -> Option<Extent> {
        let (start, end) = (self.lba.max(from), self.end().min(to));
        (start < end).then(|| Extent {
            lba: start,
            blocks: end - start,
            address: self.address.plus(start - self.lba),
        })
    }

    /// Whether `next` begins where this ends, with the address that comes next.
    pub fn is_continued_by(&self, next: &Extent) -> bool {
        self.end() == next.lba && self.address.plus(self.blocks) == next.address
    }
}

/// Appends `extent`, or lengthens the last one when it goes on. Looks no further back than `start`.
pub(crate) fn push_merged(out: &mut Vec<Extent>, start: usize, extent: Extent) {
    if out.len() > start
        && let Some(last) = out.last_mut()
        && last.is_continued_by(&extent)
    {
        last.blocks += extent.blocks;
        return;
    }
    out.push(extent);
}

/// Subtrees that left the map. Dropping it frees them, which may take long: drop it outside the guard.
#[derive(Default)]
#[must_use = "drop it outside the guard"]
pub struct Garbage(Vec<Node>);

impl Garbage {
    /// Whether there is nothing to free.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes of memory that dropping it frees.
    pub fn memory_bytes(&self) -> usize {
        self.0.iter().map(Node::heap_bytes).sum()
    }

    fn keep(&mut self, node: Node) {
        if node.heap_bytes() > 0 {
            self.0.push(node);
        }
    }
}

/// The map of one volume. See the module's text for who may call what.
pub struct Map {
    root: Node,
    /// Level of the root; leaves are level 0.
    level: u8,
    blocks: u64,
    clock: Clock,
    share: Share,
}

impl Map {
    /// A map of `blocks` holes.
    ///
    /// # Panics
    /// When `blocks` is zero or above [`BLOCKS_MAX`]; sizes are checked where volumes are made and opened.
    pub fn new(blocks: u64) -> Map {
        assert!((1..=BLOCKS_MAX).contains(&blocks), "a map of {blocks} blocks");
        let level = page::height(blocks) - 1;
        assert!(span(level) >= blocks, "a root at level {level} does not cover {blocks} blocks");
        Map { root: Node::HOLE, level, blocks, clock: Clock::default(), share: Share::default() }
    }

    /// A map of `blocks` blocks of which nothing is known yet. Beyond them lie holes.
    pub fn unloaded(blocks: u64) -> Map {
        let mut map = Map::new(blocks);
        map.root = Node::Uniform(Address::UNLOADED);
        let beyond = Extent { lba: blocks, blocks: span(map.level) - blocks, address: Address::HOLE };
        if beyond.blocks > 0 {
            map.root.set(map.level, 0, beyond, &mut Garbage::default());
        }
        map
    }

    /// From now on it counts against this memory, with all that it has.
    pub fn charge(&mut self, memory: Arc<MapMemory>) {
        self.share = Share::of(memory);
        self.report();
    }

    /// The volume's size in blocks.
    pub fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Number of leaves, the last one perhaps only partly inside the volume.
    pub fn leaves(&self) -> u64 {
        self.blocks.div_ceil(LEAF_BLOCKS)
    }

    /// The address of one block.
    pub fn get(&self, lba: u64) -> Address {
        self.check(lba, 1);
        self.leaf_of(lba).get((lba % LEAF_BLOCKS) as u16)
    }

    /// Appends the extents of a range to `out`, in order and without gaps; neighbours are merged.
    /// Uniform subtrees cost one step each.
    pub fn resolve(&self, lba: u64, blocks: u64, out: &mut Vec<Extent>) {
        self.check(lba, blocks);
        let start = out.len();
        self.root.visit(self.level, 0, lba..lba + blocks, &mut |extent| push_merged(out, start, extent));
    }

    /// Makes a range holes or zeros. Costs two paths from the root to a leaf; everything between them is
    /// swapped, not visited.
    ///
    /// # Panics
    /// When `to` is another kind of address.
    pub fn set_range(&mut self, lba: u64, blocks: u64, to: Address) -> Garbage {
        assert!(is_uniform(to), "a range is set to holes or zeros, not to {to:?}");
        self.check(lba, blocks);
        self.set(Extent { lba, blocks, address: to })
    }

    /// Learns what the page of a subtree says, of blocks that are unloaded: all of a leaf, and of an inner page the
    /// children in `range` that have no pages. Others are not looked at: there may be much under them. `level` 0 is a leaf, and `index` counts subtrees of that level. The page fits its
    /// place in the stored map, whose size may be another for a moment: what lies beyond the end of this one is nothing
    /// to it.
    ///
    /// # Panics
    /// When the page is of another level.
    pub fn fill(&mut self, level: u8, index: u64, page: &Page, range: &Range<u64>) {
        let lba = index.checked_mul(span(level)).expect("a subtree lies in a map");
        if lba >= self.blocks {
            return;
        }
        if level <= self.level {
            self.root.fill((self.level, level), lba, page, range);
        } else if let Some(says) = node::says_of_first(page) {
            self.root.fill_with(says);
        }
        self.report();
    }

    /// Learns that the stored map has no pages at all.
    pub fn fill_holes(&mut self) {
        self.root.fill_with(Address::HOLE);
        self.report();
    }

    /// Makes a leaf unloaded, whatever it held.
    #[cfg(feature = "planted")]
    pub fn forget(&mut self, leaf: u64) {
        self.root.change_leaf(self.level, leaf, |node| *node = Node::Uniform(Address::UNLOADED));
    }

    /// Lays one run of a committed segment over the map: the replay of a tail at open.
    pub fn apply_run(&mut self, run: &Run, id: SegmentId) {
        self.check(run.lba, run.blocks);
        drop(self.set(run_extent(run, id)));
    }

    /// [`Map::inflate`] and [`Map::publish`] in one: the replay of a log record.
    pub fn replay_write(&mut self, lba: u64, blocks: u64, first: LogPosition) {
        self.inflate(lba, blocks);
        self.publish(lba, blocks, first);
    }

    /// Turns a leaf that has words back into runs or a uniform one, when no entry names the log and it saves
    /// memory. Says whether it did.
    pub fn deflate(&mut self, leaf: u64) -> bool {
        assert!(leaf < self.leaves(), "leaf {leaf} of {}", self.leaves());
        if !matches!(self.leaf_of(leaf * LEAF_BLOCKS), Node::Flat(..) | Node::Sparse(..)) {
            return false;
        }
        let mut done = false;
        self.root.change_leaf(self.level, leaf, |node| done = node.deflate());
        self.report();
        done
    }

    /// Memory of the map in bytes, without what the allocator adds. Costs nothing.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Map>() + self.root.heap_bytes()
    }

    /// All extents of the map in order, merged, without the holes.
    pub fn for_each_extent(&self, mut f: impl FnMut(Extent)) {
        let mut held: Option<Extent> = None;
        self.root.visit(self.level, 0, 0..self.blocks, &mut |extent| match &mut held {
            _ if extent.address == Address::HOLE => {}
            Some(last) if last.is_continued_by(&extent) => last.blocks += extent.blocks,
            _ => {
                if let Some(last) = held.replace(extent) {
                    f(last);
                }
            }
        });
        if let Some(last) = held {
            f(last);
        }
    }

    fn set(&mut self, mut extent: Extent) -> Garbage {
        if extent.end() == self.blocks && extent.address == Address::HOLE {
            // Blocks beyond the end are holes anyway: let the last subtrees be swapped whole.
            extent.blocks = span(self.level) - extent.lba;
        }
        let mut garbage = Garbage::default();
        self.root.set(self.level, 0, extent, &mut garbage);
        self.report();
        garbage
    }

    fn report(&mut self) {
        self.share.report(self.memory_bytes());
    }

    /// The node in which the walk towards a block ends: a leaf, or a uniform subtree.
    fn leaf_of(&self, lba: u64) -> &Node {
        let (mut node, mut level) = (&self.root, self.level);
        while let Node::Inner { children, .. } = node {
            level -= 1;
            node = &children[child_at(level, lba)];
        }
        node
    }

    fn check(&self, lba: u64, blocks: u64) {
        assert!(
            blocks > 0 && lba < self.blocks && blocks <= self.blocks - lba,
            "blocks {lba}+{blocks} of a map of {}",
            self.blocks
        );
    }
}

/// Whether a whole stored subtree may read this address.
pub(crate) fn is_uniform(address: Address) -> bool {
    address == Address::HOLE || address == Address::ZERO
}

/// What a segment's run says, as an extent of the map.
pub(crate) fn run_extent(run: &Run, id: SegmentId) -> Extent {
    Extent { lba: run.lba, blocks: run.blocks, address: run.address(id) }
}

/// The part of a range that lies in one leaf.
struct LeafPart {
    /// First block, in the volume.
    lba: u64,
    /// First block, in the leaf.
    start: usize,
    blocks: usize,
}

/// Cuts a range at the borders of leaves.
fn leaf_parts(lba: u64, blocks: u64) -> impl Iterator<Item = LeafPart> {
    let end = lba + blocks;
    let mut next = lba;
    std::iter::from_fn(move || {
        let lba = next;
        if lba == end {
            return None;
        }
        next = end.min((lba / LEAF_BLOCKS + 1) * LEAF_BLOCKS);
        Some(LeafPart { lba, start: (lba % LEAF_BLOCKS) as usize, blocks: (next - lba) as usize })
    })
}
