//! A volume's life on real edges: a temporary directory as local disk, objects in memory.

mod common;

use std::{path::Path, sync::Arc};

use esker_engine::{
    host::Host,
    volume::{Change, ExtentState, Limits, OwnedChange, ReadStep, Scratch, Volume, WriteStep},
};
use esker_format::property::{Compression, Durability, Properties};
use esker_io::{LocalDisk, objects};

const MIB: u64 = 1 << 20;

async fn host(directory: &Path, store: &str) -> Host {
    host_with(directory, store, Limits::default()).await
}

async fn host_with(directory: &Path, store: &str, limits: Limits) -> Host {
    common::host(directory, objects::open(store).expect("memory"), 7, limits).await
}

fn ephemeral() -> Properties {
    Properties {
        durability: Some(Durability::Ephemeral),
        compression: Some(Compression::Lz4),
        ..Properties::default()
    }
}

fn write(volume: &Volume, offset: u64, data: &[u8]) {
    let mut scratch = Scratch::default();
    volume.change(&[Change::Write { offset, data }], &mut scratch);
    assert!(matches!(scratch.steps[..], [WriteStep::Done]), "the write is acknowledged: {:?}", scratch.steps);
}

async fn write_waiting(volume: &Arc<Volume>, offset: u64, data: &[u8]) {
    let mut scratch = Scratch::default();
    volume.change(&[Change::Write { offset, data }], &mut scratch);
    if let WriteStep::Later = scratch.steps[0] {
        let change = OwnedChange::Write { offset, data: data.to_vec().into() };
        volume.clone().change_later(change).await.expect("room comes");
    }
}

async fn read(volume: &Arc<Volume>, offset: u64, length: usize) -> Vec<u8> {
    let mut buffer = vec![0xEE; length];
    match volume.read(offset, &mut buffer) {
        ReadStep::Done => buffer,
        ReadStep::Later => volume.clone().read_later(offset, length).await.expect("the store answers"),
        ReadStep::Failed(error) => panic!("{error}"),
    }
}

fn pattern(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .collect()
}

#[tokio::test]
async fn what_was_drained_is_read_by_a_host_with_an_empty_directory() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let data = pattern(1, 3 * MIB as usize);
    // A store in memory lives as long as somebody holds it.
    let _store = objects::open("memory://drained").expect("memory");
    {
        let host = host(first.path(), "memory://drained").await;
        let volume = host.create("v", 64 * MIB, ephemeral()).await.unwrap();
        write(&volume, 4096, &data);
        write(&volume, 40 * MIB, &[0; 8192]);
        assert_eq!(read(&volume, 4096, data.len()).await, data);
        assert_eq!(host.drain().await.len(), 0);
    }
    let host = host(second.path(), "memory://drained").await;
    let (volume, report) = host.open("v", None).await.unwrap();
    assert_eq!(report.replayed, 0);
    assert_eq!(read(&volume, 4096, data.len()).await, data);
    assert_eq!(read(&volume, 0, 4096).await, vec![0; 4096]);
    let states = volume.extents(0, 64 * MIB).expect("all of the map is here");
    assert_eq!(states[0], (4096, ExtentState::Hole));
    assert_eq!(states[1], (3 * MIB, ExtentState::Data));
    assert!(states.contains(&(8192, ExtentState::Zero)));
    host.drain().await;
}

#[tokio::test]
async fn a_run_that_just_ends_leaves_everything_in_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let data = pattern(2, MIB as usize);
    {
        let host = host(directory.path(), "memory://ends").await;
        let volume = host.create("v", 64 * MIB, ephemeral()).await.unwrap();
        write(&volume, 0, &data);
        write(&volume, 512, b"a part of a block");
        let mut scratch = Scratch::default();
        volume.change(&[Change::Trim { offset: 8192, length: 4096 }], &mut scratch);
        assert!(matches!(scratch.steps[..], [WriteStep::Done]));
        volume.flush().unwrap();
    }
    let host = host(directory.path(), "memory://ends").await;
    let (volume, report) = host.open("v", None).await.unwrap();
    assert_eq!(report.replayed, 3);
    let mut expected = data;
    expected[512..529].copy_from_slice(b"a part of a block");
    expected[8192..12288].fill(0);
    assert_eq!(read(&volume, 0, expected.len()).await, expected);
    host.drain().await;
}

#[tokio::test]
async fn many_small_overwrites_end_in_the_store_and_fold_into_pages() {
    let directory = tempfile::tempdir().unwrap();
    let mut model = vec![0; 16 * MIB as usize];
    // With so small a bound each round is sealed at once.
    let limits = Limits { dirty_bytes_max: 64 << 10, ..Limits::default() };
    let host = host_with(directory.path(), "memory://folds", limits).await;
    let volume = host.create("v", 16 * MIB, ephemeral()).await.unwrap();
    for round in 0..40_u64 {
        for step in 0..20 {
            let lba = (round * 977 + step * 131) % 4096;
            let block = pattern(round * 100 + step, 4096);
            write_waiting(&volume, lba * 4096, &block).await;
            model[lba as usize * 4096..][..4096].copy_from_slice(&block);
        }
    }
    assert_eq!(read(&volume, 0, model.len()).await, model);
    host.drain().await;
    let head = host.pool().newest_head(volume.id()).await.unwrap().head;
    assert!(head.root.is_some() && head.root_sequence > 0, "a checkpoint has folded the tail: {head:?}");
    let report = esker_engine::check::check(host.pool(), &[], |_, _| {}).await.unwrap();
    assert_eq!(report.problems, vec![]);
    let again = esker_engine::recover::open_read_only(host.pool().clone(), "v", volume.id()).await.unwrap();
    assert_eq!(read(&again, 0, model.len()).await, model);
}

#[tokio::test]
async fn a_second_run_fences_the_first() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = host(a.path(), "memory://fence").await;
    let old = first.create("v", 16 * MIB, ephemeral()).await.unwrap();
    write(&old, 0, &[1; 4096]);
    let second = host(b.path(), "memory://fence").await;
    let (new, _) = second.open("v", None).await.unwrap();
    write(&new, 4096, &[2; 4096]);
    assert!(second.drain().await.is_empty());
    let failed = first.drain().await;
    assert!(failed[0].1.to_string().contains("no longer the writer"), "{failed:?}");
    drop((old, first));
    // Rule H5: the first log is not replayed over the second one's history, but kept.
    let third = host(a.path(), "memory://fence").await;
    let (volume, report) = third.open("v", None).await.unwrap();
    assert_eq!((report.replayed, report.set_aside.len()), (0, 1));
    assert_eq!(read(&volume, 0, 8192).await, [vec![0; 4096], vec![2; 4096]].concat());
    third.drain().await;
}

#[tokio::test]
async fn parts_of_blocks_zeroes_and_trims_at_any_alignment_match_a_model() {
    let directory = tempfile::tempdir().unwrap();
    let host = host(directory.path(), "memory://parts").await;
    let volume = host.create("v", MIB, ephemeral()).await.unwrap();
    let mut model = vec![0; MIB as usize];
    let mut state = 88_172_645_463_325_252_u64;
    let mut random = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    for round in 0..2_000 {
        let offset = random(MIB);
        let length = 1 + random((MIB - offset).min(20_000));
        let range = offset as usize..(offset + length) as usize;
        let change = match random(4) {
            0 => {
                model[range].fill(0);
                OwnedChange::Zero { offset, length, may_trim: random(2) == 0 }
            }
            1 => {
                let (first, last) = (offset.next_multiple_of(4096), (offset + length) / 4096 * 4096);
                if first < last {
                    model[first as usize..last as usize].fill(0);
                }
                OwnedChange::Trim { offset, length }
            }
            _ => {
                let data = pattern(round, length as usize);
                model[range].copy_from_slice(&data);
                OwnedChange::Write { offset, data: data.into() }
            }
        };
        let mut scratch = Scratch::default();
        volume.change(&[change.borrow()], &mut scratch);
        if matches!(scratch.steps[..], [WriteStep::Later]) {
            volume.clone().change_later(change).await.unwrap();
        }
        if round % 97 == 0 {
            assert_eq!(read(&volume, 0, MIB as usize).await, model, "after round {round}");
        }
    }
    assert_eq!(read(&volume, 0, MIB as usize).await, model);
    host.drain().await;
}

#[tokio::test]
async fn the_bound_of_the_daemon_holds_over_all_volumes_and_lets_each_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let limits = Limits { daemon_dirty_bytes_max: 256 << 10, ..Limits::default() };
    let host = host_with(directory.path(), "memory://budget", limits).await;
    let quiet = host.create("quiet", 16 * MIB, ephemeral()).await.unwrap();
    let busy = host.create("busy", 16 * MIB, ephemeral()).await.unwrap();
    // The quiet volume holds most of the bound and writes nothing more: it has to give way.
    for lba in 0..50 {
        write_waiting(&quiet, lba * 4096, &[1; 4096]).await;
    }
    for lba in 0..500 {
        write_waiting(&busy, lba * 4096, &pattern(lba, 4096)).await;
        let dirty = quiet.dirty_bytes() + busy.dirty_bytes();
        assert!(dirty <= (256 << 10) + 8192, "{dirty} bytes are dirty");
    }
    assert_eq!(read(&quiet, 0, 50 * 4096).await, vec![1; 50 * 4096]);
    assert!(host.drain().await.is_empty());
}

#[tokio::test]
async fn a_volume_that_stopped_can_be_opened_again_by_the_same_run() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = host(a.path(), "memory://reopen").await;
    let old = first.create("v", 16 * MIB, ephemeral()).await.unwrap();
    let second = host(b.path(), "memory://reopen").await;
    let (taken, _) = second.open("v", None).await.unwrap();
    write(&taken, 0, &[2; 4096]);
    assert!(second.drain().await.is_empty());
    assert_eq!(first.drain().await.len(), 1, "the first run finds out that it was overtaken");
    let (again, _) = first.open("v", None).await.unwrap();
    assert!(!Arc::ptr_eq(&old, &again));
    write(&again, 4096, &[3; 4096]);
    assert_eq!(read(&again, 0, 8192).await, [vec![2; 4096], vec![3; 4096]].concat());
    assert!(first.drain().await.is_empty());
}

/// Rule H5: a copy of the local directory knows the log's id, but not the epoch in which history went on.
#[tokio::test]
async fn a_restored_copy_of_the_local_directory_is_not_replayed() {
    let root = tempfile::tempdir().unwrap();
    let (live, copy) = (root.path().join("live"), root.path().join("copy"));
    let _store = objects::open("memory://restored").expect("memory");
    {
        let host = host(&live, "memory://restored").await;
        let volume = host.create("v", 16 * MIB, ephemeral()).await.unwrap();
        (0..10).for_each(|lba| write(&volume, lba * 4096, &[1; 4096]));
    }
    let copied = std::process::Command::new("cp").arg("-a").arg(&live).arg(&copy).status().unwrap();
    assert!(copied.success());
    {
        let limits = Limits { dirty_bytes_max: 4 << 10, ..Limits::default() };
        let host = host_with(&live, "memory://restored", limits).await;
        let (volume, report) = host.open("v", None).await.unwrap();
        assert_eq!(report.replayed, 10);
        write_waiting(&volume, 0, &[2; 4096]).await;
        while volume.dirty_bytes() > 0 {
            tokio::task::yield_now().await;
        }
    }
    let host = host(&copy, "memory://restored").await;
    let (volume, report) = host.open("v", None).await.unwrap();
    assert_eq!((report.replayed, report.set_aside.len()), (0, 1));
    assert_eq!(read(&volume, 0, 4096).await, vec![2; 4096]);
    host.drain().await;
}

#[tokio::test]
async fn a_deleted_volume_leaves_no_log() {
    let directory = tempfile::tempdir().unwrap();
    let host = host(directory.path(), "memory://deleted").await;
    let volume = host.create("v", 16 * MIB, ephemeral()).await.unwrap();
    write(&volume, 0, &[1; 4096]);
    let logs = format!("logs/{}", volume.id());
    let disk = LocalDisk::open(directory.path()).unwrap();
    assert_eq!(esker_io::Disk::list(&disk, &logs).unwrap().len(), 1);
    host.delete("v").await.unwrap();
    assert!(host.volume("v").is_none());
    assert_eq!(esker_io::Disk::list(&disk, &logs).unwrap(), vec![]);
    let mut scratch = Scratch::default();
    volume.change(&[Change::Write { offset: 0, data: &[2; 4096] }], &mut scratch);
    assert!(matches!(scratch.steps[..], [WriteStep::Failed(_)]));
}
