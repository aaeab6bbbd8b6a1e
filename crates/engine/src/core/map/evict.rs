//! Letting go of leaves: what the newest root says of a leaf need not be in memory.
//!
//! A leaf may become unloaded again when three things are so, seen under the exclusive guard:
//! 1. No entry of it names the log: pages hold no log positions.
//! 2. The root of the newest head holds every change of it. A *stamp* says up to where its changes go: a leaf that was
//!    changed (a bit that writers set) and names the log no more gets the number of the open *generation*, and a
//!    generation goes up to the last sequence of the log at its last use. Nobody is between his append and his
//!    publish while the sweep holds the guard, so no change up to that sequence can still come. Once a root holds the
//!    log up to there, the generation is settled, and so are all before it. What a page said is settled when it comes.
//! 3. Nobody waits for a page of it: whoever does pins the range until he has read from it. And nobody has used it since the sweep came by the last time (a second chance).
//!
//! So an unloaded block is one that nothing has changed since some root, as far as that root's sequence says, and every
//! later root says the same of it. An earlier root may not: 1. a load takes root 1; 2. a writer changes a leaf, root 2
//! holds the change, the leaf is evicted; 3. a page of root 1 arrives, perhaps one that calls all around it holes. So the
//! map remembers the newest root that it evicted by, and takes no page of an earlier one ([`Map::takes`]). The newest
//! root is never earlier, so whoever loads again gets on.
//!
//! An inner node below which nothing is left becomes unloaded too. Holes and zeros in it have no leaf to be
//! stamped, so the node is stamped for them: it counts as changed whenever a subtree of it was set, or a leaf that was
//! changed became uniform. What reaches beyond the end of the volume keeps its holes there.

use std::{collections::VecDeque, ops::Range};

use esker_format::{address::Address, page::LEAF_BLOCKS};

use super::{
    Garbage, Map,
    leaf::{self, names_log},
    mark::{Mark, STAMP_MAX},
    node::{Node, child_at, span},
};

/// Generations that are open at most; then the last one goes on.
const GENERATIONS_MAX: usize = 64;
/// What looking at a node costs: a subtree that is uniform, a leaf of runs, of a table, of words.
const COSTS: [usize; 4] = [1, 4, 16, 64];

/// Which leaf is next, and which generations roots have reached.
#[derive(Debug, Default)]
pub(super) struct Clock {
    /// The leaf to look at next.
    hand: u64,
    /// The generation that is open.
    generation: u32,
    /// Generations that no root holds yet, each with the last sequence that its changes may have.
    open: VecDeque<(u32, u64)>,
    /// Up to which generation the root holds everything.
    settled: u32,
    /// Of the newest root that something was evicted by.
    root_sequence: u64,
}

/// What the sweep knows of the volume; true at the moment of the call or earlier, the last sequence later.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The last sequence of the log.
    pub last_sequence: u64,
    /// Up to which sequence the root of the newest head holds everything.
    pub root_sequence: u64,
    /// Blocks that somebody needs just now.
    pub pinned: &'a [Range<u64>],
}

/// What a stretch of the sweep came to.
#[derive(Default)]
pub struct Swept {
    /// Leaves that are unloaded now.
    pub leaves: u64,
    /// The hand has come to the end, and begins again.
    pub turned: bool,
    /// To be dropped outside the guard.
    pub garbage: Garbage,
}

struct Sweep<'a> {
    facts: &'a Facts<'a>,
    clock: &'a mut Clock,
    /// The volume's end.
    blocks: u64,
    left: usize,
    swept: Swept,
}

impl Map {
    /// Whether a page of a root up to this sequence may fill in what is unloaded.
    pub fn takes(&self, root_sequence: u64) -> bool {
        root_sequence >= self.clock.root_sequence
    }

    /// Goes on with the sweep for so much work (64 is a flat leaf): stamps what was changed, and unloads what the root
    /// holds and nobody used.
    pub fn sweep(&mut self, facts: &Facts<'_>, work: usize) -> Swept {
        self.clock.settle(facts);
        let mut sweep =
            Sweep { facts, clock: &mut self.clock, blocks: self.blocks, left: work, swept: Swept::default() };
        self.root.sweep(self.level, 0, &mut sweep);
        let mut swept = sweep.swept;
        if self.clock.hand >= self.blocks.div_ceil(LEAF_BLOCKS) {
            self.clock.hand = 0;
            swept.turned = true;
            self.clock.begin_generation();
        }
        self.report();
        swept
    }
}

impl Clock {
    /// Learns what the root holds, and lets the open generation go up to the last sequence.
    fn settle(&mut self, facts: &Facts<'_>) {
        if self.generation == 0 {
            self.begin_generation();
        }
        while let Some((generation, last)) = self.open.front().copied()
            && last <= facts.root_sequence
            && generation < self.generation
        {
            self.settled = generation;
            self.open.pop_front();
        }
        let last = self.open.back_mut().expect("the open generation is among them");
        last.1 = last.1.max(facts.last_sequence);
    }

    fn evicted_by(&mut self, facts: &Facts<'_>) {
        self.root_sequence = self.root_sequence.max(facts.root_sequence);
    }

    /// What is stamped from now on may come later into a root than what was stamped before.
    fn begin_generation(&mut self) {
        if self.open.len() < GENERATIONS_MAX && self.generation < STAMP_MAX {
            self.generation += 1;
            self.open.push_back((self.generation, 0));
        }
    }
}

impl Sweep<'_> {
    /// Whether every change of a node is in the root; stamps it if it was changed.
    fn is_settled(&mut self, mark: &mut Mark) -> bool {
        if mark.is_changed() {
            mark.set_stamp(self.clock.generation);
        }
        let open = self.clock.open.back().expect("the open generation is among them");
        let open_is_settled = open.1 <= self.facts.root_sequence;
        let settled = if open_is_settled { self.clock.generation } else { self.clock.settled };
        mark.stamp() <= settled
    }

    fn is_pinned(&self, base: u64, blocks: u64) -> bool {
        self.facts.pinned.iter().any(|range| range.start < base + blocks && base < range.end)
    }

    fn leaf(&mut self, node: &mut Node, base: u64) {
        self.clock.hand = base / LEAF_BLOCKS + 1;
        let (kind, has_log) = match node {
            Node::Uniform(_) => (0, false),
            Node::Runs(..) => (1, false),
            Node::Sparse(sparse, _) => (2, sparse.names_log()),
            Node::Flat(words, _) => (3, names_log(words)),
            Node::Inner { .. } => unreachable!("leaves are at level 0"),
        };
        self.left = self.left.saturating_sub(COSTS[kind]);
        let Some(mark) = node.mark() else { return };
        let used = mark.take_used();
        if has_log || !self.is_settled(mark) || used || self.is_pinned(base, LEAF_BLOCKS) {
            return;
        }
        let inside = (self.blocks - base).min(LEAF_BLOCKS);
        let unloaded = leaf::unloaded(inside);
        if unloaded.heap_bytes() < node.heap_bytes() {
            self.swept.garbage.keep(std::mem::replace(node, unloaded));
            self.swept.leaves += 1;
            self.clock.evicted_by(self.facts);
        }
    }
}

impl Node {
    fn sweep(&mut self, level: u8, base: u64, sweep: &mut Sweep<'_>) {
        if level == 0 {
            return sweep.leaf(self, base);
        }
        let Node::Inner { children, below_bytes, mark } = self else {
            sweep.left = sweep.left.saturating_sub(COSTS[0]);
            sweep.clock.hand = (base + span(level)) / LEAF_BLOCKS;
            return;
        };
        let below = span(level - 1);
        let first = child_at(level - 1, sweep.clock.hand * LEAF_BLOCKS);
        let first = if sweep.clock.hand * LEAF_BLOCKS <= base { 0 } else { first };
        for (number, child) in children.iter_mut().enumerate().skip(first) {
            if sweep.left == 0 || base + number as u64 * below >= sweep.blocks {
                break;
            }
            *below_bytes -= child.heap_bytes();
            child.sweep(level - 1, base + number as u64 * below, sweep);
            *below_bytes += child.heap_bytes();
        }
        let end = base + span(level);
        let passed = sweep.clock.hand * LEAF_BLOCKS >= end.min(sweep.blocks);
        let empty = passed && *below_bytes == 0 && end <= sweep.blocks;
        if empty && sweep.is_settled(mark) && !sweep.is_pinned(base, span(level)) {
            sweep.swept.garbage.keep(std::mem::replace(self, Node::Uniform(Address::UNLOADED)));
            sweep.clock.evicted_by(sweep.facts);
        }
    }
}
