//! Laying runs over each other, and single pages.

use esker_format::{
    Hash,
    ids::{LogPosition, PackId},
};
use proptest::prelude::*;

use super::*;

const BLOCKS: u64 = 600;

fn segment(counter: u32) -> SegmentId {
    SegmentId::new(1, counter).expect("a valid id")
}

fn slot(counter: u32, slot: u16) -> Address {
    Address::segment(segment(counter), slot)
}

fn run(lba: u64, blocks: u64, kind: RunKind) -> Run {
    Run { lba, blocks, sequence: 1, kind }
}

fn extent(lba: u64, blocks: u64, address: Address) -> Extent {
    Extent { lba, blocks, address }
}

fn reference(offset: u64) -> PageRef {
    PageRef { pack: PackId([1; 16]), offset, bytes: 24, hash: Hash([2; 32]) }
}

fn runs() -> impl Strategy<Value = Vec<Run>> {
    let kind = prop_oneof![
        (0..2000u16).prop_map(|first_slot| RunKind::Data { first_slot }),
        Just(RunKind::Hole),
        Just(RunKind::Zero),
        (0..2000u16).prop_map(|first| RunKind::Reference(slot(99, first))),
    ];
    prop::collection::vec((0..60u64, 1..60u64, kind), 0..20).prop_map(|pieces| {
        let (mut at, mut runs) = (0, Vec::new());
        for (gap, blocks, kind) in pieces {
            if at + gap + blocks <= BLOCKS {
                runs.push(run(at + gap, blocks, kind));
                at += gap + blocks;
            }
        }
        runs
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_newest_segment_names_each_block(segments in prop::collection::vec(runs(), 0..9)) {
        let mut model = vec![None; BLOCKS as usize];
        for (counter, runs) in segments.iter().enumerate() {
            check_runs(segment(counter as u32), runs, BLOCKS).expect("the runs are good");
            for extent in runs.iter().map(|run| run_extent(run, segment(counter as u32))) {
                (0..extent.blocks).for_each(|i| model[(extent.lba + i) as usize] = Some(extent.address.plus(i)));
            }
        }
        let layers: Vec<_> =
            segments.iter().enumerate().map(|(counter, runs)| (segment(counter as u32), &runs[..])).collect();
        let flat = flatten(&layers);
        let mut found = vec![None; BLOCKS as usize];
        for extent in &flat {
            for i in 0..extent.blocks {
                prop_assert!(found[(extent.lba + i) as usize].replace(extent.address.plus(i)).is_none());
            }
        }
        prop_assert_eq!(found, model);
        for pair in flat.windows(2) {
            prop_assert!(pair[0].end() <= pair[1].lba && !pair[0].is_continued_by(&pair[1]));
        }
    }
}

#[test]
fn runs_that_no_volume_can_hold_are_damage() {
    let good = [run(0, 5, RunKind::Hole), run(5, 95, RunKind::Data { first_slot: 0 })];
    check_runs(segment(1), &good, 100).expect("the runs are good");
    let bad = [
        vec![run(0, 101, RunKind::Hole)],
        vec![run(100, 1, RunKind::Zero)],
        vec![run(u64::MAX, 2, RunKind::Zero)],
        vec![run(1, u64::MAX, RunKind::Zero)],
        vec![run(7, 0, RunKind::Zero)],
        vec![run(5, 5, RunKind::Hole), run(9, 1, RunKind::Hole)],
        vec![run(0, 50, RunKind::Data { first_slot: u16::MAX - 48 })],
        vec![run(0, 2, RunKind::Reference(slot(3, u16::MAX)))],
        vec![run(0, 1, RunKind::Reference(Address::log(LogPosition(4096))))],
        vec![run(0, 1, RunKind::Reference(Address::ZERO))],
        vec![run(0, 1, RunKind::Reference(Address::NOWHERE))],
    ];
    for runs in bad {
        let error = check_runs(segment(1), &runs, 100).expect_err("the runs are bad");
        assert!(
            matches!(&error, EngineError::Damaged { object, .. } if *object == names::segment(segment(1)))
        );
    }
}

#[test]
fn a_subtree_is_swapped_only_when_all_of_it_changes() {
    let place = Place { level: 0, index: 1 };
    let swap = |lba, blocks, to, size| swapped(&[extent(lba, blocks, to)], place, size);
    assert_eq!(swap(2048, 2048, Address::HOLE, 9999), Some(Subtree::Hole));
    assert_eq!(swap(0, 9999, Address::ZERO, 9999), Some(Subtree::Zero));
    assert_eq!(swap(2049, 2047, Address::ZERO, 9999), None);
    assert_eq!(swap(2048, 2047, Address::HOLE, 9999), None);
    // The volume ends inside the leaf: what is beyond is a hole, never zeros.
    assert_eq!(swap(2048, 1000, Address::HOLE, 3048), Some(Subtree::Hole));
    assert_eq!(swap(2048, 1000, Address::ZERO, 3048), None);
    assert_eq!(swap(2048, 2048, slot(1, 0), 9999), None);
}

#[test]
fn a_page_is_replaced_when_no_block_is_left() {
    let place = Place { level: 0, index: 1 };
    let parts =
        [extent(2000, 100, slot(1, 0)), extent(2100, 1900, Address::HOLE), extent(4000, 96, slot(2, 0))];
    assert!(replaces(&parts, place, 9999));
    assert!(replaces(&parts[..2], place, 4000));
    assert!(!replaces(&parts[..2], place, 4001));
    assert!(!replaces(&[parts[0], parts[2]], place, 9999));
    assert!(!replaces(&parts[1..], place, 9999));
}

#[test]
fn what_is_left_of_a_leaf_is_what_no_change_names() {
    let place = Place { level: 0, index: 1 };
    let leaf = |start, blocks, address| LeafRun { start, blocks, address };
    let runs = [leaf(0, 10, slot(1, 5)), leaf(10, 5, Address::ZERO), leaf(20, 10, slot(2, 0))];
    let changes = [
        extent(2000, 50, slot(9, 0)),
        extent(2051, 1, Address::HOLE),
        extent(2055, 8, slot(9, 50)),
        extent(2070, 3, Address::ZERO),
        extent(2077, 99, slot(9, 60)),
    ];
    let expected = [
        extent(2050, 1, slot(1, 7)),
        extent(2052, 3, slot(1, 9)),
        extent(2068, 2, slot(2, 0)),
        extent(2073, 4, slot(2, 5)),
    ];
    assert_eq!(left(&runs, place, &changes), expected);
    assert_eq!(left(&runs[..1], place, &[]), [extent(2048, 10, slot(1, 5))]);
    assert_eq!(Cover::of(&changes, place, 9999), Cover::Partly);
    assert_eq!(Cover::of(&changes[..1], place, 2050), Cover::Hidden);
    assert_eq!(Cover::of(&changes, Place { level: 0, index: 2 }, 9999), Cover::Bare);
}

#[test]
fn touched_children_get_their_own_changes() {
    let changes = [extent(10, 5, slot(1, 0)), extent(2000, 100, Address::ZERO), extent(9000, 1, slot(1, 9))];
    let place = Place { level: 1, index: 0 };
    assert_eq!(touched(&changes, place), [(0, &changes[..2]), (1, &changes[1..2]), (4, &changes[2..])]);
    let whole = [extent(0, span(1) + 1, Address::HOLE)];
    assert_eq!(touched(&whole, place).len(), 1024);
    assert_eq!(touched(&whole, Place { level: 1, index: 1 }), [(0, &whole[..])]);
}

#[test]
fn inner_pages_keep_the_children_that_nothing_touched() {
    let old = [(1, Child::Page(reference(1))), (2, Child::Zero), (5, Child::Page(reference(5)))];
    let new =
        vec![(0, Subtree::Zero), (1, Subtree::Hole), (4, Subtree::Hole), (5, Subtree::Page(reference(9)))];
    assert_eq!(fold_inner(&old, new), [(0, Child::Zero), (2, Child::Zero), (5, Child::Page(reference(9)))]);
    assert_eq!(child_of(&old, 2), Subtree::Zero);
    assert_eq!(child_of(&old, 3), Subtree::Hole);
    assert_eq!(child_of(&old, 5), Subtree::Page(reference(5)));
}

#[test]
fn pages_that_reach_beyond_the_volume_are_refused() {
    let leaf = |blocks| Page::Leaf(vec![LeafRun { start: 10, blocks, address: Address::ZERO }]);
    let place = Place { level: 0, index: 2 };
    assert!(check_page(&leaf(90), place, 4196).is_ok());
    assert!(check_page(&leaf(91), place, 4196).is_err());
    assert!(check_page(&Page::Inner(Vec::new()), place, 9999).is_err());
    let top = Place { level: 1, index: 0 };
    assert!(check_page(&Page::Inner(vec![(1, Child::Page(reference(0)))]), top, 2049).is_ok());
    assert!(check_page(&Page::Inner(vec![(2, Child::Page(reference(0)))]), top, 4096).is_err());
    assert!(check_page(&Page::Inner(vec![(1, Child::Zero)]), top, 4095).is_err());
    assert!(check_page(&Page::Inner(vec![(1, Child::Zero)]), top, 4096).is_ok());
    assert!(check_page(&leaf(1), top, 4096).is_err());
}
