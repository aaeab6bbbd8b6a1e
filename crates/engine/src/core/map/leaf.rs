//! Leaves: 2,048 blocks as sorted runs or as atomic words; `sparse` has both.

use std::ops::Range;

use esker_format::{
    address::Address,
    page::{LEAF_BLOCKS, LeafRun},
};
use esker_io::sync::atomic::{AtomicU64, Ordering};

use super::{Extent, Node, is_uniform, mark::Mark};

/// One word an entry; the words are raw addresses.
pub(super) type Words = [AtomicU64; LEAF_BLOCKS as usize];

/// More runs than this take more memory than the words.
pub(super) const RUNS_MAX: usize = size_of::<Words>() / size_of::<PackedRun>();

/// A [`LeafRun`] in 12 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PackedRun {
    start: u16,
    blocks: u16,
    low: u32,
    high: u32,
}

const _: () = assert!(size_of::<PackedRun>() == 12);

impl PackedRun {
    /// The run of the whole leaf with one uniform address; none for a hole.
    pub(super) fn whole(address: Address) -> Option<PackedRun> {
        let run = LeafRun { start: 0, blocks: LEAF_BLOCKS as u16, address };
        (address != Address::HOLE).then(|| PackedRun::new(&run))
    }

    fn new(run: &LeafRun) -> PackedRun {
        let raw = run.address.raw();
        PackedRun { start: run.start, blocks: run.blocks, low: raw as u32, high: (raw >> 32) as u32 }
    }

    fn start(&self) -> u64 {
        u64::from(self.start)
    }

    fn end(&self) -> u64 {
        self.start() + u64::from(self.blocks)
    }

    fn address(&self) -> Address {
        Address::from_raw(u64::from(self.high) << 32 | u64::from(self.low))
    }

    /// As pages have it.
    pub(super) fn unpacked(&self) -> LeafRun {
        LeafRun { start: self.start, blocks: self.blocks, address: self.address() }
    }

    /// As an extent inside its leaf.
    fn extent(&self) -> Extent {
        Extent { lba: self.start(), blocks: u64::from(self.blocks), address: self.address() }
    }
}

/// Makes the runs of a leaf from pieces in order: neighbours are merged, holes left out.
#[derive(Default)]
pub(crate) struct RunBuilder {
    runs: Vec<LeafRun>,
}

impl RunBuilder {
    /// Appends the piece `blocks` long at `start`, which is not below the end of the last one.
    pub(crate) fn push(&mut self, start: u16, blocks: u16, address: Address) {
        debug_assert!(u64::from(start) + u64::from(blocks) <= LEAF_BLOCKS, "a run leaves its leaf");
        if blocks == 0 || address == Address::HOLE {
            return;
        }
        if let Some(last) = self.runs.last_mut() {
            debug_assert!(last.start + last.blocks <= start, "runs come in order");
            if last.start + last.blocks == start && last.address.plus(u64::from(last.blocks)) == address {
                last.blocks += blocks;
                return;
            }
        }
        self.runs.push(LeafRun { start, blocks, address });
    }

    /// The runs.
    pub(crate) fn finish(self) -> Vec<LeafRun> {
        self.runs
    }

    fn push_extent(&mut self, extent: Extent) {
        self.push(extent.lba as u16, extent.blocks as u16, extent.address);
    }
}

/// The heap of the node that says the same as `runs`.
pub(super) fn runs_bytes(runs: &[LeafRun]) -> usize {
    node_of(runs, Mark::changed()).heap_bytes()
}

pub(super) fn packed(runs: &[LeafRun]) -> Box<[PackedRun]> {
    runs.iter().map(PackedRun::new).collect()
}

/// A leaf of which nothing is known, but that behind its first `inside` blocks lie holes.
pub(super) fn unloaded(inside: u64) -> Node {
    let run = LeafRun { start: 0, blocks: inside as u16, address: Address::UNLOADED };
    node_of(&[run], Mark::of_page())
}

/// The leaf node that says the same as `runs` in the least memory.
pub(super) fn node_of(runs: &[LeafRun], mark: Mark) -> Node {
    match runs {
        [] => Node::HOLE,
        [one] if u64::from(one.blocks) == LEAF_BLOCKS && is_uniform_node(one.address) => {
            Node::Uniform(one.address)
        }
        _ if runs.len() > RUNS_MAX => {
            let mut words = words_filled(Address::HOLE);
            for run in runs {
                store(&mut words, u64::from(run.start)..u64::from(run.start + run.blocks), run.address);
            }
            Node::Flat(words, mark)
        }
        _ => Node::Runs(packed(runs), mark),
    }
}

fn is_uniform_node(address: Address) -> bool {
    is_uniform(address) || address == Address::UNLOADED
}

/// Makes what is unloaded in a leaf what the runs of its page say, holes where they say nothing.
pub(super) fn fill(node: &mut Node, runs: &[LeafRun]) {
    match node {
        Node::Uniform(address) if *address == Address::UNLOADED => *node = node_of(runs, Mark::of_page()),
        Node::Uniform(_) => {}
        Node::Runs(old, mark) => {
            let mark = std::mem::replace(mark, Mark::changed());
            *node = node_of(&filled(old, runs), mark);
        }
        Node::Sparse(sparse, mark) => {
            let mark = std::mem::replace(mark, Mark::changed());
            let base = packed(&filled(&sparse.base, runs));
            *node = match sparse.remade(base, 0, 0..0) {
                Some(filled) => Node::Sparse(filled, mark),
                None => fill_words(sparse.words(), runs, mark),
            };
        }
        Node::Flat(words, _) => fill_flat(words, runs),
        Node::Inner { .. } => unreachable!("leaves are at level 0"),
    }
    if let Some(mark) = node.mark() {
        mark.touch();
    }
}

fn fill_words(mut words: Box<Words>, runs: &[LeafRun], mark: Mark) -> Node {
    fill_flat(&mut words, runs);
    Node::Flat(words, mark)
}

fn fill_flat(words: &mut Words, runs: &[LeafRun]) {
    let unloaded = |word: &mut AtomicU64| *word.get_mut() == Address::UNLOADED.raw();
    for run in runs {
        let part = &mut words[usize::from(run.start)..][..usize::from(run.blocks)];
        for (i, word) in part.iter_mut().enumerate() {
            if unloaded(word) {
                *word.get_mut() = run.address.plus(i as u64).raw();
            }
        }
    }
    words
        .iter_mut()
        .filter_map(|word| unloaded(word).then_some(word))
        .for_each(|word| *word.get_mut() = Address::HOLE.raw());
}

/// Runs with what is unloaded replaced by what the page says there.
fn filled(old: &[PackedRun], page: &[LeafRun]) -> Vec<LeafRun> {
    let mut builder = RunBuilder { runs: Vec::with_capacity(old.len() + page.len()) };
    for extent in old.iter().map(PackedRun::extent) {
        if extent.address != Address::UNLOADED {
            builder.push_extent(extent);
            continue;
        }
        let first = page.partition_point(|run| u64::from(run.start + run.blocks) <= extent.lba);
        let parts = page[first..].iter().map(|run| PackedRun::new(run).extent());
        parts
            .map_while(|part| part.clip(extent.lba, extent.end()))
            .for_each(|part| builder.push_extent(part));
    }
    builder.finish()
}

/// Words that all hold one uniform address.
pub(super) fn words_filled(address: Address) -> Box<Words> {
    let words: Box<[AtomicU64]> = (0..LEAF_BLOCKS).map(|_| AtomicU64::new(address.raw())).collect();
    words.try_into().expect("as many words as blocks")
}

/// Words that say the same as `runs`.
pub(super) fn words_of(runs: &[PackedRun]) -> Box<Words> {
    let mut words = words_filled(Address::HOLE);
    for run in runs {
        store(&mut words, run.start()..run.end(), run.address());
    }
    words
}

/// Sets a range of words; the caller is alone with them.
pub(super) fn store(words: &mut Words, range: Range<u64>, address: Address) {
    for (i, word) in words[range.start as usize..range.end as usize].iter_mut().enumerate() {
        *word = AtomicU64::new(address.plus(i as u64).raw());
    }
}

/// Publishes log positions to a range of words. Rule W4: a word that names a higher position stays.
pub(super) fn publish(words: &Words, start: usize, blocks: usize, first: Address) {
    for (i, word) in words[start..start + blocks].iter().enumerate() {
        publish_one(word, first.plus(i as u64));
    }
}

/// Publishes a log position to one word.
#[inline]
pub(super) fn publish_one(word: &AtomicU64, address: Address) {
    let mut found = word.load(Ordering::Relaxed);
    while !is_newer(found, address) {
        // Release: who sees the position may read the record, which was written before.
        match word.compare_exchange_weak(found, address.raw(), Ordering::AcqRel, Ordering::Relaxed) {
            Ok(_) => break,
            Err(other) => found = other,
        }
    }
}

/// Whether an entry names the log.
pub(super) fn names_log(words: &mut Words) -> bool {
    words.iter_mut().any(|word| Address::from_raw(*word.get_mut()).is_log())
}

/// Whether the word found names a log position above that of `address`, which is in the log too.
fn is_newer(found: u64, address: Address) -> bool {
    Address::from_raw(found).is_log() && found > address.raw()
}

/// The address of one block of a runs leaf.
pub(super) fn get(runs: &[PackedRun], block: u16) -> Address {
    let block = u64::from(block);
    match runs.get(runs.partition_point(|run| run.end() <= block)) {
        Some(run) if run.start() <= block => run.address().plus(block - run.start()),
        _ => Address::HOLE,
    }
}

/// Calls `f` for the pieces of a range of a runs leaf that begins at block `base`, holes included.
pub(super) fn visit_runs(runs: &[PackedRun], base: u64, range: Range<u64>, f: &mut impl FnMut(Extent)) {
    let mut at = range.start - base;
    let end = range.end - base;
    for run in &runs[runs.partition_point(|run| run.end() <= at)..] {
        let Some(part) = run.extent().clip(at, end) else { break };
        if at < part.lba {
            f(Extent { lba: base + at, blocks: part.lba - at, address: Address::HOLE });
        }
        at = part.end();
        f(Extent { lba: base + part.lba, ..part });
    }
    if at < end {
        f(Extent { lba: base + at, blocks: end - at, address: Address::HOLE });
    }
}

/// Calls `f` for each block of a range of a flat leaf that begins at block `base`, holes included.
pub(super) fn visit_words(words: &Words, base: u64, range: Range<u64>, f: &mut impl FnMut(Extent)) {
    let first = range.start;
    let words = &words[(first - base) as usize..(range.end - base) as usize];
    for (i, word) in words.iter().enumerate() {
        // Acquire: pairs with the release in `publish`.
        let address = Address::from_raw(word.load(Ordering::Acquire));
        f(Extent { lba: first + i as u64, blocks: 1, address });
    }
}

/// The runs of a flat leaf, or nothing when an entry names the log or there would be too many.
pub(super) fn runs_of(words: &mut Words) -> Option<Vec<LeafRun>> {
    let mut builder = RunBuilder::default();
    for (block, word) in words.iter_mut().enumerate() {
        let address = Address::from_raw(*word.get_mut());
        if address.is_log() || builder.runs.len() > RUNS_MAX {
            return None;
        }
        builder.push(block as u16, 1, address);
    }
    Some(builder.finish()).filter(|runs| runs.len() <= RUNS_MAX)
}

/// Runs with `new`, an extent inside the leaf, laid over them.
pub(super) fn splice(runs: &[PackedRun], new: Extent) -> Vec<LeafRun> {
    let mut builder = RunBuilder { runs: Vec::with_capacity(runs.len() + 2) };
    let first = runs.partition_point(|run| run.end() <= new.lba);
    for run in &runs[..first] {
        builder.push_extent(run.extent());
    }
    if let Some(head) = runs.get(first).and_then(|run| run.extent().clip(0, new.lba)) {
        builder.push_extent(head);
    }
    builder.push_extent(new);
    for run in &runs[first..] {
        if let Some(rest) = run.extent().clip(new.end(), LEAF_BLOCKS) {
            builder.push_extent(rest);
        }
    }
    builder.finish()
}
