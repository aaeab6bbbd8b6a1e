//! What heads show and name, without a store.

use esker_format::{
    ids::PackId,
    page::LeafRun,
    segment::{Run, RunKind},
};

use super::*;

const WHOLE: Under<'static> = Under { blocks: 1 << 20, changes: &[] };

fn id(counter: u32) -> SegmentId {
    SegmentId { writer: 1, counter }
}

#[test]
fn a_tail_counts_what_its_runs_name_here_and_elsewhere() {
    let run = |lba, blocks, kind| Run { lba, blocks, sequence: 1, kind };
    let runs = vec![
        run(0, 4, RunKind::Data { first_slot: 2 }),
        run(10, 3, RunKind::Reference(Address::segment(id(7), 40))),
        run(20, 9, RunKind::Zero),
        run(30, 2, RunKind::Reference(Address::segment(id(1), 9))),
    ];
    let index = SegmentIndex {
        id: id(1),
        first_sequence: 1,
        last_sequence: 1,
        frames: Vec::new(),
        runs,
        slots: 11,
        rewrite: None,
    };
    let mut mark = Mark::default();
    mark.index(&index);
    let own = &mark.segments[&id(1)];
    assert_eq!((own.perhaps.runs(), own.tail, own.whole), (vec![(2, 4), (9, 2)], Some(11), true));
    let other = &mark.segments[&id(7)];
    assert_eq!((other.perhaps.runs(), other.tail), (vec![(40, 3)], None));
}

/// Rule R5.
#[test]
fn what_two_leaves_name_is_counted_from_both() {
    let leaf =
        |slot, blocks| Page::Leaf(vec![LeafRun { start: 0, blocks, address: Address::segment(id(1), slot) }]);
    let (mut mark, place) = (Mark { surely: true, ..Mark::default() }, Place { level: 0, index: 0 });
    mark.page(&mut Vec::new(), place, &leaf(0, 10), &WHOLE);
    mark.page(&mut Vec::new(), place, &leaf(5, 10), &WHOLE);
    mark.open = true;
    mark.page(&mut Vec::new(), place, &leaf(5, 1), &WHOLE);
    let reached = &mark.segments[&id(1)];
    assert_eq!((reached.live.runs(), reached.open), (vec![(0, 15)], true));
}

/// What the tail hides counts of no page; a page that another head shows whole counts in full, before or after.
#[test]
fn a_leaf_under_a_tail_counts_for_what_shows_of_it() {
    let page = Page::Leaf(vec![LeafRun { start: 0, blocks: 10, address: Address::segment(id(1), 0) }]);
    let changes = [Extent { lba: 2, blocks: 3, address: Address::HOLE }];
    let (under, place) = (Under { blocks: 1 << 20, changes: &changes }, Place { level: 0, index: 0 });
    let mut mark = Mark { surely: true, ..Mark::default() };
    mark.page(&mut Vec::new(), place, &page, &under);
    assert_eq!(mark.segments[&id(1)].live.runs(), [(0, 2), (5, 5)]);
    // Older heads may name more, and what they name besides is told apart.
    mark.surely = false;
    mark.page(&mut Vec::new(), place, &page, &WHOLE);
    let reached = &mark.segments[&id(1)];
    assert_eq!((reached.live.count(), reached.stay().runs(), reached.count()), (7, vec![(0, 10)], 10));
}

#[test]
fn a_page_is_read_for_each_tail_over_it_until_it_counts_in_full() {
    let hash = esker_format::ids::Hash([0; 32]);
    let reference = PageRef { pack: PackId([1; 16]), offset: 64, bytes: 24, hash };
    let place = Place { level: 0, index: 0 };
    let some = [Extent { lba: 2, blocks: 3, address: Address::HOLE }];
    let all = [Extent { lba: 0, blocks: 1 << 20, address: Address::HOLE }];
    let mut mark = Mark::default();
    let mut reads = |changes: &[Extent]| {
        let mut waiting = Vec::new();
        mark.visit(&mut waiting, place, reference, &Under { blocks: 1 << 20, changes });
        assert!(mark.packs.contains(&reference.pack), "whoever walks down finds it");
        waiting.len()
    };
    let read: Vec<usize> = [&all[..], &some, &some, &[], &some, &[], &all].map(&mut reads).into();
    assert_eq!(read, [0, 1, 1, 1, 0, 0, 0]);
}
