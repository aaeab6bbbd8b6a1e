//! Snapshots and forks on real edges: a temporary directory as local disk, objects in memory.

mod common;

use std::{path::Path, sync::Arc, time::Duration};

use esker_engine::{
    EngineError,
    host::Host,
    reclaim::round::Options,
    volume::{Change, Limits, ReadStep, Scratch, Volume, WriteStep},
};
use esker_format::{
    head::{Head, HeadKind},
    property::{Compression, Durability, Properties},
};
use esker_io::objects;

const MIB: u64 = 1 << 20;
const BLOCK: usize = 4096;

async fn host(directory: &Path, objects: &Arc<dyn esker_io::Objects>, id: u8) -> Host {
    common::host(directory, objects.clone(), id, Limits::default()).await
}

fn store() -> Arc<dyn esker_io::Objects> {
    objects::open("memory://").expect("memory")
}

fn properties(durability: Durability) -> Properties {
    let compression = Some(Compression::Lz4);
    Properties { durability: Some(durability), compression, ..Properties::default() }
}

fn write(volume: &Volume, block: u64, byte: u8) {
    let mut scratch = Scratch::default();
    volume.change(&[Change::Write { offset: block * BLOCK as u64, data: &[byte; BLOCK] }], &mut scratch);
    assert!(matches!(scratch.steps[..], [WriteStep::Done]), "acknowledged: {:?}", scratch.steps);
}

/// The first byte of each of the first `blocks` blocks, all bytes of which are alike.
async fn image(volume: &Arc<Volume>, blocks: usize) -> Vec<u8> {
    let mut buffer = vec![0xEE; blocks * BLOCK];
    match volume.read(0, &mut buffer) {
        ReadStep::Done => {}
        ReadStep::Later => {
            buffer = volume.clone().read_later(0, buffer.len()).await.expect("the store answers")
        }
        ReadStep::Failed(error) => panic!("{error}"),
    }
    let whole = |block: &[u8]| block.iter().all(|byte| *byte == block[0]);
    assert!(buffer.chunks(BLOCK).all(whole), "blocks are whole");
    buffer.chunks(BLOCK).map(|block| block[0]).collect()
}

async fn wait_for_commit(volume: &Volume) {
    while volume.committed_sequence() < volume.last_sequence() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn newest(host: &Host, name: &str) -> Head {
    let volume = host.pool().lookup(name).await.unwrap().expect("it has a name");
    host.pool().newest_head(volume).await.unwrap().head
}

#[tokio::test]
async fn a_snapshot_stays_and_parent_and_forks_go_their_own_ways() {
    let directory = tempfile::tempdir().unwrap();
    let host = host(directory.path(), &store(), 1).await;
    let base = host.create("base", 16 * MIB, properties(Durability::Ephemeral)).await.unwrap();
    (0..8).for_each(|block| write(&base, block, 1));
    let head = host.snapshot("base", "one", vec![("os".into(), "12".into())]).await.unwrap();
    assert_eq!((head.kind, head.sequence, head.covered()), (HeadKind::Frozen, 8, 8));
    (0..4).for_each(|block| write(&base, block, 2));
    let one = host.visit("base@one").await.unwrap();
    assert_eq!(image(&one, 8).await, [1; 8]);
    host.fork("base@one", "from-snapshot").await.unwrap();
    host.fork("base", "from-running").await.unwrap();
    (0..8).for_each(|block| write(&base, block, 3));
    let (left, _) = host.open("from-snapshot", None).await.unwrap();
    let (right, _) = host.open("from-running", None).await.unwrap();
    assert_eq!(left.status().effective, base.status().effective, "a fork has the settings of its source");
    assert_eq!(image(&left, 8).await, [1; 8]);
    assert_eq!(image(&right, 8).await, [2, 2, 2, 2, 1, 1, 1, 1]);
    write(&left, 0, 4);
    write(&right, 1, 5);
    left.drain().await.unwrap();
    assert_eq!(image(&left, 8).await, [4, 1, 1, 1, 1, 1, 1, 1]);
    assert_eq!(image(&right, 8).await, [2, 5, 2, 2, 1, 1, 1, 1]);
    assert_eq!(image(&base, 8).await, [3; 8]);
    assert_eq!(image(&one, 8).await, [1; 8]);
    let lineage = newest(&host, "from-snapshot").await.lineage;
    assert_eq!(lineage.source.map(|source| source.volume), host.pool().lookup("base@one").await.unwrap());
    assert!(lineage.labels.is_empty(), "labels are the snapshot's own");
    for volume in [base, right] {
        volume.drain().await.unwrap();
    }
}

#[tokio::test]
async fn a_point_has_every_write_before_it_and_none_after() {
    let directory = tempfile::tempdir().unwrap();
    let host = host(directory.path(), &store(), 1).await;
    let properties = properties(Durability::Bounded { seconds: 1 });
    let base = host.create("base", 64 * MIB, properties).await.unwrap();
    let mut names = Vec::new();
    for turn in 1..=20_u8 {
        // Each turn writes 64 records in order; what a snapshot has of the next turn it has from the front.
        (0..64).for_each(|block| write(&base, block, turn));
        let writing = async {
            for block in 0..64 {
                write(&base, block, turn + 1);
                tokio::task::yield_now().await;
            }
        };
        let name = format!("s{turn}");
        let (made, ()) = tokio::join!(host.snapshot("base", &name, Vec::new()), writing);
        let head = made.unwrap();
        assert_eq!((head.covered(), head.pieces.len()), (head.sequence, 0));
        names.push((name, turn, head.sequence));
    }
    for (name, turn, sequence) in names {
        let snapshot = host.visit(&format!("base@{name}")).await.unwrap();
        let image = image(&snapshot, 64).await;
        let newer = image.iter().take_while(|byte| **byte == turn + 1).count();
        assert!(image[newer..].iter().all(|byte| *byte == turn), "{name} is a prefix: {image:?}");
        assert_eq!(sequence, (u64::from(turn) - 1) * 128 + 64 + newer as u64, "{name} is what it says");
    }
    base.drain().await.unwrap();
}

#[tokio::test]
async fn a_volume_at_rest_is_at_its_point() {
    let directory = tempfile::tempdir().unwrap();
    let host = host(directory.path(), &store(), 1).await;
    let base = host.create("base", 16 * MIB, properties(Durability::Bounded { seconds: 1 })).await.unwrap();
    write(&base, 0, 1);
    let first = host.snapshot("base", "a", Vec::new()).await.unwrap();
    let second = host.snapshot("base", "b", Vec::new()).await.unwrap();
    assert_eq!(first.lineage.source, second.lineage.source, "no head came in between");
    let again = host.snapshot("base", "a", Vec::new()).await.unwrap_err();
    assert!(matches!(again, EngineError::Exists(_)), "{again}");
    base.drain().await.unwrap();
    let released = host.snapshot("base", "c", Vec::new()).await.unwrap();
    assert_eq!(released.sequence, first.sequence, "what was released is in the store");
}

#[tokio::test]
async fn what_is_in_pieces_elsewhere_is_forked_too() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = store();
    let writer = host(here.path(), &store, 1).await;
    let other = host(there.path(), &store, 2).await;
    let base = writer.create("base", 16 * MIB, properties(Durability::Bounded { seconds: 1 })).await.unwrap();
    for turn in 1..=3 {
        write(&base, turn, turn as u8);
        wait_for_commit(&base).await;
    }
    assert!(!newest(&other, "base").await.pieces.is_empty(), "or this shows nothing");
    let head = other.fork("base", "copy").await.unwrap();
    assert_eq!((head.sequence, head.pieces.len()), (3, 0));
    other.snapshot("base", "now", Vec::new()).await.unwrap();
    write(&base, 1, 9);
    let (copy, _) = other.open("copy", None).await.unwrap();
    assert_eq!(image(&copy, 4).await, [0, 1, 2, 3]);
    assert_eq!(image(&other.visit("base@now").await.unwrap(), 4).await, [0, 1, 2, 3]);
    copy.drain().await.unwrap();
    base.drain().await.unwrap();
}

#[tokio::test]
async fn snapshots_outlive_their_volume_and_are_not_written() {
    let directory = tempfile::tempdir().unwrap();
    let host = host(directory.path(), &store(), 1).await;
    let base = host.create("base", 16 * MIB, properties(Durability::Ephemeral)).await.unwrap();
    write(&base, 0, 1);
    host.snapshot("base", "one", Vec::new()).await.unwrap();
    host.snapshot("base", "two", Vec::new()).await.unwrap();
    host.delete("base").await.unwrap();
    let options = Options {
        grace: Duration::ZERO,
        force: true,
        dry_run: false,
        gently: false,
        limits: Default::default(),
    };
    host.reclaim(options, &|_, _| ()).await.unwrap();
    assert_eq!(image(&host.visit("base@one").await.unwrap(), 1).await, [1]);
    let refused = host.open("base@one", None).await.err().expect("nobody writes a snapshot");
    assert!(refused.to_string().contains("is a snapshot; fork it: esker fork base@one NEW"), "{refused}");
    // Another volume takes the name; the snapshots of the old one stay what they were.
    let second = host.create("base", 16 * MIB, properties(Durability::Ephemeral)).await.unwrap();
    let taken = host.snapshot("base", "one", Vec::new()).await.unwrap_err();
    assert!(matches!(taken, EngineError::Exists(_)), "{taken}");
    host.delete("base@one").await.unwrap();
    host.delete("base@two").await.unwrap();
    let gone = host.visit("base@one").await.err().expect("it was deleted");
    assert!(matches!(gone, EngineError::NotFound(_)), "{gone}");
    second.drain().await.unwrap();
    // What is dead for the first time waits for the next round.
    host.reclaim(options, &|_, _| ()).await.unwrap();
    let report = host.reclaim(options, &|_, _| ()).await.unwrap();
    assert_eq!((report.live.objects, report.deleted.objects > 0), (0, true), "{report:?}");
}

/// What the snapshot's tail touches is walked for all forks once, and so is the rest.
#[tokio::test]
async fn a_round_walks_no_more_for_many_forks_than_for_one() {
    let directory = tempfile::tempdir().unwrap();
    let host = host(directory.path(), &store(), 1).await;
    let base = host.create("base", 64 * MIB, properties(Durability::Ephemeral)).await.unwrap();
    let options = Options {
        grace: Duration::from_secs(3_600),
        force: false,
        dry_run: false,
        gently: false,
        limits: Default::default(),
    };
    for block in 0..8 {
        write(&base, block * 2_048, 1);
    }
    host.snapshot("base", "folded", Vec::new()).await.unwrap();
    // A round folds it.
    host.reclaim(options, &|_, _| ()).await.unwrap();
    for block in 0..3 {
        write(&base, block * 2_048, 2);
        write(&base, block * 2_048 + 1, 2);
    }
    let frozen = host.snapshot("base", "one", Vec::new()).await.unwrap();
    assert!(frozen.root.is_some() && !frozen.tail.is_empty(), "{frozen:?}");
    let looks = Options { dry_run: true, ..options };
    let alone = host.reclaim(looks, &|_, _| ()).await.unwrap();
    assert!(alone.pages > 0, "{alone:?}");
    for fork in 0..20 {
        host.fork("base@one", &format!("fork-{fork}")).await.unwrap();
    }
    let many = host.reclaim(looks, &|_, _| ()).await.unwrap();
    assert_eq!((many.pages, many.volumes), (alone.pages, alone.volumes + 20));
    assert_eq!(many.planned.plan.now, alone.planned.plan.now);
    base.drain().await.unwrap();
}

#[tokio::test]
async fn labels_come_and_go() {
    let directory = tempfile::tempdir().unwrap();
    let host = host(directory.path(), &store(), 1).await;
    let base = host.create("base", 16 * MIB, properties(Durability::Ephemeral)).await.unwrap();
    let label = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    host.snapshot("base", "one", vec![label("b", "2"), label("a", "1")]).await.unwrap();
    let head =
        host.label("base@one", &vec![label("c", "3"), label("a", "9")], &["b".to_owned()]).await.unwrap();
    assert_eq!(head.lineage.labels, [label("a", "9"), label("c", "3")]);
    assert_eq!(head.number, 3);
    for turn in 0..40 {
        host.label("base@one", &vec![label("turn", &turn.to_string())], &[]).await.unwrap();
    }
    let newest = host.pool().newest_head(head.volume).await.unwrap();
    assert!(newest.numbers.len() < 20, "{:?}", newest.numbers);
    host.fork("base@one", "copy").await.unwrap();
    let many = (0..40).map(|key| label(&format!("k{key}"), "")).collect();
    assert!(host.label("base@one", &many, &[]).await.is_err(), "too many");
    assert!(host.label("base", &vec![label("a", "1")], &[]).await.is_err(), "no snapshot");
    base.drain().await.unwrap();
}

#[tokio::test]
async fn a_fork_a_thousand_deep_opens_and_reads_like_the_first() {
    let directory = tempfile::tempdir().unwrap();
    let counted = Arc::new(objects::Counted::new(store()));
    let edge: Arc<dyn esker_io::Objects> = counted.clone();
    let host = host(directory.path(), &edge, 1).await;
    let base = host.create("f0", 16 * MIB, properties(Durability::Ephemeral)).await.unwrap();
    (0..64).for_each(|block| write(&base, block, 1));
    base.drain().await.unwrap();
    for depth in 1..=1_000 {
        host.fork(&format!("f{}", depth - 1), &format!("f{depth}")).await.unwrap();
        if depth == 500 {
            let (middle, _) = host.open("f500", None).await.unwrap();
            write(&middle, 3, 2);
            middle.drain().await.unwrap();
        }
    }
    let mut took = Vec::new();
    for name in ["f1", "f1000"] {
        // Of a run that has nothing in memory.
        let fresh = self::host(directory.path(), &edge, 1).await;
        let before = counted.snapshot();
        let volume = fresh.open_read_only(name).await.unwrap();
        let expected = if name == "f1" { 1 } else { 2 };
        let image = image(&volume, 64).await;
        assert_eq!((image[3], image[4]), (expected, 1), "{name}");
        let after = counted.snapshot();
        took.push((after.gets - before.gets, after.lists - before.lists, volume.status().map_bytes));
    }
    // The deep one has one more segment in its tail, where something was written half way.
    assert!(took[1].0 <= took[0].0 + 2, "{took:?}");
    assert_eq!(took[0].1, took[1].1, "{took:?}");
    assert!(took[1].2 <= took[0].2 * 2, "{took:?}");
}

#[tokio::test]
async fn a_thousand_forks_cost_three_small_objects_each() {
    let directory = tempfile::tempdir().unwrap();
    let objects = store();
    let host = host(directory.path(), &objects, 1).await;
    let base = host.create("base", 16 * MIB, properties(Durability::Ephemeral)).await.unwrap();
    (0..64).for_each(|block| write(&base, block, 1));
    host.snapshot("base", "one", Vec::new()).await.unwrap();
    let stored = async || {
        let listed = objects.list("").await.unwrap();
        (listed.len(), listed.iter().map(|object| object.bytes).sum::<u64>())
    };
    let before = stored().await;
    for fork in 0..1_000 {
        host.fork("base@one", &format!("f{fork}")).await.unwrap();
    }
    let after = stored().await;
    assert_eq!(after.0 - before.0, 3_000);
    assert!(after.1 - before.1 < 3_000 * 1_024, "{} bytes", after.1 - before.1);
    base.drain().await.unwrap();
}
