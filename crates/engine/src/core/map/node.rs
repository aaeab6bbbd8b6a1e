//! Nodes: walking down, swapping subtrees, and what it all weighs.

use std::ops::Range;

use esker_format::{
    address::Address,
    page::{Child, FANOUT, LEAF_BLOCKS, Page},
};
use esker_io::sync::atomic::Ordering;

use super::{
    Extent, Garbage, is_uniform,
    leaf::{self, PackedRun, Words},
};

const LEAF_BITS: u32 = LEAF_BLOCKS.trailing_zeros();
const FANOUT_BITS: u32 = FANOUT.trailing_zeros();
const _: () = assert!(LEAF_BLOCKS == 1 << LEAF_BITS && FANOUT == 1 << FANOUT_BITS);

/// The children of an inner node.
pub(super) type Children = [Node; FANOUT as usize];

/// A subtree.
pub(super) enum Node {
    /// Every block is a hole, or zeros, or unloaded. At any level.
    Uniform(Address),
    /// A leaf of runs: sorted, disjoint, holes left out, no log positions.
    Runs(Box<[PackedRun]>),
    /// A leaf of words.
    Flat(Box<Words>),
    /// Children, and the bytes of heap that they own together.
    Inner { children: Box<Children>, below_bytes: usize },
}

const _: () = assert!(size_of::<Node>() == 24);

/// Blocks under a node at `level`.
pub(crate) fn span(level: u8) -> u64 {
    1 << (LEAF_BITS + FANOUT_BITS * u32::from(level))
}

/// Which child of its parent the node at `level` above a block is.
pub(super) fn child_at(level: u8, lba: u64) -> usize {
    (lba >> (LEAF_BITS + FANOUT_BITS * u32::from(level)) & (FANOUT - 1)) as usize
}

/// What an inner page says of all blocks under its first child, where that has no page.
pub(super) fn says_of_first(page: &Page) -> Option<Address> {
    let Page::Inner(stored) = page else { panic!("a leaf stands at level 0") };
    match stored.first() {
        Some((0, Child::Page(_))) => None,
        Some((0, Child::Zero)) => Some(Address::ZERO),
        _ => Some(Address::HOLE),
    }
}

impl Node {
    pub(super) const HOLE: Node = Node::Uniform(Address::HOLE);

    /// Bytes of heap that the node owns, all its subtree counted. Does not walk it.
    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Node::Uniform(_) => 0,
            Node::Runs(runs) => size_of_val::<[PackedRun]>(runs),
            Node::Flat(words) => size_of_val::<Words>(words),
            Node::Inner { children, below_bytes } => size_of_val::<Children>(children) + below_bytes,
        }
    }

    /// The address of a block of a leaf or uniform node.
    pub(super) fn get(&self, block: u16) -> Address {
        match self {
            Node::Uniform(address) => *address,
            Node::Runs(runs) => leaf::get(runs, block),
            Node::Flat(words) => Address::from_raw(words[usize::from(block)].load(Ordering::Acquire)),
            Node::Inner { .. } => unreachable!("a walk ends below the inner nodes"),
        }
    }

    /// Calls `f` for the pieces of a range of this node, which stands at `level` and begins at block
    /// `base`. In order, without gaps, not merged across leaves.
    pub(super) fn visit(&self, level: u8, base: u64, range: Range<u64>, f: &mut impl FnMut(Extent)) {
        debug_assert!(base <= range.start && range.start < range.end && range.end <= base + span(level));
        match self {
            Node::Uniform(address) => {
                f(Extent { lba: range.start, blocks: range.end - range.start, address: *address });
            }
            Node::Runs(runs) => leaf::visit_runs(runs, base, range, f),
            Node::Flat(words) => leaf::visit_words(words, base, range, f),
            Node::Inner { children, .. } => {
                let below = span(level - 1);
                for child in (range.start - base) / below..=(range.end - 1 - base) / below {
                    let start = base + child * below;
                    let part = range.start.max(start)..range.end.min(start + below);
                    children[child as usize].visit(level - 1, start, part, f);
                }
            }
        }
    }

    /// Sets an extent that lies in this node, which stands at `level` and begins at block `base`.
    pub(super) fn set(&mut self, level: u8, base: u64, extent: Extent, garbage: &mut Garbage) {
        if extent.blocks == span(level) && is_uniform(extent.address) {
            garbage.keep(std::mem::replace(self, Node::Uniform(extent.address)));
        } else if matches!(self, Node::Uniform(address) if *address == extent.address) {
            // Nothing to change, and nothing to split for it.
        } else if level == 0 {
            self.set_leaf(Extent { lba: extent.lba - base, ..extent });
        } else {
            let below = span(level - 1);
            let (children, below_bytes) = self.split();
            for child in (extent.lba - base) / below..=(extent.end() - 1 - base) / below {
                let start = base + child * below;
                let part = extent.clip(start, start + below).expect("the extent meets its children");
                let node = &mut children[child as usize];
                *below_bytes -= node.heap_bytes();
                node.set(level - 1, start, part, garbage);
                *below_bytes += node.heap_bytes();
            }
            self.unsplit(garbage);
        }
    }

    /// Changes one leaf, making the path to it.
    pub(super) fn change_leaf(&mut self, level: u8, leaf: u64, change: impl FnOnce(&mut Node)) {
        if level == 0 {
            return change(self);
        }
        let (children, below_bytes) = self.split();
        let node = &mut children[child_at(level - 1, leaf * LEAF_BLOCKS)];
        *below_bytes -= node.heap_bytes();
        node.change_leaf(level - 1, leaf, change);
        *below_bytes += node.heap_bytes();
    }

    /// Fills in what a page says of the subtree at level `at` that begins at block `lba`, as far as it meets `range`;
    /// this node stands at `level`.
    pub(super) fn fill(&mut self, (level, at): (u8, u8), lba: u64, page: &Page, range: &Range<u64>) {
        if matches!(self, Node::Uniform(address) if *address != Address::UNLOADED) {
            return;
        }
        match page {
            Page::Leaf(runs) if level == 0 => leaf::fill(self, runs),
            Page::Leaf(_) | Page::Inner(_) if level > at => {
                let (children, below_bytes) = self.split();
                let node = &mut children[child_at(level - 1, lba)];
                *below_bytes -= node.heap_bytes();
                node.fill((level - 1, at), lba, page, range);
                *below_bytes += node.heap_bytes();
            }
            Page::Inner(stored) if level > 0 => self.fill_children((level, lba), stored, range),
            _ => panic!("a page of another level for a subtree at level {level}"),
        }
    }

    fn fill_children(&mut self, (level, lba): (u8, u64), stored: &[(u16, Child)], range: &Range<u64>) {
        let below = span(level - 1);
        let (children, below_bytes) = self.split();
        let first = range.start.saturating_sub(lba) / below;
        let last = range.end.saturating_sub(lba).div_ceil(below).min(FANOUT);
        for number in first..last {
            let says = match stored.binary_search_by_key(&number, |(child, _)| u64::from(*child)) {
                Ok(found) if matches!(stored[found].1, Child::Page(_)) => continue,
                Ok(_) => Address::ZERO,
                Err(_) => Address::HOLE,
            };
            let node = &mut children[number as usize];
            *below_bytes -= node.heap_bytes();
            node.fill_with(says);
            *below_bytes += node.heap_bytes();
        }
    }

    /// Makes everything that is unloaded holes or zeros.
    pub(super) fn fill_with(&mut self, says: Address) {
        match self {
            Node::Uniform(address) if *address == Address::UNLOADED => *self = Node::Uniform(says),
            Node::Uniform(_) => {}
            Node::Runs(_) | Node::Flat(_) => {
                leaf::fill(self, PackedRun::whole(says).map(|run| run.unpacked()).as_slice())
            }
            Node::Inner { children, below_bytes } => {
                for node in children.iter_mut() {
                    *below_bytes -= node.heap_bytes();
                    node.fill_with(says);
                    *below_bytes += node.heap_bytes();
                }
            }
        }
    }

    /// Makes a leaf flat.
    pub(super) fn inflate(&mut self) {
        match self {
            Node::Uniform(address) => *self = Node::Flat(leaf::words_filled(*address)),
            Node::Runs(runs) => *self = Node::Flat(leaf::words_of(runs)),
            Node::Flat(_) => {}
            Node::Inner { .. } => unreachable!("only leaves are inflated"),
        }
    }

    /// Makes a flat leaf runs or uniform, when it can and that is smaller.
    pub(super) fn deflate(&mut self) -> bool {
        let Node::Flat(words) = self else { return false };
        let Some(runs) = leaf::runs_of(words) else { return false };
        *self = leaf::node_of(&runs);
        true
    }

    fn set_leaf(&mut self, extent: Extent) {
        match self {
            Node::Flat(words) if extent.blocks < LEAF_BLOCKS => {
                leaf::store(words, extent.lba..extent.end(), extent.address);
            }
            Node::Uniform(address) => {
                *self = leaf::node_of(&leaf::splice(PackedRun::whole(*address).as_slice(), extent));
            }
            Node::Runs(runs) => *self = leaf::node_of(&leaf::splice(runs, extent)),
            Node::Flat(_) => *self = leaf::node_of(&leaf::splice(&[], extent)),
            Node::Inner { .. } => unreachable!("leaves are at level 0"),
        }
    }

    /// The children of a node above the leaves; a uniform one gets 1,024 uniform children first.
    pub(super) fn split(&mut self) -> (&mut Children, &mut usize) {
        if let Node::Uniform(address) = *self {
            let children: Box<[Node]> = (0..FANOUT).map(|_| Node::Uniform(address)).collect();
            let children = children.try_into().unwrap_or_else(|_| unreachable!("as many as the fan-out"));
            *self = Node::Inner { children, below_bytes: 0 };
        }
        match self {
            Node::Inner { children, below_bytes } => (children, below_bytes),
            _ => unreachable!("leaves are at level 0"),
        }
    }

    /// Becomes uniform again when all children say the same.
    fn unsplit(&mut self, garbage: &mut Garbage) {
        // Only uniform children own nothing, so the count saves looking at them.
        let Node::Inner { children, below_bytes: 0 } = self else { return };
        let Node::Uniform(first) = children[0] else { unreachable!("other nodes own heap") };
        if children.iter().all(|child| matches!(child, Node::Uniform(address) if *address == first)) {
            garbage.keep(std::mem::replace(self, Node::Uniform(first)));
        }
    }
}
