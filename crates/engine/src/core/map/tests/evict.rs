//! Letting go of leaves, and the tables of sparse ones.

use std::collections::VecDeque;

use super::*;

/// A map that forgets, the truth, and the roots that the store has.
struct World {
    map: Map,
    truth: Vec<Address>,
    /// Sequence and contents of each root, oldest first.
    roots: Vec<(u64, Vec<Address>)>,
    sequence: u64,
    /// Leaves whose pages were asked for, each with its root's sequence, and what that says.
    loads: VecDeque<(u64, u64, Vec<LeafRun>)>,
}

#[derive(Debug, Clone)]
enum Move {
    Write {
        lba: u64,
        blocks: u64,
    },
    Set {
        lba: u64,
        blocks: u64,
        to: Address,
    },
    /// Everything in the log goes to a segment, and into the map.
    Apply,
    /// A root holds everything, once nothing names the log.
    Root,
    Sweep {
        work: usize,
        /// A block that somebody needs.
        pinned: u64,
    },
    /// Somebody takes the newest root and asks for the page of a leaf.
    Load {
        leaf: u64,
    },
    /// The page comes that was asked for first.
    Loaded,
    /// A top page comes, of the newest root or an older one.
    FillTop {
        age: usize,
    },
    Deflate {
        leaf: u64,
    },
    Read {
        lba: u64,
    },
}

fn one_move() -> impl Strategy<Value = Move> {
    let leaf = 0..SMALL.div_ceil(LEAF_BLOCKS);
    prop_oneof![
        4 => range(40).prop_map(|(lba, blocks)| Move::Write { lba, blocks }),
        2 => (range(SMALL), uniform()).prop_map(|((lba, blocks), to)| Move::Set { lba, blocks, to }),
        3 => Just(Move::Apply),
        3 => Just(Move::Root),
        6 => (1..400usize, 0..2 * SMALL).prop_map(|(work, pinned)| Move::Sweep { work, pinned }),
        4 => leaf.clone().prop_map(|leaf| Move::Load { leaf }),
        3 => Just(Move::Loaded),
        2 => (0..3usize).prop_map(|age| Move::FillTop { age }),
        1 => leaf.prop_map(|leaf| Move::Deflate { leaf }),
        1 => (0..SMALL).prop_map(|lba| Move::Read { lba }),
    ]
}

impl World {
    fn new() -> World {
        let truth = vec![Address::HOLE; SMALL as usize];
        World {
            map: Map::new(SMALL),
            roots: vec![(0, truth.clone())],
            truth,
            sequence: 0,
            loads: VecDeque::new(),
        }
    }

    fn run(&mut self, step: &Move) {
        match *step {
            Move::Write { lba, blocks } => {
                self.sequence += 1;
                let position = self.sequence << 24;
                if !self.map.prepare(lba, blocks) {
                    self.map.inflate(lba, blocks);
                    assert!(self.map.prepare(lba, blocks), "room was made");
                }
                self.map.publish(lba, blocks, LogPosition(position));
                for i in 0..blocks {
                    self.truth[(lba + i) as usize] = log(position).plus(i);
                }
            }
            Move::Set { lba, blocks, to } => {
                self.sequence += 1;
                drop(self.map.set_range(lba, blocks, to));
                self.truth[lba as usize..(lba + blocks) as usize].fill(to);
            }
            Move::Apply => self.apply(),
            Move::Root => {
                if !self.truth.iter().any(|address| address.is_log()) {
                    self.roots.push((self.sequence, self.truth.clone()));
                }
            }
            Move::Sweep { work, pinned } => self.sweep(work, pinned),
            Move::Load { leaf } => {
                let runs = runs_in(self.newest(), leaf);
                let sequence = self.roots.last().expect("there is a root").0;
                self.loads.push_back((leaf, sequence, runs));
            }
            Move::Loaded => {
                if let Some((leaf, sequence, runs)) = self.loads.pop_front()
                    && self.map.takes(sequence)
                {
                    self.map.fill(0, leaf, &Page::Leaf(runs), &(0..u64::MAX));
                }
            }
            Move::FillTop { age } => self.fill_top(age),
            Move::Deflate { leaf } => drop(self.map.deflate(leaf)),
            Move::Read { lba } => drop(self.map.get(lba)),
        }
    }

    fn apply(&mut self) {
        for (lba, address) in self.truth.iter_mut().enumerate() {
            if let esker_format::AddressKind::Log(position) = address.kind() {
                // Some address of its own.
                let to = Address::segment(segment((position.0 >> 24) as u32 + 1), lba as u16);
                assert!(self.map.apply(lba as u64, position, to), "block {lba} names the log");
                *address = to;
            }
        }
    }

    fn sweep(&mut self, work: usize, pinned: u64) {
        let root_sequence = self.roots.last().expect("there is a root").0;
        let pinned = pinned..pinned + 1;
        let held = self.map.blocks > pinned.start && self.map.get(pinned.start) != Address::UNLOADED;
        let loads = self.loads.iter().map(|(leaf, ..)| leaf * LEAF_BLOCKS..(leaf + 1) * LEAF_BLOCKS);
        let ranges: Vec<_> = loads.chain([pinned.clone()]).collect();
        let facts = Facts { last_sequence: self.sequence, root_sequence, pinned: &ranges };
        let swept = self.map.sweep(&facts, work);
        assert!(swept.leaves == 0 || !swept.garbage.is_empty());
        assert!(!held || self.map.get(pinned.start) != Address::UNLOADED, "a pinned leaf has gone");
    }

    /// What the newest root says.
    fn newest(&self) -> &[Address] {
        &self.roots.last().expect("there is a root").1
    }

    fn fill_top(&mut self, age: usize) {
        let (sequence, contents) = self.roots[self.roots.len().saturating_sub(age + 1)].clone();
        if !self.map.takes(sequence) {
            assert!(age > 0, "the newest root is always taken");
            return;
        }
        let leaves = SMALL.div_ceil(LEAF_BLOCKS);
        let children = (0..leaves).filter_map(|leaf| match &runs_in(&contents, leaf)[..] {
            [] => None,
            [all] if u64::from(all.blocks) == LEAF_BLOCKS && all.address == Address::ZERO => {
                Some((leaf as u16, Child::Zero))
            }
            _ => Some((leaf as u16, Child::Page(reference()))),
        });
        self.map.fill(1, 0, &Page::Inner(children.collect()), &(0..u64::MAX));
    }

    /// Every block says the truth, or the newest root does.
    fn check(&self) {
        let newest = self.newest();
        let mut found = Vec::new();
        self.map.root.visit(self.map.level, 0, 0..SMALL, &mut |extent| found.push(extent));
        for extent in found {
            for i in 0..extent.blocks {
                let (lba, address) = ((extent.lba + i) as usize, extent.address.plus(i));
                let says = if address == Address::UNLOADED { newest[lba] } else { address };
                assert_eq!(says, self.truth[lba], "block {lba}, which the map calls {address}");
            }
        }
        check_shape(&self.map);
    }
}

fn runs_in(contents: &[Address], leaf: u64) -> Vec<LeafRun> {
    let mut builder = RunBuilder::default();
    let first = (leaf * LEAF_BLOCKS) as usize;
    for (block, address) in contents[first..].iter().take(LEAF_BLOCKS as usize).enumerate() {
        builder.push(block as u16, 1, *address);
    }
    builder.finish()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_let_go_of_the_newest_root_says(moves in prop::collection::vec(one_move(), 1..80)) {
        let mut world = World::new();
        for step in &moves {
            world.run(step);
            world.check();
        }
        // Once a root holds everything and nobody waits, nothing has to stay.
        while !world.loads.is_empty() {
            world.run(&Move::Loaded);
        }
        world.run(&Move::Apply);
        world.run(&Move::Root);
        for _ in 0..3 {
            // A check reads, and what was read stays for another turn.
            world.run(&Move::Sweep { work: 100_000, pinned: 2 * SMALL });
        }
        prop_assert!(world.map.memory_bytes() <= size_of::<Map>() + 24 * 1024 + 12);
        world.check();
    }
}

#[test]
fn a_large_map_goes_down_to_its_top() {
    let memory = Arc::new(MapMemory::new(1 << 30));
    let mut map = Map::new(PEBIBYTE);
    map.charge(memory.clone());
    for i in 0..1000 {
        map.replay_write(i * (PEBIBYTE / 1000), 1, LogPosition((i + 1) * 8192));
        assert!(map.apply(i * (PEBIBYTE / 1000), LogPosition((i + 1) * 8192), slot(1, i as u16)));
    }
    assert_eq!(memory.used(), map.memory_bytes() as u64);
    let mut turns = 0;
    let facts = |root_sequence| Facts { last_sequence: 1000, root_sequence, pinned: &[] };
    while turns < 4 {
        turns += usize::from(map.sweep(&facts(999), 4096).turned);
    }
    assert!(memory.used() > 1000 * 24 * 1024, "a root that lacks the last change lets nothing go");
    while turns < 8 {
        turns += usize::from(map.sweep(&facts(1000), 4096).turned);
    }
    // What reaches beyond the end stays, for its holes there.
    assert_eq!(map.memory_bytes(), size_of::<Map>() + 24 * 1024);
    assert_eq!(map.get(0), Address::UNLOADED);
    drop(map);
    assert_eq!(memory.used(), 0);
}

#[test]
fn a_sparse_leaf_takes_ten_bytes_a_place() {
    let mut map = Map::unloaded(PEBIBYTE);
    for (writes, bytes) in [(1u64, 40), (4, 40), (5, 80), (100, 1280), (512, 5120)] {
        for i in 0..writes {
            // Scattered, each block once.
            map.replay_write(i * 1021 % LEAF_BLOCKS, 1, LogPosition(8192 * (writes * 4096 + i)));
        }
        assert_eq!(map.leaf_of(0).heap_bytes(), 32 + 12 + bytes, "after {writes} writes");
    }
    map.replay_write(1600 * 1021 % LEAF_BLOCKS, 1, LogPosition(1 << 40));
    assert_eq!(map.leaf_of(0).heap_bytes(), 8 * LEAF_BLOCKS as usize);
    assert_eq!(map.get(1021), log(8192 * (512 * 4096 + 1)));
    assert_eq!(map.get(LEAF_BLOCKS - 1), Address::UNLOADED);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "threads that race for places are the test")]
fn racing_writers_share_the_places_of_a_table() {
    for round in 0..200u64 {
        let mut map = Map::unloaded(LEAF_BLOCKS);
        map.inflate(0, 1);
        map.inflate(round % 64, 33);
        let map = &map;
        let taken: Vec<Vec<u64>> = std::thread::scope(|threads| {
            let writers = (0..4u64).map(|thread| {
                threads.spawn(move || {
                    let blocks = (0..40).map(|i| (i * 37 + round + thread * 1200) % LEAF_BLOCKS);
                    let shared = (0..40).map(|i| i * 11);
                    let mut done = Vec::new();
                    for (own, shared) in blocks.zip(shared) {
                        for lba in [own, shared] {
                            if map.prepare(lba, 1) {
                                map.publish(lba, 1, LogPosition((lba * 4 + thread + 1) * 4096));
                                done.push(lba);
                            }
                        }
                    }
                    done
                })
            });
            let writers: Vec<_> = writers.collect();
            writers.into_iter().map(|writer| writer.join().expect("no writer panics")).collect()
        });
        for (thread, lba) in taken
            .iter()
            .enumerate()
            .flat_map(|(thread, done)| done.iter().map(move |lba| (thread as u64, *lba)))
        {
            let found = map.get(lba);
            assert!(found.raw() >= log((lba * 4 + thread + 1) * 4096).raw(), "block {lba} says {found}");
        }
    }
}
