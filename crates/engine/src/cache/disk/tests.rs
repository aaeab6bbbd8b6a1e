use esker_format::{cache::CacheKey, ids::SegmentId};
use esker_io::{Disk, LocalDisk};

use super::*;
use crate::testing::{Store, block_on, world};

const POOL: PoolId = PoolId([1; 16]);

fn key(number: u32) -> CacheKey {
    CacheKey::frame(SegmentId::new(1, number).unwrap(), 0)
}

fn bytes(number: u32) -> Vec<u8> {
    vec![number as u8; 10_000 + number as usize]
}

fn open(directory: &std::path::Path, bytes_max: u64) -> Option<Arc<DiskCache>> {
    let disk = Arc::new(LocalDisk::open(directory).unwrap());
    let world = World { disk, ..world(&Arc::new(Store::default())) };
    block_on(DiskCache::open(world, POOL, bytes_max, Box::new(|_| false)))
}

fn found(cache: &DiskCache, number: u32) -> bool {
    match cache.find(key(number)) {
        Some(found) => {
            assert_eq!(cache.read(&found).unwrap(), bytes(number));
            true
        }
        None => false,
    }
}

/// Bytes that the files take on the disk.
fn on_disk(directory: &std::path::Path) -> u64 {
    let files = std::path::Path::read_dir(&directory.join(DIRECTORY)).unwrap();
    files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
}

#[test]
fn it_never_takes_more_than_its_bound_and_the_newest_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let cache = open(directory.path(), 1 << 20).unwrap();
    for number in 0..400 {
        cache.offer(key(number), &bytes(number));
        assert!(on_disk(directory.path()) <= 1 << 20);
    }
    let usage = cache.usage();
    assert_eq!(usage.file_bytes, on_disk(directory.path()));
    assert!((60..=100).contains(&usage.entries) && usage.evicted == 400 - usage.entries, "{usage:?}");
    assert!(found(&cache, 399) && !found(&cache, 200));
    assert_eq!((usage.refused, usage.dropped), (0, 0));
}

#[test]
fn the_next_run_finds_what_was_there_and_another_bound_takes_it_away() {
    let directory = tempfile::tempdir().unwrap();
    let cache = open(directory.path(), 1 << 20).unwrap();
    (0..20).for_each(|number| cache.offer(key(number), &bytes(number)));
    block_on(cache.close());
    cache.offer(key(20), &bytes(20));
    drop(cache);
    let cache = open(directory.path(), 1 << 20).unwrap();
    assert!((0..20).all(|number| found(&cache, number)) && !found(&cache, 20));
    drop(cache);
    // Half the files: those of the other half are gone.
    let cache = open(directory.path(), 512 << 10).unwrap();
    assert!(cache.usage().file_bytes <= 512 << 10 && on_disk(directory.path()) <= 512 << 10);
    drop(cache);
    assert!(open(directory.path(), 0).is_none());
    assert!(!directory.path().join(DIRECTORY).exists(), "nothing is left of a cache that is off");
}

#[test]
fn damage_is_a_miss_once() {
    let directory = tempfile::tempdir().unwrap();
    let cache = open(directory.path(), 1 << 20).unwrap();
    (0..3).for_each(|number| cache.offer(key(number), &bytes(number)));
    let file = LocalDisk::open(directory.path()).unwrap().open(&path(0)).unwrap();
    file.write_at(&[std::io::IoSlice::new(b"x")], 4096 + 5).unwrap();
    let place = cache.find(key(0)).unwrap();
    assert!(cache.read(&place).is_none());
    assert!(cache.find(key(0)).is_none() && found(&cache, 1));
    assert_eq!(cache.usage().refused, 1);
}
