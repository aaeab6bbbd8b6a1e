//! How large segments get, whatever is written.

mod common;

use std::{path::Path, sync::Arc};

use esker_engine::{
    core::policy::{SEGMENT_BYTES_MAX, SEGMENT_BYTES_TARGET},
    host::Host,
    volume::{Change, Limits, ReadStep, Scratch, Volume, WriteStep},
};
use esker_format::property::{Compression, Durability, Properties};
use esker_io::{Objects, objects};

const BLOCK: usize = 4096;

async fn host(directory: &Path, objects: &Arc<dyn Objects>, id: u8) -> Host {
    common::host(directory, objects.clone(), id, Limits::default()).await
}

fn properties(durability: Durability) -> Properties {
    let compression = Some(Compression::Lz4);
    Properties { durability: Some(durability), compression, ..Properties::default() }
}

fn write(volume: &Volume, block: u64, data: &[u8]) {
    let mut scratch = Scratch::default();
    for (at, data) in data.chunks(1 << 20).enumerate() {
        let offset = block * BLOCK as u64 + (at << 20) as u64;
        volume.change(&[Change::Write { offset, data }], &mut scratch);
    }
    assert!(scratch.steps.iter().all(|step| matches!(step, WriteStep::Done)), "{:?}", scratch.steps);
}

/// Blocks that nothing compresses.
fn noise(seed: u64, blocks: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let word = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..blocks * BLOCK / 8).flat_map(word).collect()
}

async fn read(volume: &Arc<Volume>, block: u64, blocks: usize) -> Vec<u8> {
    let mut buffer = vec![0; blocks * BLOCK];
    match volume.read(block * BLOCK as u64, &mut buffer) {
        ReadStep::Done => buffer,
        ReadStep::Later => {
            let length = buffer.len();
            volume.clone().read_later(block * BLOCK as u64, length).await.expect("the store answers")
        }
        ReadStep::Failed(error) => panic!("{error}"),
    }
}

/// The sizes of all segments, the largest first.
async fn segments(objects: &Arc<dyn Objects>) -> Vec<u64> {
    let listed = objects.list("segments/").await.unwrap();
    let mut sizes: Vec<u64> = listed.iter().map(|object| object.bytes).collect();
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    sizes
}

/// A long stretch that compresses to next to nothing, so that a segment seems to hold 65,536 blocks.
async fn compressible(volume: &Volume) {
    for round in 0..5 {
        write(volume, round * 2048, &vec![7; 2048 * BLOCK]);
        volume.point().await.unwrap();
    }
}

#[tokio::test]
async fn what_is_far_more_than_was_expected_is_divided() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = objects::open("memory://").expect("memory");
    let blocks = 20_000;
    let data = noise(1, blocks);
    {
        let host = host(here.path(), &store, 1).await;
        let volume = host.create("v", 512 << 20, properties(Durability::Ephemeral)).await.unwrap();
        compressible(&volume).await;
        write(&volume, 4_000, &data);
        // Overwritten in the same cut, beyond where it is divided.
        write(&volume, 4_100, &[9; 3 * BLOCK]);
        volume.point().await.unwrap();
        let sizes = segments(&store).await;
        assert!(sizes[0] <= SEGMENT_BYTES_MAX, "{sizes:?}");
        assert!(sizes[0] >= SEGMENT_BYTES_TARGET / 4 * 3, "no more parts than it takes: {sizes:?}");
        assert!(sizes.iter().filter(|bytes| **bytes > 1 << 20).count() <= 3, "{sizes:?}");
        assert!(host.drain().await.is_empty());
    }
    let host = host(there.path(), &store, 2).await;
    let (volume, _) = host.open("v", None).await.unwrap();
    let found = read(&volume, 4_000, blocks).await;
    assert!(found[..100 * BLOCK] == data[..100 * BLOCK] && found[103 * BLOCK..] == data[103 * BLOCK..]);
    assert_eq!(found[100 * BLOCK..103 * BLOCK], [9; 3 * BLOCK]);
    assert!(host.drain().await.is_empty());
}

#[tokio::test]
async fn pieces_that_are_too_much_for_one_segment_become_several() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = objects::open("memory://").expect("memory");
    let piece = 900;
    {
        let host = host(here.path(), &store, 1).await;
        let volume = host.create("v", 512 << 20, properties(Durability::Sync)).await.unwrap();
        compressible(&volume).await;
        for at in 0..12 {
            write(&volume, at * piece, &noise(at + 2, piece as usize));
            volume.clone().stored_later().await.unwrap();
        }
        assert!(volume.status().pieces >= 12, "{:?}", volume.status());
        host.abandon();
    }
    let before = segments(&store).await.len();
    let host = host(there.path(), &store, 2).await;
    let (volume, _) = host.open("v", None).await.unwrap();
    let sizes = segments(&store).await;
    assert_eq!(sizes.len(), before + 2);
    assert!(sizes[0] <= SEGMENT_BYTES_MAX, "{sizes:?}");
    for at in 0..12 {
        assert!(
            read(&volume, at * piece, piece as usize).await == noise(at + 2, piece as usize),
            "piece {at}"
        );
    }
    assert!(host.drain().await.is_empty());
    assert_eq!(volume.status().pieces, 0);
}
