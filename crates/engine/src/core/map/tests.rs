//! The map against a plain list of addresses, and its size and shape at a pebibyte.

use esker_format::{
    BLOCK_BYTES, Hash, PackId,
    page::{Child, LeafRun, PageRef},
    segment::RunKind,
};
use proptest::prelude::*;

use super::*;

mod evict;

const PEBIBYTE: u64 = (1 << 50) / BLOCK_BYTES as u64;
/// A few leaves, the last one cut off.
const SMALL: u64 = 3 * LEAF_BLOCKS + 700;

fn segment(counter: u32) -> SegmentId {
    SegmentId::new(1, counter).expect("a valid id")
}

fn slot(counter: u32, slot: u16) -> Address {
    Address::segment(segment(counter), slot)
}

fn log(position: u64) -> Address {
    Address::log(LogPosition(position))
}

fn extents(map: &Map, lba: u64, blocks: u64) -> Vec<Extent> {
    let mut out = Vec::new();
    map.resolve(lba, blocks, &mut out);
    out
}

fn extent(lba: u64, blocks: u64, address: Address) -> Extent {
    Extent { lba, blocks, address }
}

fn data(lba: u64, blocks: u64, first_slot: u16) -> Run {
    Run { lba, blocks, sequence: 1, kind: RunKind::Data { first_slot } }
}

/// The node's heap, counted by walking, with the shape checked on the way.
fn recount(node: &Node, level: u8) -> usize {
    match node {
        Node::Uniform(address) => {
            assert!(is_uniform(*address) || *address == Address::UNLOADED);
            0
        }
        Node::Runs(runs, _) => {
            assert_eq!(level, 0);
            assert!(!runs.is_empty() && runs.len() <= leaf::RUNS_MAX);
            12 * runs.len()
        }
        Node::Sparse(sparse, _) => {
            assert_eq!(level, 0);
            assert!(sparse.heap_bytes() < 8 * LEAF_BLOCKS as usize);
            32 + 12 * sparse.base.len() + 10 * sparse.places()
        }
        Node::Flat(words, _) => {
            assert_eq!(level, 0);
            8 * words.len()
        }
        Node::Inner { children, below_bytes, .. } => {
            let below: usize = children.iter().map(|child| recount(child, level - 1)).sum();
            assert_eq!(below, *below_bytes);
            24 * children.len() + below
        }
    }
}

/// What must hold after every change.
fn check_shape(map: &Map) {
    assert_eq!(map.memory_bytes(), size_of::<Map>() + recount(&map.root, map.level));
    if map.blocks < span(map.level) {
        map.root.visit(map.level, 0, map.blocks..span(map.level), &mut |beyond| {
            let nothing = [Address::HOLE, Address::UNLOADED].contains(&beyond.address);
            assert!(nothing, "beyond the end lies nothing");
        });
    }
}

#[derive(Debug, Clone)]
enum Step {
    Set {
        lba: u64,
        blocks: u64,
        to: Address,
    },
    Run {
        lba: u64,
        blocks: u64,
        kind: RunKind,
        counter: u32,
    },
    Write {
        lba: u64,
        blocks: u64,
    },
    /// A write that appended some writes ago and publishes only now.
    Late {
        lba: u64,
        blocks: u64,
        behind: u64,
    },
    /// Applies what the log holds of a range; `stale` expects an entry that is not there.
    Apply {
        lba: u64,
        blocks: u64,
        stale: bool,
    },
    /// The page of a leaf comes.
    Fill {
        leaf: u64,
    },
    /// The top page comes.
    FillTop,
    Inflate {
        lba: u64,
        blocks: u64,
    },
    Deflate {
        leaf: u64,
    },
}

fn range(max: u64) -> impl Strategy<Value = (u64, u64)> {
    let near_border = (0..=SMALL / LEAF_BLOCKS, -5i64..5)
        .prop_map(|(leaf, by)| (leaf * LEAF_BLOCKS).saturating_add_signed(by).min(SMALL - 1));
    let lba = prop_oneof![0..SMALL, near_border];
    let blocks = prop_oneof![4 => 1..20u64, 1 => 1..max, 1 => Just(LEAF_BLOCKS), 1 => Just(SMALL)];
    (lba, blocks).prop_map(move |(lba, blocks)| (lba, blocks.min(SMALL - lba).min(max)))
}

fn uniform() -> impl Strategy<Value = Address> {
    prop_oneof![Just(Address::HOLE), Just(Address::ZERO)]
}

fn kind() -> impl Strategy<Value = RunKind> {
    prop_oneof![
        3 => (0..20_000u16).prop_map(|first_slot| RunKind::Data { first_slot }),
        1 => Just(RunKind::Hole),
        1 => Just(RunKind::Zero),
        1 => (1..4u32, 0..20_000u16).prop_map(|(counter, first)| RunKind::Reference(slot(counter, first))),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let leaf = 0..SMALL.div_ceil(LEAF_BLOCKS);
    prop_oneof![
        2 => (range(SMALL), uniform()).prop_map(|((lba, blocks), to)| Step::Set { lba, blocks, to }),
        3 => (range(SMALL), kind(), 1..4u32)
            .prop_map(|((lba, blocks), kind, counter)| Step::Run { lba, blocks, kind, counter }),
        4 => range(256).prop_map(|(lba, blocks)| Step::Write { lba, blocks }),
        2 => (range(256), 0..4u64).prop_map(|((lba, blocks), behind)| Step::Late { lba, blocks, behind }),
        3 => (range(SMALL), any::<bool>())
            .prop_map(|((lba, blocks), stale)| Step::Apply { lba, blocks, stale }),
        2 => leaf.clone().prop_map(|leaf| Step::Fill { leaf }),
        1 => Just(Step::FillTop),
        1 => range(LEAF_BLOCKS).prop_map(|(lba, blocks)| Step::Inflate { lba, blocks }),
        2 => leaf.prop_map(|leaf| Step::Deflate { leaf }),
    ]
}

/// What the store has of a leaf.
#[derive(Debug, Clone)]
enum Stored {
    Hole,
    Zero,
    /// Gaps, and runs of zeros or data.
    Runs(Vec<(u16, u16, bool)>),
}

fn stored() -> impl Strategy<Value = Stored> {
    let run = (0..300u16, 1..200u16, any::<bool>());
    prop_oneof![
        1 => Just(Stored::Hole),
        1 => Just(Stored::Zero),
        3 => prop::collection::vec(run, 1..20).prop_map(Stored::Runs),
    ]
}

impl Stored {
    fn runs(&self, inside: u16) -> Vec<LeafRun> {
        match self {
            Stored::Hole => Vec::new(),
            Stored::Zero => vec![LeafRun { start: 0, blocks: inside, address: Address::ZERO }],
            Stored::Runs(pieces) => {
                let (mut runs, mut at) = (Vec::new(), 0);
                for (gap, blocks, zero) in pieces {
                    let start = at + gap;
                    if start + blocks > inside {
                        break;
                    }
                    let address = if *zero { Address::ZERO } else { slot(7, start) };
                    runs.push(LeafRun { start, blocks: *blocks, address });
                    at = start + blocks;
                }
                runs
            }
        }
    }
}

struct Model {
    blocks: Vec<Address>,
    position: u64,
    /// Of each leaf.
    stored: Vec<Stored>,
}

impl Model {
    fn new(start: Address, stored: Vec<Stored>) -> Model {
        Model { blocks: vec![start; SMALL as usize], position: 4096, stored }
    }

    fn set(&mut self, lba: u64, blocks: u64, first: Address) {
        for i in 0..blocks {
            self.blocks[(lba + i) as usize] = first.plus(i);
        }
    }

    fn extents(&self, lba: u64, blocks: u64) -> Vec<Extent> {
        let mut out: Vec<Extent> = Vec::new();
        for lba in lba..lba + blocks {
            let address = self.blocks[lba as usize];
            match out.last_mut() {
                Some(last) if last.address.plus(last.blocks) == address => last.blocks += 1,
                _ => out.push(extent(lba, 1, address)),
            }
        }
        out
    }

    fn run(&mut self, map: &mut Map, step: &Step) {
        match *step {
            Step::Set { lba, blocks, to } => {
                drop(map.set_range(lba, blocks, to));
                self.set(lba, blocks, to);
            }
            Step::Run { lba, blocks, kind, counter } => {
                let run = Run { lba, blocks, sequence: 1, kind };
                map.apply_run(&run, segment(counter));
                self.set(lba, blocks, run_extent(&run, segment(counter)).address);
            }
            Step::Write { lba, blocks } => {
                map.replay_write(lba, blocks, LogPosition(self.position));
                self.set(lba, blocks, log(self.position));
                self.position += 64 + blocks * BLOCK_BYTES as u64;
            }
            Step::Late { lba, blocks, behind } => self.late(map, lba, blocks, behind),
            Step::Apply { lba, blocks, stale } => self.apply(map, lba, blocks, stale),
            Step::Fill { leaf } => {
                let runs = self.learn(leaf);
                map.fill(0, leaf, &Page::Leaf(runs), &(0..u64::MAX));
            }
            Step::FillTop => self.fill_top(map),
            Step::Inflate { lba, blocks } => {
                map.inflate(lba, blocks);
                assert!(map.prepare(lba, blocks));
            }
            Step::Deflate { leaf } => self.deflate(map, leaf),
        }
    }

    fn late(&mut self, map: &Map, lba: u64, blocks: u64, behind: u64) {
        if !map.prepare(lba, blocks) {
            return;
        }
        let first = self.position.saturating_sub(behind * 100_000);
        map.publish(lba, blocks, LogPosition(first));
        for i in 0..blocks {
            let (ours, entry) = (log(first).plus(i), &mut self.blocks[(lba + i) as usize]);
            // Rule W4, as the model has it.
            if !(entry.is_log() && entry.raw() > ours.raw()) {
                *entry = ours;
            }
        }
        self.position += blocks * BLOCK_BYTES as u64;
    }

    fn apply(&mut self, map: &Map, lba: u64, blocks: u64, stale: bool) {
        for i in 0..blocks.min(3000) {
            let entry = &mut self.blocks[(lba + i) as usize];
            let to = slot(9, i as u16);
            match entry.kind() {
                esker_format::AddressKind::Log(position) if stale => {
                    assert!(!map.apply(lba + i, LogPosition(position.0 + 1), to));
                }
                esker_format::AddressKind::Log(position) => {
                    assert!(map.apply(lba + i, position, to));
                    *entry = to;
                }
                _ => assert!(!map.apply(lba + i, LogPosition(0), to)),
            }
        }
    }

    /// What is unloaded in a leaf becomes what the store has; returns its page's runs.
    fn learn(&mut self, leaf: u64) -> Vec<LeafRun> {
        let first = leaf * LEAF_BLOCKS;
        let inside = (SMALL - first).min(LEAF_BLOCKS);
        let runs = self.stored[leaf as usize].runs(inside as u16);
        let mut says = vec![Address::HOLE; inside as usize];
        for run in &runs {
            for i in 0..run.blocks {
                says[usize::from(run.start + i)] = run.address.plus(u64::from(i));
            }
        }
        let blocks = &mut self.blocks[first as usize..(first + inside) as usize];
        let unloaded = blocks.iter_mut().zip(says).filter(|(block, _)| **block == Address::UNLOADED);
        unloaded.for_each(|(block, says)| *block = says);
        runs
    }

    fn fill_top(&mut self, map: &mut Map) {
        let mut children = Vec::new();
        for leaf in 0..self.stored.len() as u64 {
            // The last leaf reaches beyond the end: its parent cannot say zeros of all of it.
            let whole = (leaf + 1) * LEAF_BLOCKS <= SMALL;
            match self.stored[leaf as usize] {
                Stored::Hole => drop(self.learn(leaf)),
                Stored::Zero if whole => {
                    self.learn(leaf);
                    children.push((leaf as u16, Child::Zero));
                }
                _ => children.push((leaf as u16, Child::Page(reference()))),
            }
        }
        map.fill(1, 0, &Page::Inner(children), &(0..u64::MAX));
    }

    fn deflate(&self, map: &mut Map, leaf: u64) {
        let lba = leaf * LEAF_BLOCKS;
        let blocks = LEAF_BLOCKS.min(SMALL - lba);
        let has_words = matches!(map.leaf_of(lba), Node::Flat(..) | Node::Sparse(..));
        let in_log = self.blocks[lba as usize..(lba + blocks) as usize].iter().any(|a| a.is_log());
        let before = map.memory_bytes();
        let done = map.deflate(leaf);
        assert!(!done || (has_words && !in_log && map.memory_bytes() < before));
        let runs = self.extents(lba, blocks).iter().filter(|e| e.address != Address::HOLE).count();
        let smaller = runs <= leaf::RUNS_MAX && 12 * runs < map.leaf_of(lba).heap_bytes();
        assert!(done || !has_words || in_log || !smaller);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn does_what_a_list_does(
        stored in prop::collection::vec(stored(), SMALL.div_ceil(LEAF_BLOCKS) as usize),
        opened in any::<bool>(),
        steps in prop::collection::vec((step(), range(SMALL)), 1..60),
    ) {
        // What is not unloaded no page changes.
        let (mut map, start) = match opened {
            true => (Map::unloaded(SMALL), Address::UNLOADED),
            false => (Map::new(SMALL), Address::HOLE),
        };
        let mut model = Model::new(start, stored);
        for (step, (lba, blocks)) in &steps {
            model.run(&mut map, step);
            prop_assert_eq!(extents(&map, *lba, *blocks), model.extents(*lba, *blocks), "after {:?}", step);
            prop_assert_eq!(map.get(*lba), model.blocks[*lba as usize]);
            check_shape(&map);
        }
        for (lba, address) in model.blocks.iter().enumerate() {
            prop_assert_eq!(map.get(lba as u64), *address);
        }
        let mut found = Vec::new();
        map.for_each_extent(|extent| found.push(extent));
        let mut expected = model.extents(0, SMALL);
        expected.retain(|extent| extent.address != Address::HOLE);
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn a_new_map_is_one_hole() {
    for blocks in [1, LEAF_BLOCKS, LEAF_BLOCKS + 1, SMALL, PEBIBYTE, BLOCKS_MAX] {
        let map = Map::new(blocks);
        assert_eq!(extents(&map, 0, blocks), [extent(0, blocks, Address::HOLE)]);
        assert_eq!(map.memory_bytes(), size_of::<Map>());
        assert!(!map.prepare(0, blocks.min(10)));
    }
}

#[test]
fn an_older_publish_never_replaces_a_newer_one() {
    let mut map = Map::new(SMALL);
    map.inflate(0, 10);
    map.publish(2, 4, LogPosition(1_000_000));
    map.publish(0, 10, LogPosition(4096));
    assert_eq!(
        extents(&map, 0, 10),
        [extent(0, 2, log(4096)), extent(2, 4, log(1_000_000)), extent(6, 4, log(4096 + 6 * 4096))]
    );
    map.publish(2, 4, LogPosition(2_000_000));
    assert_eq!(map.get(3), log(2_000_000 + 4096));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "threads that race for one block are the test")]
fn racing_publishers_leave_the_highest_position() {
    const ROUNDS: u64 = 50_000;
    let mut map = Map::new(LEAF_BLOCKS);
    map.inflate(0, LEAF_BLOCKS);
    let map = &map;
    std::thread::scope(|threads| {
        for thread in 0..4u64 {
            threads.spawn(move || {
                for round in 0..ROUNDS {
                    // Upwards on the whole, so that there is always something to replace, but sixteen
                    // at a time downwards, so that an older record often comes after a newer one.
                    let round = round ^ 15;
                    let ours = LogPosition((round * 4 + thread) * 4096 * 16);
                    map.publish(round % 7, 8, ours);
                    let found = map.get(round % 7);
                    assert!(found.raw() >= Address::log(ours).raw(), "{ours} was lost to {found}");
                }
            });
        }
    });
    for block in 0..14u64 {
        let expected = (0..ROUNDS)
            .filter(|round| (round % 7..round % 7 + 8).contains(&block))
            .flat_map(|round| {
                (0..4).map(move |thread| (round * 4 + thread) * 65536 + (block - round % 7) * 4096)
            })
            .max();
        assert_eq!(map.get(block), log(expected.expect("each block was published")));
    }
}

#[test]
fn apply_fails_where_nothing_names_the_log() {
    let mut map = Map::new(SMALL);
    assert!(!map.apply(5, LogPosition(4096), slot(1, 0)));
    map.replay_write(5, 1, LogPosition(4096));
    assert!(!map.apply(5, LogPosition(8192), slot(1, 0)));
    assert!(map.apply(5, LogPosition(4096), slot(1, 0)));
    assert!(!map.apply(5, LogPosition(4096), slot(1, 1)));
    assert_eq!(map.get(5), slot(1, 0));
    assert!(map.deflate(0));
    assert_eq!(
        extents(&map, 4, 3),
        [extent(4, 1, Address::HOLE), extent(5, 1, slot(1, 0)), extent(6, 1, Address::HOLE)]
    );
}

#[test]
fn slots_do_not_run_on_into_the_next_segment() {
    let mut map = Map::new(SMALL);
    map.apply_run(&data(10, 1, u16::MAX), segment(1));
    map.apply_run(&data(11, 1, 0), segment(2));
    assert_eq!(extents(&map, 10, 2), [extent(10, 1, slot(1, u16::MAX)), extent(11, 1, slot(2, 0))]);
}

#[test]
fn runs_merge_across_leaves_and_resolve_does_not_merge_with_what_was_there() {
    let mut map = Map::new(SMALL);
    map.apply_run(&data(1000, 4000, 0), segment(3));
    let mut out = vec![extent(0, 1000, Address::HOLE)];
    map.resolve(900, 4200, &mut out);
    assert_eq!(
        out[1..],
        [extent(900, 100, Address::HOLE), extent(1000, 4000, slot(3, 0)), extent(5000, 100, Address::HOLE)]
    );
}

#[test]
fn trims_of_a_pebibyte_touch_only_their_edges() {
    let mut map = Map::new(PEBIBYTE);
    // Leaves all over the volume, one path each.
    let stride = PEBIBYTE / 512;
    for i in 0..512 {
        map.apply_run(&data(i * stride + i, 5, 100), segment(1));
    }
    let full = map.memory_bytes();
    let garbage = map.set_range(10, PEBIBYTE - 20, Address::HOLE);
    // Two paths of three inner nodes, of which the root is one, and a leaf each.
    assert!(map.memory_bytes() < 5 * 24 * 1024 + 1024, "{} bytes are left", map.memory_bytes());
    assert!(garbage.memory_bytes() > full - 6 * 24 * 1024);
    check_shape(&map);
    assert_eq!(
        extents(&map, 0, PEBIBYTE),
        [extent(0, 5, slot(1, 100)), extent(5, PEBIBYTE - 5, Address::HOLE),]
    );

    drop(map.set_range(0, PEBIBYTE, Address::HOLE));
    assert_eq!(map.memory_bytes(), size_of::<Map>());
    drop(map.set_range(1, PEBIBYTE - 1, Address::ZERO));
    assert_eq!(
        extents(&map, 0, PEBIBYTE),
        [extent(0, 1, Address::HOLE), extent(1, PEBIBYTE - 1, Address::ZERO)]
    );
}

#[test]
fn trimming_piece_by_piece_gives_all_memory_back() {
    let blocks = 1 << 22;
    let mut map = Map::new(blocks);
    for lba in (0..blocks).step_by(65536) {
        map.apply_run(&data(lba, 60000, 0), segment(1));
    }
    map.inflate(7 * LEAF_BLOCKS, 1);
    for lba in (0..blocks).step_by(8192 + 64) {
        drop(map.set_range(lba, (8192 + 64).min(blocks - lba), Address::HOLE));
        check_shape(&map);
    }
    assert_eq!(map.memory_bytes(), size_of::<Map>());
}

fn reference() -> PageRef {
    PageRef { pack: PackId([0; 16]), offset: 0, bytes: 100, hash: Hash([0; 32]) }
}

#[test]
fn children_without_pages_are_known_with_their_parent() {
    let mut map = Map::unloaded(PEBIBYTE);
    let below = span(1);
    map.fill(2, 3, &Page::Inner(vec![(5, Child::Zero), (9, Child::Page(reference()))]), &(0..u64::MAX));
    let start = 3 * span(2);
    assert_eq!(
        extents(&map, start - 1, span(2) + 2),
        [
            extent(start - 1, 1, Address::UNLOADED),
            extent(start, 5 * below, Address::HOLE),
            extent(start + 5 * below, below, Address::ZERO),
            extent(start + 6 * below, 3 * below, Address::HOLE),
            extent(start + 9 * below, below, Address::UNLOADED),
            extent(start + 10 * below, 1014 * below, Address::HOLE),
            extent(start + 1024 * below, 1, Address::UNLOADED)
        ]
    );
    assert_eq!(map.memory_bytes(), size_of::<Map>() + 2 * 24 * 1024);
    check_shape(&map);
}

#[test]
fn a_page_that_comes_late_says_nothing_of_what_has_changed() {
    let mut map = Map::unloaded(PEBIBYTE);
    map.replay_write(10, 2, LogPosition(4096));
    drop(map.set_range(20, 5, Address::HOLE));
    map.apply_run(&data(LEAF_BLOCKS, 7, 0), segment(1));
    let page = |start| Page::Leaf(vec![LeafRun { start, blocks: 100, address: slot(9, start) }]);
    map.fill(0, 0, &page(5), &(0..u64::MAX));
    map.fill(0, 1, &page(0), &(0..u64::MAX));
    map.fill(0, 1, &page(50), &(0..u64::MAX));
    assert_eq!(
        extents(&map, 0, 2 * LEAF_BLOCKS),
        [
            extent(0, 5, Address::HOLE),
            extent(5, 5, slot(9, 5)),
            extent(10, 2, log(4096)),
            extent(12, 8, slot(9, 12)),
            extent(20, 5, Address::HOLE),
            extent(25, 80, slot(9, 25)),
            extent(105, LEAF_BLOCKS - 105, Address::HOLE),
            extent(LEAF_BLOCKS, 7, slot(1, 0)),
            extent(LEAF_BLOCKS + 7, 93, slot(9, 7)),
            extent(LEAF_BLOCKS + 100, LEAF_BLOCKS - 100, Address::HOLE),
        ]
    );
    check_shape(&map);
}

#[test]
fn a_scattered_quarter_takes_at_most_ten_bytes_a_block() {
    let mut map = Map::new(LEAF_BLOCKS * 64);
    let mut random = 1u64;
    let mut mapped = 0;
    for lba in 0..LEAF_BLOCKS * 64 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        if random >> 62 == 0 {
            map.replay_write(lba, 1, LogPosition(lba * 4096));
            assert!(map.apply(lba, LogPosition(lba * 4096), slot(1, lba as u16)));
            mapped += 1;
        }
    }
    (0..64).for_each(|leaf| assert!(map.deflate(leaf)));
    let bytes = map.memory_bytes() - 24 * 1024;
    assert!(bytes <= 10 * mapped, "{bytes} bytes for {mapped} blocks");
}

#[test]
fn many_runs_become_words_when_those_are_smaller() {
    let mut map = Map::new(LEAF_BLOCKS);
    for lba in 0..LEAF_BLOCKS {
        map.apply_run(&data(lba, 1, 3 * lba as u16), segment(1));
    }
    assert!(map.prepare(0, 1) && !map.deflate(0));
    assert_eq!(map.get(100), slot(1, 300));
    map.apply_run(&data(0, LEAF_BLOCKS, 0), segment(2));
    assert_eq!(map.memory_bytes(), size_of::<Map>() + 12);
}

#[test]
#[should_panic(expected = "only prepared leaves are published to")]
fn publishing_to_runs_is_refused() {
    Map::new(SMALL).publish(0, 1, LogPosition(4096));
}

#[test]
fn a_map_grows_and_shrinks_with_what_it_holds() {
    let sizes = [
        700,
        LEAF_BLOCKS,
        SMALL,
        LEAF_BLOCKS * FANOUT,
        LEAF_BLOCKS * FANOUT + 1,
        3 << 31,
        PEBIBYTE,
        BLOCKS_MAX,
    ];
    for (index, small) in sizes.iter().copied().enumerate() {
        for large in sizes[index..].iter().copied() {
            for held in [0, 1, 2] {
                let mut map = Map::new(small);
                match held {
                    0 => {}
                    1 => map.replay_write(small - 1, 1, LogPosition(4096)),
                    _ => drop(map.set_range(0, small, Address::ZERO)),
                }
                let before = extents(&map, 0, small);
                map.grow(large);
                check_shape(&map);
                assert_eq!(
                    (map.blocks(), extents(&map, 0, small)),
                    (large, before.clone()),
                    "{small} to {large}"
                );
                assert_eq!(map.mapped_from(small), None);
                map.replay_write(large - 1, 1, LogPosition(8192));
                let mapped = map.mapped_from(small);
                assert_eq!(mapped, (large > small).then_some(Mapped { first: large - 1, blocks: 1 }));
                if large > small {
                    drop(map.set_range(large - 1, 1, Address::HOLE));
                    drop(map.shrink(small));
                    check_shape(&map);
                    assert_eq!(
                        (map.blocks(), extents(&map, 0, small)),
                        (small, before),
                        "{large} to {small}"
                    );
                }
            }
        }
    }
}

#[test]
#[should_panic(expected = "only holes are cut off")]
fn what_is_mapped_is_not_cut_off() {
    let mut map = Map::new(SMALL);
    drop(map.set_range(SMALL - 1, 1, Address::ZERO));
    drop(map.shrink(SMALL - 1));
}

#[test]
fn the_stored_map_may_be_of_another_size() {
    const BLOCKS: u64 = LEAF_BLOCKS * FANOUT;
    let first = |child| Page::Inner(vec![(0, child)]);
    for (page, says) in [
        (Page::Inner(Vec::new()), Address::HOLE),
        (first(Child::Zero), Address::ZERO),
        (first(Child::Page(reference())), Address::UNLOADED),
    ] {
        let mut map = Map::unloaded(BLOCKS);
        map.replay_write(5, 1, LogPosition(4096));
        map.fill(2, 0, &page, &(0..u64::MAX));
        let ends = [extent(0, 5, says), extent(5, 1, log(4096)), extent(6, BLOCKS - 6, says)];
        assert_eq!(extents(&map, 0, BLOCKS), ends);
        map.fill(0, FANOUT, &Page::Leaf(Vec::new()), &(0..u64::MAX));
        map.fill(1, 1, &Page::Inner(Vec::new()), &(0..u64::MAX));
        check_shape(&map);
        map.grow(PEBIBYTE);
        assert_eq!(map.get(BLOCKS - 1), says);
        assert_eq!(map.get(BLOCKS), Address::HOLE);
        map.fill_holes();
        assert_eq!(map.get(SMALL) == Address::ZERO, says == Address::ZERO);
        assert!(extents(&map, 0, PEBIBYTE).iter().all(|extent| extent.address != Address::UNLOADED));
    }
}
