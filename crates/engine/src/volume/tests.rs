//! What can only be seen from inside an open volume.

use std::sync::Arc;

use esker_format::{
    BLOCK_BYTES,
    address::AddressKind,
    chunk::block_crc,
    ids::{DirectoryId, LogPosition},
    property::{Durability, Properties},
};
use esker_io::{InlineCpu, LocalDisk, SystemClock, SystemRandom, World, objects};

use super::*;
use crate::{
    host::Host,
    log::{Entry, Payload},
};

async fn host(store: &str) -> (tempfile::TempDir, Host) {
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
    let limits = Limits { seal_age: std::time::Duration::ZERO, ..Limits::default() };
    let host = Host::new(pool, DirectoryId([1; 16]), limits, spawn);
    (directory, host)
}

/// The age of what only the log holds, and the log's files.
#[tokio::test]
async fn a_status_says_how_far_the_store_is_behind() {
    let (_directory, host) = host("memory://behind").await;
    let properties = Properties { durability: Some(Durability::Ephemeral), ..Properties::default() };
    let volume = host.create("v", 1 << 20, properties).await.unwrap();
    assert_eq!((volume.status().lag_ms, host.dirty_bytes()), (0, 0));
    let mut scratch = Scratch::default();
    for _ in 0..2 {
        volume.change(&[Change::Write { offset: 0, data: &[7; BLOCK_BYTES] }], &mut scratch);
        assert!(matches!(scratch.steps[..], [WriteStep::Done]));
        volume.pool.world().clock.sleep(std::time::Duration::from_millis(30)).await;
    }
    let status = volume.status();
    assert!((60..60_000).contains(&status.lag_ms), "of the older write: {}", status.lag_ms);
    assert_eq!((status.log_files, host.dirty_bytes()), (1, status.dirty_bytes));
    assert!(host.drain().await.is_empty());
    assert_eq!((volume.status().lag_ms, host.dirty_bytes()), (0, 0));
}

/// Rule W4: a writer that is slow between its append and its publish is waited for, even when the pipeline has
/// uploaded and committed the record meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_is_applied_only_after_it_was_published() {
    let (_directory, host) = host("memory://published").await;
    let properties =
        Properties { durability: Some(Durability::Bounded { seconds: 1 }), ..Properties::default() };
    let volume = host.create("v", 1 << 20, properties).await.unwrap();
    volume.map.write().inflate(0, 1);
    let slow = volume.clone();
    let writer_thread = tokio::task::spawn_blocking(move || {
        let map = slow.map.read();
        let data = [7; BLOCK_BYTES];
        let crcs = [block_crc(&data)];
        let entry = Entry { lba: 0, payload: Payload::Write { data: &data, crcs: &crcs } };
        let mut positions = Vec::new();
        let writer = slow.writer.as_ref().unwrap();
        writer.log.append(&[entry], &mut positions).unwrap();
        writer.wake_pipeline();
        // Long enough for seal, upload and commit.
        let store = slow.pool.world().clock.clone();
        let begun = store.monotonic();
        while store.monotonic() - begun < std::time::Duration::from_millis(1_500) {
            std::hint::spin_loop();
        }
        map.publish(0, 1, LogPosition(positions[0]));
    });
    writer_thread.await.unwrap();
    while volume.dirty_bytes() > 0 {
        tokio::task::yield_now().await;
    }
    let address = volume.map.read().get(0);
    assert!(
        matches!(address.kind(), AddressKind::Segment(..)),
        "released, and the map still says {address:?}"
    );
    let failed = host.drain().await;
    assert!(failed.is_empty(), "{failed:?}");
}

/// The volume's end can come nearer between the check of a batch and its append.
#[tokio::test]
async fn a_write_behind_a_new_end_fails_alone() {
    let (_directory, host) = host("memory://behind-the-end").await;
    let volume = host.create("v", 1 << 20, Properties::default()).await.unwrap();
    let write = |offset| Change::Write { offset, data: &[7; BLOCK_BYTES] };
    let mut scratch = Scratch::default();
    volume.write_group(&[write(0), write(1 << 20), write(4096)], &mut scratch);
    let [WriteStep::Done, WriteStep::Failed(EngineError::Invalid(_)), WriteStep::Done] = &scratch.steps[..]
    else {
        panic!("{:?}", scratch.steps)
    };
    let mut block = [0; BLOCK_BYTES];
    assert!(matches!(volume.read(4096, &mut block), ReadStep::Done));
    assert_eq!(block, [7; BLOCK_BYTES]);
    assert!(host.drain().await.is_empty());
}

/// A drain says so in two places, one after the other; the pipeline may look in between.
#[tokio::test]
async fn a_drain_that_has_only_begun_does_not_end_the_pipeline() {
    let (_directory, host) = host("memory://drain-begun").await;
    let volume = host.create("v", 1 << 20, Properties::default()).await.unwrap();
    let mut scratch = Scratch::default();
    volume.change(&[Change::Write { offset: 0, data: &[7; BLOCK_BYTES] }], &mut scratch);
    *volume.status.lock() = Status::Draining;
    volume.running.store(false, Ordering::Release);
    volume.writer.as_ref().unwrap().wake.notify();
    volume.pool.world().clock.sleep(std::time::Duration::from_millis(50)).await;
    let failed = host.drain().await;
    assert!(failed.is_empty(), "{failed:?}");
}
