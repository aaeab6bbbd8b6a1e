//! Measured against a model that walks every head by itself, and counts slot by slot.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use bytes::Bytes;
use esker_format::{
    address::AddressKind,
    head::{Head, HeadKind},
    ids::{AttemptId, DirectoryId, SegmentId},
    name::NameState,
    page::Page,
    property::{Compression, Durability, Properties},
    segment::SegmentIndex,
};
use esker_io::{InlineCpu, LocalDisk, SystemClock, SystemRandom, World, objects, sync::Arc};

use super::*;
use crate::{
    checkpoint,
    core::fold::Place,
    host::Host,
    volume::{Change, Limits, Scratch, Volume, WriteStep},
};

const BLOCK: usize = BLOCK_BYTES;
const SIZE: u64 = 16 << 20;

async fn host(store: &str, heads_kept: usize) -> (tempfile::TempDir, Host) {
    let directory = tempfile::tempdir().unwrap();
    let world = World {
        disk: Arc::new(LocalDisk::open(directory.path()).unwrap()),
        objects: objects::open(store).unwrap(),
        clock: Arc::new(SystemClock::new()),
        random: Arc::new(SystemRandom),
        cpu: Arc::new(InlineCpu),
    };
    let pool = Arc::new(Pool::create(world, Properties::default(), 1 << 20).await.unwrap());
    let spawn = Arc::new(|work| {
        tokio::spawn(work);
    });
    let limits = Limits { seal_age: std::time::Duration::ZERO, heads_kept, ..Limits::default() };
    (directory, Host::new(pool, DirectoryId([1; 16]), limits, spawn))
}

/// Writes blocks that differ, and compress more or less.
fn write(volume: &Arc<Volume>, first: u64, blocks: u64, seed: u64) {
    let mut scratch = Scratch::default();
    for block in first..first + blocks {
        let mut data = [0; BLOCK];
        let mut word = (block + 1) * 0x9e37_79b9 + seed;
        let random = BLOCK / 8 * (1 + (block % 7) as usize) / 8;
        for chunk in data.chunks_mut(8).take(random) {
            word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        data[BLOCK - 1] = 1;
        volume.change(&[Change::Write { offset: block * BLOCK as u64, data: &data }], &mut scratch);
        assert!(matches!(scratch.steps[..], [WriteStep::Done]));
    }
}

/// Another volume that begins with a state of this one, as it stands in the store.
async fn fork(pool: &Pool, of: &Head, name: &str) -> Head {
    let mut copy = [name.as_bytes()[0]; 16];
    copy[15] = name.len() as u8;
    let head = Head {
        volume: VolumeId(copy),
        number: 1,
        epoch: 1,
        attempt: AttemptId(copy),
        previous: None,
        kind: HeadKind::Released,
        ..of.clone()
    };
    put(pool, &head).await;
    pool.set_name(name, None, NameState::Bound(head.volume)).await.unwrap();
    head
}

async fn put(pool: &Pool, head: &Head) {
    let name = names::head(head.volume, head.number);
    pool.world().objects.put_new(&name, Bytes::from(head.encode())).await.unwrap();
}

/// Who reaches each slot: volumes, and whether by their newest head.
#[derive(Default)]
struct Model {
    slots: BTreeMap<(SegmentId, u16), BTreeSet<(VolumeId, bool)>>,
    packs: BTreeSet<String>,
    indexes: BTreeMap<SegmentId, Arc<SegmentIndex>>,
}

impl Model {
    async fn of(pool: &Pool) -> Model {
        let mut model = Model::default();
        let mut heads = Vec::new();
        for object in pool.fetcher().list(&names::volumes()).await.unwrap() {
            let Some(ObjectName::Head { volume, number }) = names::parse(&object.name) else { continue };
            heads.push(pool.head(volume, number).await.unwrap().unwrap());
        }
        for head in &heads {
            let newest =
                heads.iter().filter(|other| other.volume == head.volume).map(|head| head.number).max();
            let deleted = |other: &Head| other.volume == head.volume && other.kind == HeadKind::Deleted;
            if !heads.iter().any(deleted) {
                let shows = |other: &Head| (other.root, other.size_bytes, other.tail.clone());
                let is_newest = |other: &&Head| {
                    !heads.iter().any(|above| above.volume == other.volume && above.number > other.number)
                };
                // What is somebody's newest state as well is walked as that.
                let shown = heads.iter().filter(is_newest).any(|other| shows(other) == shows(head));
                model.head(pool, head, newest == Some(head.number), shown).await;
            }
        }
        model
    }

    /// All that a head names, or what it shows: each block looked up by itself.
    async fn head(&mut self, pool: &Pool, head: &Head, newest: bool, shown: bool) {
        let by = (head.volume, newest);
        let (mut runs, mut blocks_now) = (Vec::new(), BTreeMap::new());
        if let Some(root) = head.root {
            self.packs.insert(names::pack(root.pack));
            let blocks = head.size_bytes / BLOCK_BYTES as u64;
            let found =
                |place: Place, page: &Page| match page {
                    Page::Leaf(leaf) => runs.extend(leaf.iter().map(|run| {
                        (place.start() + u64::from(run.start), run.address, u64::from(run.blocks))
                    })),
                    Page::Inner(children) => {
                        self.packs.extend(children.iter().filter_map(|(_, child)| match child {
                            esker_format::page::Child::Page(reference) => Some(names::pack(reference.pack)),
                            esker_format::page::Child::Zero => None,
                        }))
                    }
                };
            checkpoint::load(pool.fetcher(), root, blocks, &(0..blocks), found).await.unwrap();
        }
        for segment in &head.tail {
            let index = pool.fetcher().index(segment.id, None).await.unwrap();
            runs.extend(index.runs.iter().map(|run| (run.lba, run.address(segment.id), run.blocks)));
            self.indexes.insert(segment.id, index);
        }
        if shown {
            for (lba, address, blocks) in std::mem::take(&mut runs) {
                blocks_now.extend((0..blocks).map(|block| (lba + block, address.plus(block))));
            }
            runs.extend(blocks_now.into_iter().map(|(lba, address)| (lba, address, 1)));
        }
        for (_, address, blocks) in runs {
            let AddressKind::Segment(id, first) = address.kind() else { continue };
            if let Entry::Vacant(missing) = self.indexes.entry(id) {
                missing.insert(pool.fetcher().index(id, None).await.unwrap());
            }
            for slot in u64::from(first)..u64::from(first) + blocks {
                self.slots.entry((id, slot as u16)).or_default().insert(by);
            }
        }
    }

    fn bytes(&self, (segment, slot): &(SegmentId, u16)) -> u64 {
        let frame = self.indexes[segment].frame_of(*slot).unwrap();
        let (bytes, blocks) = (frame.stored_bytes, u32::from(frame.blocks));
        u64::from(bytes / blocks + u32::from(u32::from(*slot) - frame.first_place < bytes % blocks))
    }

    /// The bytes of slots whose holders are such.
    fn sum(&self, such: impl Fn(&BTreeSet<(VolumeId, bool)>) -> bool) -> u64 {
        self.slots.iter().filter(|(_, by)| such(by)).map(|(slot, _)| self.bytes(slot)).sum()
    }

    fn check(&self, space: &Space) {
        let only = |by: &BTreeSet<(VolumeId, bool)>, volume| by.iter().all(|(holder, _)| *holder == volume);
        for found in &space.volumes {
            let volume = found.volume;
            let own = |newest| by_newest(volume, newest);
            let expected = VolumeSpace {
                referenced_bytes: self.sum(own(true)),
                shared_bytes: self.sum(|by| own(true)(by) && !only(by, volume)),
                exclusive_bytes: self.sum(|by| only(by, volume)),
                history_bytes: self.sum(|by| only(by, volume) && !own(true)(by)),
                ..found.clone()
            };
            assert_eq!(*found, expected);
        }
        // The union of what is exclusive and what is shared is what lives.
        let exclusive: u64 = space.volumes.iter().map(|volume| volume.exclusive_bytes).sum();
        assert_eq!(space.exclusive_bytes, exclusive);
        assert_eq!(space.live_bytes(), self.sum(|_| true));
        // All slots that are stored, with their frames: live and dead.
        let frames = self.indexes.values().flat_map(|index| &index.frames);
        assert_eq!(
            space.live_bytes() + space.dead_bytes,
            frames.map(|frame| u64::from(frame.stored_bytes)).sum::<u64>()
        );
        assert_eq!(space.pages.objects, self.packs.len() as u64);
        assert_eq!(space.sum_bytes(), space.stored.bytes);
    }
}

fn by_newest(volume: VolumeId, newest: bool) -> impl Fn(&BTreeSet<(VolumeId, bool)>) -> bool {
    move |by| by.contains(&(volume, newest))
}

/// Measures, and compares with the model.
async fn checked(pool: &Pool) -> Space {
    let space = measure(pool, &|_, _| ()).await.unwrap();
    Model::of(pool).await.check(&space);
    space
}

fn of<'a>(space: &'a Space, name: &str) -> &'a VolumeSpace {
    space.volumes.iter().find(|volume| volume.name.as_deref() == Some(name)).expect("a volume of that name")
}

fn properties() -> Properties {
    let (durability, compression) = (Durability::Ephemeral, Compression::Lz4);
    Properties { durability: Some(durability), compression: Some(compression), ..Properties::default() }
}

/// Writes, and brings it all into segments and pages.
async fn settle(host: &Host, name: &str, first: u64, blocks: u64, seed: u64) -> Head {
    let volume = host.open(name, None).await.unwrap().0;
    write(&volume, first, blocks, seed);
    assert!(host.drain().await.is_empty());
    let id = host.pool().lookup(name).await.unwrap().unwrap();
    host.pool().newest_head(id).await.unwrap().head
}

#[tokio::test]
async fn forks_share_what_neither_has_overwritten() {
    let (_directory, host) = host("memory://space-forks", 1_000).await;
    let pool = host.pool().clone();
    host.create("base", SIZE, properties()).await.unwrap();
    assert!(host.drain().await.is_empty());
    let first = settle(&host, "base", 0, 1_500, 1).await;
    let alone = checked(&pool).await;
    let base = of(&alone, "base");
    assert_eq!((base.mapped_bytes, base.shared_bytes), (1_500 * BLOCK as u64, 0));
    assert_eq!(base.exclusive_bytes, base.referenced_bytes + base.history_bytes);

    fork(&pool, &first, "fork").await;
    let shared = checked(&pool).await;
    assert_eq!(of(&shared, "base").exclusive_bytes, 0);
    assert_eq!(of(&shared, "fork").shared_bytes, base.referenced_bytes);

    // Both go their ways: each holds what the other has overwritten.
    settle(&host, "base", 100, 300, 2).await;
    let newest = settle(&host, "fork", 350, 300, 3).await;
    let apart = checked(&pool).await;
    assert!(of(&apart, "base").exclusive_bytes > 0 && of(&apart, "fork").exclusive_bytes > 0);
    assert!(apart.shared_bytes > 0);

    // A fork of the fork, and of an old state of the base that is nowhere the newest.
    fork(&pool, &newest, "grandchild").await;
    fork(&pool, &first, "old-base").await;
    checked(&pool).await;

    // What a deleted volume held alone is held by nobody.
    let before = checked(&pool).await;
    host.delete("grandchild").await.unwrap();
    host.delete("fork").await.unwrap();
    let after = checked(&pool).await;
    assert!(after.live_bytes() < before.live_bytes());
    assert!(after.dead_bytes + after.gone.values().sum::<u64>() > before.dead_bytes);
}

/// A tail hides blocks of pages, and of itself.
#[tokio::test]
async fn what_a_tail_overwrites_is_mapped_once() {
    let (_directory, host) = host("memory://space-tail", 1_000).await;
    let pool = host.pool().clone();
    host.create("v", SIZE, properties()).await.unwrap();
    assert!(host.drain().await.is_empty());
    let mut mapped = 0;
    for round in 0..4 {
        settle(&host, "v", round * 200, 300, round).await;
        mapped = round * 200 + 300;
        let space = checked(&pool).await;
        assert_eq!(of(&space, "v").mapped_bytes, mapped * BLOCK as u64, "round {round}");
    }
    let volume = host.open("v", None).await.unwrap().0;
    let mut scratch = Scratch::default();
    volume.change(&[Change::Trim { offset: 0, length: 50 * BLOCK as u64 }], &mut scratch);
    assert!(host.drain().await.is_empty());
    let space = checked(&pool).await;
    assert_eq!(of(&space, "v").mapped_bytes, (mapped - 50) * BLOCK as u64);
}

/// A tail overwrites most of what it and the pages hold: a snapshot of that, and a fork of it, hold what shows, once the
/// volume is gone.
#[tokio::test]
async fn what_a_tail_hides_is_held_by_nobody() {
    let (_directory, host) = host("memory://space-hidden", 1_000).await;
    let pool = host.pool().clone();
    host.create("v", SIZE, properties()).await.unwrap();
    assert!(host.drain().await.is_empty());
    for round in 0..4 {
        settle(&host, "v", round * 50, 900, round).await;
    }
    host.snapshot("v", "s", Vec::new()).await.unwrap();
    host.fork("v@s", "copy").await.unwrap();
    let before = checked(&pool).await;
    assert_eq!(of(&before, "v@s").mapped_bytes, 1_050 * BLOCK as u64);
    assert_eq!(of(&before, "v@s").referenced_bytes, of(&before, "v").referenced_bytes);
    host.delete("v").await.unwrap();
    let after = checked(&pool).await;
    assert_eq!(after.live_bytes(), of(&after, "v@s").referenced_bytes);
    assert_eq!(of(&after, "copy").shared_bytes, after.live_bytes());
    let gone: u64 = after.gone.values().sum();
    assert!(after.dead_bytes + gone > before.dead_bytes, "{after:?}");
}

/// What is uploaded and named by no head is in flight while its commit is not settled, and dead after that.
#[tokio::test]
async fn each_byte_is_in_one_line() {
    let (_directory, host) = host("memory://space-lines", 1_000).await;
    let pool = host.pool().clone();
    host.create("v", SIZE, properties()).await.unwrap();
    assert!(host.drain().await.is_empty());
    let head = settle(&host, "v", 0, 700, 1).await;
    let whole = checked(&pool).await;
    // The volume is deleted: all it had is dead.
    host.delete("v").await.unwrap();
    let named: Vec<Bulk> = head.tail.iter().map(|segment| Bulk::Segment(segment.id)).collect();
    let held: Vec<_> = named.iter().map(|object| pool.uses().hold(*object)).collect();
    let flying = checked(&pool).await;
    assert_eq!(flying.in_flight.objects, named.len() as u64);
    drop(held);
    let dead = checked(&pool).await;
    assert_eq!((dead.live_bytes(), dead.in_flight.bytes, dead.pages.bytes), (0, 0, 0));
    let gone: u64 = dead.gone.values().sum();
    assert_eq!(gone, whole.live_bytes() + whole.dead_bytes + whole.index_bytes + whole.pages.bytes);
}
