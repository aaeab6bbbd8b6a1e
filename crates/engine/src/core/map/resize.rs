//! A map of another size. Blocks beyond its end are holes, so growing costs a path to a higher root at most, and what
//! is cut off must be holes.

use std::ops::Range;

use esker_format::{address::Address, page};

use super::{BLOCKS_MAX, Garbage, Map, node::Node};

/// Blocks that are not holes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mapped {
    /// The first of them.
    pub first: u64,
    /// How many there are.
    pub blocks: u64,
}

impl Map {
    /// What is mapped from block `from` on, or not loaded; none when all of it is holes, also beyond the end.
    pub fn mapped_from(&self, from: u64) -> Option<Mapped> {
        self.mapped_in(from..self.blocks)
    }

    /// What is mapped in a range, or not loaded; none when all of it is holes, also beyond the end.
    pub fn mapped_in(&self, range: Range<u64>) -> Option<Mapped> {
        let mut mapped: Option<Mapped> = None;
        let range = range.start..range.end.min(self.blocks);
        if range.is_empty() {
            return None;
        }
        self.root.visit(self.level, 0, range, &mut |extent| {
            if extent.address != Address::HOLE {
                mapped.get_or_insert(Mapped { first: extent.lba, blocks: 0 }).blocks += extent.blocks;
            }
        });
        mapped
    }

    /// Makes the map larger; what is new is holes.
    ///
    /// # Panics
    /// When `blocks` is less than before or more than [`BLOCKS_MAX`].
    pub fn grow(&mut self, blocks: u64) {
        assert!((self.blocks..=BLOCKS_MAX).contains(&blocks), "from {} to {blocks} blocks", self.blocks);
        while self.level < page::height(blocks) - 1 {
            self.root.lift();
            self.level += 1;
        }
        self.blocks = blocks;
        self.report();
    }

    /// Makes the map smaller.
    ///
    /// # Panics
    /// When `blocks` is zero or more than before, or a block that is cut off is mapped.
    pub fn shrink(&mut self, blocks: u64) -> Garbage {
        assert!((1..=self.blocks).contains(&blocks), "from {} to {blocks} blocks", self.blocks);
        assert_eq!(self.mapped_from(blocks), None, "only holes are cut off");
        let mut garbage = Garbage::default();
        while self.level > page::height(blocks) - 1 {
            garbage.keep(self.root.sink());
            self.level -= 1;
        }
        self.blocks = blocks;
        self.report();
        garbage
    }
}

impl Node {
    /// Becomes the first child of a new node, whose others are holes.
    fn lift(&mut self) {
        let old = std::mem::replace(self, Node::HOLE);
        if let Node::Uniform(Address::HOLE) = old {
            return;
        }
        let (children, below_bytes, mark) = self.split();
        mark.change();
        *below_bytes = old.heap_bytes();
        children[0] = old;
    }

    /// Becomes its first child; gives what is left.
    fn sink(&mut self) -> Node {
        let mut old = std::mem::replace(self, Node::HOLE);
        if let Node::Inner { children, below_bytes, .. } = &mut old {
            *below_bytes -= children[0].heap_bytes();
            *self = std::mem::replace(&mut children[0], Node::HOLE);
        }
        old
    }
}
