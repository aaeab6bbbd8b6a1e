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
    mark::Mark,
    sparse::Sparse,
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
    Runs(Box<[PackedRun]>, Mark),
    /// A leaf of runs with a table of words over them.
    Sparse(Box<Sparse>, Mark),
    /// A leaf of words.
    Flat(Box<Words>, Mark),
    /// Children, and the bytes of heap that they own together. The mark is for those that own none.
    Inner { children: Box<Children>, below_bytes: usize, mark: Mark },
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
            Node::Runs(runs, _) => size_of_val::<[PackedRun]>(runs),
            Node::Sparse(sparse, _) => sparse.heap_bytes(),
            Node::Flat(words, _) => size_of_val::<Words>(words),
            Node::Inner { children, below_bytes, .. } => size_of_val::<Children>(children) + below_bytes,
        }
    }

    /// The address of a block of a leaf or uniform node.
    pub(super) fn get(&self, block: u16) -> Address {
        match self {
            Node::Uniform(address) => *address,
            Node::Runs(runs, mark) => {
                mark.touch();
                leaf::get(runs, block)
            }
            Node::Sparse(sparse, mark) => {
                mark.touch();
                sparse.get(block)
            }
            Node::Flat(words, mark) => {
                mark.touch();
                Address::from_raw(words[usize::from(block)].load(Ordering::Acquire))
            }
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
            Node::Runs(runs, mark) => {
                mark.touch();
                leaf::visit_runs(runs, base, range, f);
            }
            Node::Sparse(sparse, mark) => {
                mark.touch();
                sparse.visit(base, range, f);
            }
            Node::Flat(words, mark) => {
                mark.touch();
                leaf::visit_words(words, base, range, f);
            }
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
            let (children, below_bytes, mark) = self.split();
            mark.change();
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
        let (children, below_bytes, mark) = self.split();
        mark.change();
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
                let (children, below_bytes, mark) = self.split();
                let node = &mut children[child_at(level - 1, lba)];
                let before = node.heap_bytes();
                node.fill((level - 1, at), lba, page, range);
                mark.change_if_lost(before, node);
                *below_bytes = *below_bytes - before + node.heap_bytes();
            }
            Page::Inner(stored) if level > 0 => self.fill_children((level, lba), stored, range),
            _ => panic!("a page of another level for a subtree at level {level}"),
        }
    }

    fn fill_children(&mut self, (level, lba): (u8, u64), stored: &[(u16, Child)], range: &Range<u64>) {
        let below = span(level - 1);
        let (children, below_bytes, mark) = self.split();
        let first = range.start.saturating_sub(lba) / below;
        let last = range.end.saturating_sub(lba).div_ceil(below).min(FANOUT);
        for number in first..last {
            let says = match stored.binary_search_by_key(&number, |(child, _)| u64::from(*child)) {
                Ok(found) if matches!(stored[found].1, Child::Page(_)) => continue,
                Ok(_) => Address::ZERO,
                Err(_) => Address::HOLE,
            };
            let node = &mut children[number as usize];
            let before = node.heap_bytes();
            node.fill_with(says);
            mark.change_if_lost(before, node);
            *below_bytes = *below_bytes - before + node.heap_bytes();
        }
    }

    /// Makes everything that is unloaded holes or zeros.
    pub(super) fn fill_with(&mut self, says: Address) {
        match self {
            Node::Uniform(address) if *address == Address::UNLOADED => *self = Node::Uniform(says),
            Node::Uniform(_) => {}
            Node::Runs(..) | Node::Sparse(..) | Node::Flat(..) => {
                leaf::fill(self, PackedRun::whole(says).map(|run| run.unpacked()).as_slice())
            }
            Node::Inner { children, below_bytes, mark } => {
                for node in children.iter_mut() {
                    let before = node.heap_bytes();
                    node.fill_with(says);
                    mark.change_if_lost(before, node);
                    *below_bytes = *below_bytes - before + node.heap_bytes();
                }
            }
        }
    }

    /// Makes places for these blocks of a leaf.
    pub(super) fn make_room(&mut self, blocks: Range<usize>) {
        let new = match self {
            Node::Uniform(address) => {
                let base = PackedRun::whole(*address).into_iter().collect();
                Sparse::new(base, blocks.len()).ok_or_else(|| leaf::words_filled(*address))
            }
            Node::Runs(runs, _) => {
                Sparse::new(runs.clone(), blocks.len()).ok_or_else(|| leaf::words_of(runs))
            }
            Node::Sparse(sparse, _) => {
                if blocks.clone().all(|block| sparse.claim(block as u16)) {
                    return;
                }
                let places = sparse.places() + blocks.len();
                sparse.remade(sparse.base.clone(), places, 0..0).ok_or_else(|| sparse.words())
            }
            Node::Flat(..) => return,
            Node::Inner { .. } => unreachable!("only leaves are changed by writers"),
        };
        *self = match new {
            Ok(sparse) => {
                // At once: whoever asks for the places under the shared guard finds them.
                assert!(
                    blocks.into_iter().all(|block| sparse.claim(block as u16)),
                    "there are enough places"
                );
                Node::Sparse(sparse, Mark::changed())
            }
            Err(words) => Node::Flat(words, Mark::changed()),
        };
    }

    /// Makes a leaf that has words runs or uniform, when it can and that is smaller.
    pub(super) fn deflate(&mut self) -> bool {
        let before = self.heap_bytes();
        let (runs, mark) = match self {
            Node::Flat(words, mark) => (leaf::runs_of(words), mark),
            Node::Sparse(sparse, mark) => ((!sparse.names_log()).then(|| sparse.runs()), mark),
            _ => return false,
        };
        let Some(runs) = runs.filter(|runs| leaf::runs_bytes(runs) < before) else { return false };
        let mark = std::mem::replace(mark, Mark::changed());
        *self = leaf::node_of(&runs, mark);
        true
    }

    /// The mark of a node that has one.
    pub(super) fn mark(&mut self) -> Option<&mut Mark> {
        match self {
            Node::Uniform(_) => None,
            Node::Runs(_, mark) | Node::Sparse(_, mark) | Node::Flat(_, mark) => Some(mark),
            Node::Inner { mark, .. } => Some(mark),
        }
    }

    fn set_leaf(&mut self, extent: Extent) {
        let runs = match self {
            Node::Flat(words, mark) if extent.blocks < LEAF_BLOCKS => {
                mark.change();
                return leaf::store(words, extent.lba..extent.end(), extent.address);
            }
            Node::Sparse(sparse, mark) if extent.blocks < LEAF_BLOCKS => {
                mark.change();
                let base = leaf::packed(&leaf::splice(&sparse.base, extent));
                let new = sparse.remade(base, 0, extent.lba..extent.end());
                *self = match new {
                    Some(sparse) => Node::Sparse(sparse, Mark::changed()),
                    None => {
                        let mut words = sparse.words();
                        leaf::store(&mut words, extent.lba..extent.end(), extent.address);
                        Node::Flat(words, Mark::changed())
                    }
                };
                return;
            }
            Node::Uniform(address) => leaf::splice(PackedRun::whole(*address).as_slice(), extent),
            Node::Runs(runs, _) => leaf::splice(runs, extent),
            Node::Flat(..) | Node::Sparse(..) => leaf::splice(&[], extent),
            Node::Inner { .. } => unreachable!("leaves are at level 0"),
        };
        *self = leaf::node_of(&runs, Mark::changed());
    }

    /// The children of a node above the leaves; a uniform one gets 1,024 uniform children first.
    pub(super) fn split(&mut self) -> (&mut Children, &mut usize, &Mark) {
        if let Node::Uniform(address) = *self {
            let children: Box<[Node]> = (0..FANOUT).map(|_| Node::Uniform(address)).collect();
            let children = children.try_into().unwrap_or_else(|_| unreachable!("as many as the fan-out"));
            let known = address != Address::UNLOADED;
            let mark = if known { Mark::changed() } else { Mark::of_page() };
            *self = Node::Inner { children, below_bytes: 0, mark };
        }
        match self {
            Node::Inner { children, below_bytes, mark } => (children, below_bytes, mark),
            _ => unreachable!("leaves are at level 0"),
        }
    }

    /// Becomes uniform again when all children say the same.
    fn unsplit(&mut self, garbage: &mut Garbage) {
        // Only uniform children own nothing, so the count saves looking at them.
        let Node::Inner { children, below_bytes: 0, .. } = self else { return };
        let Node::Uniform(first) = children[0] else { unreachable!("other nodes own heap") };
        if children.iter().all(|child| matches!(child, Node::Uniform(address) if *address == first)) {
            garbage.keep(std::mem::replace(self, Node::Uniform(first)));
        }
    }
}
