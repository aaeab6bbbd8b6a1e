//! Folds against a map built by applying the same runs, and what they load, share and leave alone.

use std::collections::BTreeMap;

use esker_format::{
    address::Address,
    ids::{AttemptId, PackId, PoolId},
    page::{FANOUT, LEAF_BLOCKS},
    segment::{Run, RunKind},
};
use esker_io::sync::Mutex;
use proptest::prelude::*;

use super::*;
use crate::{
    core::map::Map,
    testing::{block_on, index, pause, run, segment},
};

const SMALL: u64 = 3 * LEAF_BLOCKS + 700;
const PEBIBYTE: u64 = 1 << 38;
/// Blocks below a page of level 1.
const INNER_BLOCKS: u64 = LEAF_BLOCKS * FANOUT;

/// Packs in memory. Counts.
#[derive(Default)]
struct Packs {
    bytes: BTreeMap<PackId, Vec<u8>>,
    counts: Mutex<Counts>,
    made: Mutex<Vec<(PageRef, u8, u64, Page)>>,
}

#[derive(Default, Clone, Copy)]
struct Counts {
    loads: usize,
    in_flight: usize,
    in_flight_max: usize,
}

impl Packs {
    fn loads(&self) -> usize {
        std::mem::take(&mut *self.counts.lock()).loads
    }

    /// Folds into a new pack and keeps it.
    fn fold(&mut self, old: Option<PageRef>, blocks: u64, segments: &[(u32, Vec<Run>)]) -> Option<PageRef> {
        self.try_fold(old, blocks, segments).expect("the fold succeeds")
    }

    fn try_fold(
        &mut self,
        old: Option<PageRef>,
        blocks: u64,
        segments: &[(u32, Vec<Run>)],
    ) -> Result<Option<PageRef>> {
        let changes: Vec<_> = segments.iter().map(|(counter, runs)| index(*counter, runs)).collect();
        let id = PackId([self.bytes.len() as u8; 16]);
        let mut writer = PackWriter::new(PoolId([1; 16]), id, AttemptId([2; 16]));
        let root = block_on(fold(self, old, blocks, &changes, &mut writer))?;
        self.bytes.insert(id, writer.finish());
        Ok(root)
    }

    fn load(&self, root: Option<PageRef>, blocks: u64) -> Map {
        let Some(root) = root else { return Map::new(blocks) };
        self.try_load(root, blocks, 0..blocks).expect("the map loads")
    }

    fn try_load(&self, root: PageRef, blocks: u64, range: Range<u64>) -> Result<Map> {
        let mut map = Map::unloaded(blocks);
        let fill = |place: Place, page: &Page| map.fill(place.level, place.index, page, &range);
        block_on(load(self, root, blocks, &range, fill))?;
        Ok(map)
    }

    fn page_now(&self, reference: &PageRef, level: u8, index: u64) -> Result<Page> {
        let at = reference.offset as usize;
        let bytes = &self.bytes[&reference.pack][at..at + reference.bytes as usize];
        Ok(page::decode_page(reference, bytes, level, index)?)
    }

    fn children(&self, root: Option<PageRef>, level: u8) -> BTreeMap<u16, Child> {
        match self.page_now(&root.expect("there is a root"), level, 0) {
            Ok(Page::Inner(children)) => children.into_iter().collect(),
            other => panic!("an inner page, not {other:?}"),
        }
    }
}

impl PageSource for Packs {
    fn page<'a>(&'a self, reference: &'a PageRef, level: u8, index: u64) -> BoxFuture<'a, Result<Arc<Page>>> {
        Box::pin(async move {
            {
                let mut counts = self.counts.lock();
                counts.loads += 1;
                counts.in_flight += 1;
                counts.in_flight_max = counts.in_flight_max.max(counts.in_flight);
            }
            pause().await;
            self.counts.lock().in_flight -= 1;
            self.page_now(reference, level, index).map(Arc::new)
        })
    }

    fn made(&self, reference: PageRef, level: u8, index: u64, page: Page) {
        self.made.lock().push((reference, level, index, page));
    }
}

fn data(lba: u64, blocks: u64, first_slot: u16) -> Run {
    run(lba, blocks, RunKind::Data { first_slot })
}

fn apply(map: &mut Map, segments: &[(u32, Vec<Run>)]) {
    for (counter, runs) in segments {
        runs.iter().for_each(|run| map.apply_run(run, segment(*counter)));
    }
}

fn contents(map: &Map) -> Vec<Extent> {
    let mut out = Vec::new();
    map.resolve(0, map.blocks(), &mut out);
    out
}

fn runs(blocks: u64) -> impl Strategy<Value = Vec<Run>> {
    let kind = prop_oneof![
        4 => (0..20_000u16).prop_map(|first_slot| RunKind::Data { first_slot }),
        2 => Just(RunKind::Hole),
        2 => Just(RunKind::Zero),
        1 => (0..20_000u16).prop_map(|slot| RunKind::Reference(Address::segment(segment(999), slot))),
    ];
    let length = prop_oneof![4 => 1..30u64, 2 => 1..5000u64, 1 => Just(2 * LEAF_BLOCKS), 1 => Just(blocks)];
    let gap = prop_oneof![2 => Just(0), 3 => 0..50u64, 2 => 0..3000u64, 1 => 0..blocks];
    let run = (gap, length, kind, any::<bool>());
    prop::collection::vec(run, 0..8).prop_map(move |pieces| {
        let (mut at, mut runs) = (0u64, Vec::new());
        for (gap, length, kind, align) in pieces {
            let lba = if align { (at + gap).next_multiple_of(LEAF_BLOCKS) } else { at + gap };
            let length = match kind {
                RunKind::Hole | RunKind::Zero => length,
                _ => length.min(40_000),
            };
            if lba < blocks {
                let length = length.min(blocks - lba);
                runs.push(self::run(lba, length, kind));
                at = lba + length;
            }
        }
        runs
    })
}

/// Several checkpoints of several segments each, over a volume of one of some sizes.
fn histories() -> impl Strategy<Value = (u64, Vec<Vec<Vec<Run>>>)> {
    let sizes = vec![700, LEAF_BLOCKS, SMALL, 4 * LEAF_BLOCKS, INNER_BLOCKS, INNER_BLOCKS + 3000, PEBIBYTE];
    prop::sample::select(sizes).prop_flat_map(|blocks| {
        let segments = prop::collection::vec(runs(blocks), 0..5);
        (Just(blocks), prop::collection::vec(segments, 1..5))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_fold_is_what_applying_every_run_gives((blocks, checkpoints) in histories()) {
        let (mut packs, mut root, mut map, mut counter) = (Packs::default(), None, Map::new(blocks), 0);
        let (mut earlier, mut all) = (Vec::new(), Vec::new());
        for segments in checkpoints {
            let segments: Vec<_> = segments.into_iter().map(|runs| { counter += 1; (counter, runs) }).collect();
            apply(&mut map, &segments);
            root = packs.fold(root, blocks, &segments);
            earlier.push((root, contents(&map)));
            all.extend(segments);
            prop_assert_eq!(contents(&packs.load(root, blocks)), contents(&map));
        }
        all.retain(|(_, runs): &(u32, Vec<Run>)| !runs.is_empty());
        let at_once = packs.fold(None, blocks, &all);
        prop_assert_eq!(contents(&packs.load(at_once, blocks)), contents(&map), "one fold from nothing");
        for (root, expected) in earlier {
            prop_assert_eq!(contents(&packs.load(root, blocks)), expected, "an old root reads as it did");
        }
    }
}

#[test]
fn a_fold_of_nothing_keeps_the_root() {
    let mut packs = Packs::default();
    assert_eq!(packs.fold(None, SMALL, &[]), None);
    assert_eq!(packs.fold(None, SMALL, &[(1, vec![run(0, SMALL, RunKind::Hole)])]), None);
    let root = packs.fold(None, SMALL, &[(1, vec![data(5, 5, 0)])]);
    assert_eq!(packs.fold(root, SMALL, &[(2, Vec::new())]), root);
    // A trim of a hole and the same reference again change nothing.
    let same = RunKind::Reference(Address::segment(segment(1), 2));
    assert_eq!(packs.fold(root, SMALL, &[(3, vec![run(7, 1, same), run(20, 5000, RunKind::Hole)])]), root);
    assert_eq!(packs.fold(root, SMALL, &[(4, vec![run(5, 5, RunKind::Hole)])]), None);
}

#[test]
fn untouched_leaves_keep_their_references() {
    let mut packs = Packs::default();
    let first = packs.fold(None, SMALL, &[(1, vec![data(0, 6000, 0)])]);
    packs.loads();
    let second = packs.fold(first, SMALL, &[(2, vec![data(LEAF_BLOCKS + 5, 1, 0)])]);
    assert_eq!(packs.loads(), 2, "the root and the one leaf that changed");
    let (old, new) = (packs.children(first, 1), packs.children(second, 1));
    assert_eq!((old[&0], old[&2]), (new[&0], new[&2]));
    assert_ne!(old[&1], new[&1]);
}

#[test]
fn whole_leaves_and_pages_are_replaced_unread() {
    let mut packs = Packs::default();
    let first = packs.fold(None, SMALL, &[(1, vec![data(0, SMALL, 0)])]);
    packs.loads();
    let halves = vec![data(LEAF_BLOCKS, 1000, 0), data(LEAF_BLOCKS + 1000, 1048, 5000)];
    let second = packs.fold(first, SMALL, &[(2, halves)]);
    assert_eq!(packs.loads(), 1, "the root, for the leaves that stay");
    packs.fold(second, SMALL, &[(3, vec![data(0, 4000, 0)]), (4, vec![data(4000, SMALL - 4000, 4000)])]);
    assert_eq!(packs.loads(), 0, "no old block is left");
}

#[test]
fn huge_trims_drop_subtrees_unread() {
    let mut packs = Packs::default();
    let stride = PEBIBYTE / 200;
    let scattered = (0..200).map(|i| data(i * stride, 10, 0)).collect();
    let full = packs.fold(None, PEBIBYTE, &[(1, scattered)]);
    packs.loads();

    // Discards as a guest sends them: in pieces, over two segments. Only the edges are loaded.
    let piece = 1 << 20;
    let (from, to) = (5, PEBIBYTE - 7);
    let discards = |kind: RunKind, from: u64, to: u64| -> Vec<Run> {
        (from..to).step_by(piece).map(|lba| run(lba, (to - lba).min(piece as u64), kind)).collect()
    };
    let middle = PEBIBYTE / 3;
    let changes = [(2, discards(RunKind::Hole, from, middle)), (3, discards(RunKind::Hole, middle, to))];
    let trimmed = packs.fold(full, PEBIBYTE, &changes);
    assert!(packs.loads() <= 7, "the root and one path to either edge");
    let mut left = Map::new(PEBIBYTE);
    left.apply_run(&data(0, 5, 0), segment(1));
    assert_eq!(contents(&packs.load(trimmed, PEBIBYTE)), contents(&left));

    packs.loads();
    assert_eq!(packs.fold(full, PEBIBYTE, &[(4, discards(RunKind::Hole, 0, PEBIBYTE))]), None);
    assert_eq!(packs.loads(), 0);
}

#[test]
fn zeros_all_over_are_a_page_of_words() {
    for blocks in [700, LEAF_BLOCKS, SMALL, 1 << 31, PEBIBYTE] {
        let mut packs = Packs::default();
        let root = packs.fold(None, blocks, &[(1, vec![run(0, blocks, RunKind::Zero)])]);
        let map = packs.load(root, blocks);
        assert_eq!(contents(&map), [Extent { lba: 0, blocks, address: Address::ZERO }]);
        assert!(map.memory_bytes() < 5 * 24 * 1024);
        let root = packs.fold(root, blocks, &[(2, vec![data(600, 1, 7)])]);
        let mut expected = Map::new(blocks);
        drop(expected.set_range(0, blocks, Address::ZERO));
        expected.apply_run(&data(600, 1, 7), segment(2));
        assert_eq!(contents(&packs.load(root, blocks)), contents(&expected));
    }
}

#[test]
fn pages_are_asked_for_sixteen_at_a_time() {
    let mut packs = Packs::default();
    let one_each = |slot| (0..300).map(|leaf| data(leaf * LEAF_BLOCKS + 9, 1, slot)).collect();
    let root = packs.fold(None, INNER_BLOCKS, &[(1, one_each(0))]);
    packs.load(root, INNER_BLOCKS);
    assert_eq!(packs.counts.lock().in_flight_max, PAGES_IN_FLIGHT);
    packs.loads();
    packs.fold(root, INNER_BLOCKS, &[(2, one_each(5))]);
    assert_eq!(packs.counts.lock().in_flight_max, PAGES_IN_FLIGHT);
    assert_eq!(packs.loads(), 301);
}

#[test]
fn of_a_large_map_only_the_paths_to_a_range_are_read() {
    let mut packs = Packs::default();
    let all = (0..2 * FANOUT).map(|leaf| data(leaf * LEAF_BLOCKS + 9, 1, 0)).collect();
    let root = packs.fold(None, PEBIBYTE, &[(1, all)]).expect("there is a root");
    packs.loads();
    let map = packs.try_load(root, PEBIBYTE, 10 * LEAF_BLOCKS - 1..10 * LEAF_BLOCKS + 1).expect("it loads");
    assert_eq!(packs.loads(), 5, "three inner pages and two leaves");
    assert_eq!(map.get(9 * LEAF_BLOCKS + 9), Address::segment(segment(1), 0));
    assert_eq!(map.get(8 * LEAF_BLOCKS + 9), Address::UNLOADED);
    assert_eq!(map.get(INNER_BLOCKS + 9), Address::UNLOADED);
    assert_eq!(map.get(2 * INNER_BLOCKS), Address::UNLOADED, "a hole, but nobody asked");
}

#[test]
fn pages_are_told_as_they_are_made() {
    let mut packs = Packs::default();
    let leaves = (0..5).map(|leaf| data(leaf * LEAF_BLOCKS, 9, 0)).collect();
    packs.fold(None, INNER_BLOCKS, &[(1, leaves)]);
    let made = std::mem::take(&mut *packs.made.lock());
    assert_eq!(made.len(), 6);
    for (reference, level, index, page) in made {
        assert_eq!(packs.page_now(&reference, level, index).expect("it is in the pack"), page);
    }
}

#[test]
fn what_does_not_fit_is_an_error() {
    let mut packs = Packs::default();
    let beyond = packs.try_fold(None, SMALL, &[(1, vec![data(SMALL - 1, 2, 0)])]);
    assert!(matches!(beyond, Err(EngineError::Damaged { .. })));
    // A map of a larger volume of the same height.
    let root = packs.fold(None, 4 * LEAF_BLOCKS, &[(1, vec![data(SMALL, 5, 0)])]);
    let top = root.expect("there is a root");
    assert!(matches!(packs.try_load(top, SMALL, 0..SMALL), Err(EngineError::Damaged { .. })));
    assert!(packs.try_load(top, SMALL, 0..LEAF_BLOCKS).is_ok(), "its leaf was not asked for");
    let folded = packs.try_fold(root, SMALL, &[(2, vec![data(SMALL - 1, 1, 0)])]);
    assert!(matches!(folded, Err(EngineError::Damaged { .. })));
    // A root of another height.
    assert!(packs.try_load(top, INNER_BLOCKS + 1, 0..1).is_err());
    assert!(packs.try_load(top, INNER_BLOCKS + 1, 0..0).is_err());
}

/// The root of another size, its new pages kept.
fn resized(packs: &mut Packs, old: Option<PageRef>, sizes: (u64, u64)) -> Result<Option<PageRef>> {
    let id = PackId([200 + packs.bytes.len() as u8; 16]);
    let mut writer = PackWriter::new(PoolId([1; 16]), id, AttemptId([2; 16]));
    let root = block_on(resize(packs, old, sizes, &mut writer))?;
    packs.bytes.insert(id, writer.finish());
    Ok(root)
}

#[test]
fn a_root_grows_and_shrinks() {
    let sizes = [700, LEAF_BLOCKS, SMALL, INNER_BLOCKS, INNER_BLOCKS + 3000, PEBIBYTE];
    for (index, small) in sizes.iter().copied().enumerate() {
        for large in sizes[index..].iter().copied() {
            let zeros = vec![run(0, small.min(LEAF_BLOCKS * FANOUT), RunKind::Zero)];
            for runs in [vec![], vec![data(small - 1, 1, 7)], zeros] {
                let mut packs = Packs::default();
                let root = packs.fold(None, small, &[(1, runs.clone())]);
                let before = contents(&packs.load(root, small));
                let grown = resized(&mut packs, root, (small, large)).unwrap();
                let mut map = Map::new(small);
                apply(&mut map, &[(1, runs)]);
                map.grow(large);
                assert_eq!(contents(&packs.load(grown, large)), contents(&map), "{small} to {large}");
                // Folded at the new size, and made holes again.
                let far = packs.fold(grown, large, &[(2, vec![data(large - 1, 1, 9)])]);
                if large > small {
                    assert!(packs.load(far, large).mapped_from(small).is_some());
                    let same_height = page::height(small) == page::height(large);
                    assert_eq!(
                        resized(&mut packs, far, (large, small)).is_ok(),
                        same_height,
                        "{large} to {small}"
                    );
                    let holes = vec![run(small, large - small, RunKind::Hole)];
                    let trimmed = packs.fold(far, large, &[(3, holes)]);
                    let shrunk = resized(&mut packs, trimmed, (large, small)).unwrap();
                    assert_eq!(contents(&packs.load(shrunk, small)), before, "{large} to {small}");
                }
            }
        }
    }
}
