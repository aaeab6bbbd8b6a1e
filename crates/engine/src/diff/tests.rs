//! Comparisons against a model that looks at every block, and what they read.

use std::collections::BTreeMap;

use esker_format::{
    address::Address,
    ids::{AttemptId, PackId, PoolId},
    page::{LEAF_BLOCKS, PackWriter, decode_page},
    segment::{Run, RunKind},
};
use esker_io::sync::Mutex;
use proptest::prelude::*;

use super::*;
use crate::{
    checkpoint::fold,
    core::{diff::Root, fold::lay},
    testing::{block_on, index, pause, run, segment},
};

const SMALL: u64 = 3 * LEAF_BLOCKS + 700;
const TIB: u64 = 1 << 28;

/// Packs in memory. Counts.
#[derive(Default)]
struct Packs {
    bytes: BTreeMap<PackId, Vec<u8>>,
    reads: Mutex<(usize, usize, usize)>,
}

impl PageSource for Packs {
    fn page<'a>(&'a self, reference: &'a PageRef, level: u8, index: u64) -> BoxFuture<'a, Result<Arc<Page>>> {
        Box::pin(async move {
            {
                let mut reads = self.reads.lock();
                reads.0 += 1;
                reads.1 += 1;
                reads.2 = reads.2.max(reads.1);
            }
            pause().await;
            self.reads.lock().1 -= 1;
            let (start, bytes) = (reference.offset as usize, reference.bytes as usize);
            let page =
                decode_page(reference, &self.bytes[&reference.pack][start..start + bytes], level, index);
            Ok(Arc::new(page.expect("the page is as it was written")))
        })
    }

    fn made(&self, _: PageRef, _: u8, _: u64, _: Page) {}
}

impl Packs {
    /// Pages read since the last call, and the most at once.
    fn reads(&self) -> (usize, usize) {
        let reads = std::mem::take(&mut *self.reads.lock());
        (reads.0, reads.2)
    }

    /// The state after more segments, of which the first `folded` are in pages.
    fn state(&mut self, old: &State, blocks: u64, segments: &[(u32, Vec<Run>)], folded: usize) -> State {
        let changes: Vec<_> = segments.iter().map(|(counter, runs)| index(*counter, runs)).collect();
        let mut root = old.root.map(|root| root.page);
        if let Some(old) = old.root.filter(|old| old.blocks != blocks) {
            let mut writer = self.writer();
            let sizes = (old.blocks, blocks);
            root = block_on(checkpoint::resize(self, root, sizes, &mut writer)).unwrap();
            self.bytes.insert(writer.id(), writer.finish());
        }
        let mut writer = self.writer();
        let root = block_on(fold(self, root, blocks, &changes[..folded], &mut writer)).unwrap();
        self.bytes.insert(writer.id(), writer.finish());
        let laid = lay(changes[folded..].iter().map(|index| &**index), blocks).unwrap();
        State { blocks, root: root.map(|page| Root { page, blocks }), laid }
    }

    fn writer(&self) -> PackWriter {
        PackWriter::new(PoolId([1; 16]), PackId([self.bytes.len() as u8 + 1; 16]), AttemptId([2; 16]))
    }

    fn diff(&self, from: &State, to: &State, range: Range<u64>) -> Vec<Change> {
        let mut walk = Walk::new(self, from, to, range);
        let (mut found, mut waiting_max) = (Vec::new(), 0);
        block_on(async {
            while let Some(changes) = walk.next().await.unwrap() {
                changes.into_iter().for_each(|change| diff::push(&mut found, change));
                waiting_max = waiting_max.max(walk.places.len());
            }
        });
        assert!(waiting_max <= 1024 * (PAIRS_AHEAD + 2), "{waiting_max} places wait");
        found
    }
}

fn data(lba: u64, blocks: u64) -> Run {
    run(lba, blocks, RunKind::Data { first_slot: 0 })
}

/// Runs of one segment. References of all segments name the same slot for the same block.
fn runs(blocks: u64) -> impl Strategy<Value = Vec<Run>> {
    let gap = prop_oneof![0..40u64, 0..3 * LEAF_BLOCKS];
    let length = prop_oneof![1..40u64, 1..2 * LEAF_BLOCKS];
    prop::collection::vec((gap, length, 0..5u8), 0..8).prop_map(move |pieces| {
        let (mut at, mut slot, mut runs) = (0, 0, Vec::new());
        for (gap, length, kind) in pieces {
            if at + gap + length > blocks {
                continue;
            }
            let kind = match kind {
                0 => RunKind::Hole,
                1 => RunKind::Zero,
                2 => RunKind::Reference(Address::segment(segment(999), (at + gap) as u16)),
                _ => RunKind::Data { first_slot: slot },
            };
            runs.push(run(at + gap, length, kind));
            at += gap + length;
            slot += length as u16;
        }
        runs
    })
}

/// The address of every block.
fn model(size: u64, segments: &[(u32, Vec<Run>)]) -> Vec<Address> {
    let mut blocks = vec![Address::HOLE; size as usize];
    for (counter, runs) in segments {
        for run in runs {
            for i in 0..run.blocks {
                blocks[(run.lba + i) as usize] = run.address(segment(*counter)).plus(i);
            }
        }
    }
    blocks
}

fn naive(from: &[Address], to: &[Address], range: &Range<u64>) -> Vec<Change> {
    let mut changes = Vec::new();
    for (lba, now) in (0..).zip(to).filter(|(lba, _)| range.contains(lba)) {
        if from.get(lba as usize).copied().unwrap_or(Address::HOLE) != *now {
            let kind = match *now {
                Address::HOLE => Kind::Hole,
                Address::ZERO => Kind::Zero,
                _ => Kind::Data,
            };
            diff::push(&mut changes, Change { lba, blocks: 1, kind });
        }
    }
    changes
}

fn numbered(segments: Vec<Vec<Run>>, from: u32) -> Vec<(u32, Vec<Run>)> {
    (from..).zip(segments).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 200, ..ProptestConfig::default() })]

    /// Two states that went on from a third, each with some segments in pages and some laid over them.
    #[test]
    fn every_block_that_differs_is_found_and_no_other(
        common in prop::collection::vec(runs(SMALL), 0..4),
        left in prop::collection::vec(runs(SMALL), 0..4),
        right in prop::collection::vec(runs(SMALL), 0..4),
        shared in runs(SMALL),
        folded in (0..5usize, 0..5usize),
        cut in (0..SMALL, 0..SMALL),
        whole in any::<bool>(),
    ) {
        let mut packs = Packs::default();
        let common = numbered(common, 1);
        let base = packs.state(&State::default(), SMALL, &common, common.len());
        // One segment is in the tail of both.
        let mut sides = [numbered(left, 100), numbered(right, 200)];
        sides.iter_mut().for_each(|side| side.insert(0, (50, shared.clone())));
        let folded = [folded.0.min(sides[0].len()), folded.1.min(sides[1].len())];
        let from = packs.state(&base, SMALL, &sides[0], folded[0]);
        let to = packs.state(&base, SMALL, &sides[1], folded[1]);
        let all = |side: &[(u32, Vec<Run>)]| model(SMALL, &[&common, side].concat());
        let range = if whole { 0..SMALL } else { cut.0.min(cut.1)..cut.0.max(cut.1) };
        let expected = naive(&all(&sides[0]), &all(&sides[1]), &range);
        prop_assert_eq!(packs.diff(&from, &to, range.clone()), expected);
        prop_assert!(packs.diff(&from, &from, range).is_empty());
    }

    /// The volume grew, or what was cut off were holes.
    #[test]
    fn sizes_may_differ(
        before in prop::collection::vec(runs(1000), 0..4),
        after in prop::collection::vec(runs(1000), 0..4),
        sizes in (0..4usize, 0..4usize),
        folded in 0..5usize,
    ) {
        const SIZES: [u64; 4] = [1000, LEAF_BLOCKS, LEAF_BLOCKS + 1, SMALL];
        let (old, new) = (SIZES[sizes.0], SIZES[sizes.1]);
        let mut packs = Packs::default();
        let (before, after) = (numbered(before, 1), numbered(after, 100));
        let from = packs.state(&State::default(), old, &before, folded.min(before.len()));
        let folded_from = packs.state(&State::default(), old, &before, before.len());
        let to = packs.state(&folded_from, new, &after, folded.min(after.len()));
        let whole = naive(&model(old, &before), &model(new, &[&before[..], &after].concat()), &(0..new));
        prop_assert_eq!(packs.diff(&from, &to, 0..u64::MAX), whole);
    }
}

#[test]
fn what_is_equal_is_not_read() {
    let mut packs = Packs::default();
    // Sparse data all over a tebibyte, then 100 blocks of it again.
    let all: Vec<_> = (0..2000).map(|i| (1 + i, vec![data(u64::from(i) * (TIB / 2000), 8)])).collect();
    let from = packs.state(&State::default(), TIB, &all, all.len());
    let again: Vec<_> =
        (0..100).map(|i| (5000 + i, vec![data(u64::from(i) * 20 * (TIB / 2000), 1)])).collect();
    let to = packs.state(&from, TIB, &again, again.len());
    packs.reads();
    let found = packs.diff(&from, &to, 0..TIB);
    assert_eq!(found.len(), 100);
    let (reads, at_once) = packs.reads();
    // Both roots, and for each of 100 places at most an inner page and a leaf on both sides.
    assert!(reads <= 2 + 4 * 100, "{reads} pages were read");
    assert!((PAIRS_AHEAD..=2 * PAIRS_AHEAD).contains(&at_once), "{at_once} pages at once");
    assert!(packs.diff(&to, &to, 0..TIB).is_empty());
    assert_eq!(packs.reads().0, 0);
    // A question about a small range reads one path.
    assert_eq!(packs.diff(&from, &to, 0..4096).len(), 1);
    assert!(packs.reads().0 <= 6);
}

#[test]
fn a_whole_terabyte_of_zeros_is_one_step() {
    let mut packs = Packs::default();
    let from = packs.state(&State::default(), TIB, &[(1, vec![data(77, 1)])], 1);
    let to = packs.state(&from, TIB, &[(2, vec![run(0, TIB, RunKind::Zero)])], 0);
    packs.reads();
    let zeros = [Change { lba: 0, blocks: TIB, kind: Kind::Zero }];
    assert_eq!(packs.diff(&from, &to, 0..TIB), zeros);
    assert!(packs.reads().0 <= 3);
    assert_eq!(
        packs.diff(&to, &from, 77..80),
        [Change { lba: 77, blocks: 1, kind: Kind::Data }, Change { lba: 78, blocks: 2, kind: Kind::Hole },]
    );
}
