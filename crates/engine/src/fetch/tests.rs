use std::time::Duration;

use esker_format::{
    BLOCK_BYTES,
    address::Address,
    head::TailSegment,
    ids::{AttemptId, Hash, PackId, PoolId, SegmentId},
    names,
    page::{Child, LeafRun, PackWriter, Page, PageRef},
    property::Compression,
    segment::{EncodedSegment, Run, RunKind, SegmentHeader, SegmentWriter},
};
use esker_io::{StoreErrorKind, sync::Arc};
use futures_util::future::{join, join_all};

use super::{Fetcher, GET_BYTES_MAX, GETS_IN_FLIGHT_MAX, Part};
use crate::permits::Permits;
use crate::{
    EngineError,
    checkpoint::PageSource,
    testing::{Store, block_on, start, world},
};

const POOL: PoolId = PoolId([1; 16]);
const CACHE_BYTES: usize = 8 << 20;
const FRAME_BLOCKS: u64 = 8;

fn id(counter: u32) -> SegmentId {
    SegmentId::new(1, counter).unwrap()
}

/// What a slot of a segment holds.
fn block(id: SegmentId, slot: u64) -> Vec<u8> {
    let mut word = u64::from(id.counter) << 32 | slot;
    let words = (0..BLOCK_BYTES / 8).flat_map(|_| {
        word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        word.to_le_bytes()
    });
    words.collect()
}

fn segment(id: SegmentId, blocks: u64) -> EncodedSegment {
    let header = SegmentHeader { pool: POOL, id, attempt: AttemptId([2; 16]), key_id: 0, salt: [0; 32] };
    let mut writer = SegmentWriter::new(header, Compression::Off);
    for first in (0..blocks).step_by(FRAME_BLOCKS as usize) {
        let frame: Vec<u8> =
            (first..blocks.min(first + FRAME_BLOCKS)).flat_map(|slot| block(id, slot)).collect();
        writer.push_frame(&frame);
    }
    let run = Run { lba: 0, blocks, sequence: 1, kind: RunKind::Data { first_slot: 0 } };
    writer.finish(vec![run], 1, 1)
}

/// A store with segments of so many blocks, and a fetcher.
fn setting(segments: &[u64]) -> (Arc<Store>, Fetcher) {
    let store = Arc::new(Store::default());
    for (counter, blocks) in segments.iter().enumerate() {
        let id = id(counter as u32);
        store.replace(&names::segment(id), segment(id, *blocks).bytes);
    }
    let fetcher = Fetcher::new(world(&store), POOL, CACHE_BYTES);
    (store, fetcher)
}

/// Consecutive slots, to the buffer's block `to`.
fn part(counter: u32, slot: u16, blocks: u64, to: usize) -> Part {
    Part { address: Address::segment(id(counter), slot), blocks, offset: to * BLOCK_BYTES }
}

fn expected(parts: &[Part], buffer_blocks: usize) -> Vec<u8> {
    let mut buffer = vec![0xee; buffer_blocks * BLOCK_BYTES];
    for part in parts {
        let (id, slot) = part.place();
        for i in 0..part.blocks {
            let to = part.offset + i as usize * BLOCK_BYTES;
            buffer[to..to + BLOCK_BYTES].copy_from_slice(&block(id, u64::from(slot) + i));
        }
    }
    buffer
}

async fn read(fetcher: &Fetcher, parts: &[Part], buffer_blocks: usize) -> Result<Vec<u8>, EngineError> {
    let mut buffer = vec![0xee; buffer_blocks * BLOCK_BYTES];
    fetcher.read(parts, &mut buffer).await?;
    Ok(buffer)
}

fn assert_damaged<T>(outcome: Result<T, EngineError>, words: &str) {
    match outcome {
        Err(EngineError::Damaged { object, message }) => {
            let text = format!("{object} {message}");
            assert!(text.contains(words), "{text}");
        }
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("damage was not seen"),
    }
}

#[test]
fn parts_of_several_segments_land_where_they_belong() {
    let (_, fetcher) = setting(&[100, 37]);
    let parts = [part(0, 3, 20, 0), part(1, 0, 37, 25), part(0, 99, 1, 70), part(0, 4, 1, 64)];
    let mut buffer = vec![0xee; 80 * BLOCK_BYTES];
    assert!(!fetcher.try_read(&parts, &mut buffer));
    assert_eq!(block_on(read(&fetcher, &parts, 80)).unwrap(), expected(&parts, 80));
    let mut buffer = vec![0xee; 80 * BLOCK_BYTES];
    assert!(fetcher.try_read(&parts, &mut buffer), "now everything is cached");
    assert_eq!(buffer, expected(&parts, 80));
}

#[test]
fn a_cached_read_costs_no_request() {
    let (store, fetcher) = setting(&[64]);
    let parts = [part(0, 0, 64, 0)];
    block_on(read(&fetcher, &parts, 64)).unwrap();
    store.requests.lock().clear();
    block_on(read(&fetcher, &parts, 64)).unwrap();
    assert_eq!(store.requests.lock().len(), 0);
    let frames = fetcher.usage().frame_misses;
    assert!(frames >= 2, "64 blocks are several frames");
    assert_eq!(fetcher.usage().frame_hits, frames);
    assert!(fetcher.try_read(&parts, &mut [0; 64 * BLOCK_BYTES]));
    assert_eq!((fetcher.usage().frame_hits, fetcher.usage().frame_misses), (2 * frames, frames));
}

#[test]
fn neighbours_come_in_one_get_and_large_reads_in_several() {
    let (store, fetcher) = setting(&[2048]);
    block_on(fetcher.index(id(0), None)).unwrap();
    store.requests.lock().clear();
    // Two frames with one frame of 32 KiB between them.
    block_on(read(&fetcher, &[part(0, 0, 1, 0), part(0, 16, 1, 1)], 2)).unwrap();
    assert_eq!(store.count("get"), 1);
    // Two frames with 224 KiB between them.
    block_on(read(&fetcher, &[part(0, 200, 1, 0), part(0, 264, 1, 1)], 2)).unwrap();
    assert_eq!(store.count("get"), 3);
    store.requests.lock().clear();
    // 4 MiB.
    block_on(read(&fetcher, &[part(0, 1000, 1024, 0)], 1024)).unwrap();
    assert_eq!(store.count("get"), 4);
    for line in store.requests.lock().iter() {
        let (start, end) = line.rsplit(' ').next().unwrap().split_once("..").unwrap();
        assert!(end.parse::<u64>().unwrap() - start.parse::<u64>().unwrap() <= GET_BYTES_MAX, "{line}");
    }
}

#[test]
fn many_who_want_one_frame_make_one_get() {
    let (store, fetcher) = setting(&[64]);
    let parts = [part(0, 5, 2, 0)];
    let reads = block_on(join_all((0..20).map(|_| read(&fetcher, &parts, 2))));
    assert!(reads.into_iter().all(|read| read.unwrap() == expected(&parts, 2)));
    assert_eq!(store.count("get"), 2, "one for the index, one for the frame");
    assert_eq!(fetcher.usage().frames_in_flight, 0);
}

#[test]
fn crossing_reads_do_not_wait_for_each_other() {
    let (_, fetcher) = setting(&[64, 64]);
    let there = [part(0, 0, 32, 0), part(1, 0, 32, 32)];
    let back = [part(1, 0, 64, 0), part(0, 0, 64, 64)];
    let (one, two) = block_on(join(read(&fetcher, &there, 64), read(&fetcher, &back, 128)));
    assert_eq!(one.unwrap(), expected(&there, 64));
    assert_eq!(two.unwrap(), expected(&back, 128));
}

#[test]
fn who_waits_goes_on_when_the_one_who_fetches_goes_away() {
    let (store, fetcher) = setting(&[64]);
    // With the index missing, and with it cached.
    for round in 0..2 {
        let parts = [part(0, round * 32, 8, 0)];
        block_on(async {
            // Both are polled once: the first one leads. Then it is dropped.
            let leader = start(Box::pin(read(&fetcher, &parts, 8))).await;
            let waiter = start(Box::pin(read(&fetcher, &parts, 8))).await;
            drop(leader);
            assert_eq!(waiter.await.unwrap(), expected(&parts, 8), "round {round}");
        });
        assert_eq!(fetcher.usage().gets_in_flight, 0);
    }
    assert!(store.count("get") > 0);
}

#[test]
fn a_damaged_frame_is_refused_and_its_neighbours_are_not() {
    let (store, fetcher) = setting(&[64]);
    let name = names::segment(id(0));
    let index = block_on(fetcher.index(id(0), None)).unwrap();
    let mut bytes = store.bytes(&name).unwrap().to_vec();
    bytes[index.frames[2].offset as usize + 77] ^= 0x10;
    store.replace(&name, bytes);
    assert_damaged(block_on(read(&fetcher, &[part(0, 0, 64, 0)], 64)), "tag");
    assert_damaged(block_on(read(&fetcher, &[part(0, 23, 1, 0)], 1)), "tag");
    let good = [part(0, 24, 40, 0)];
    assert_eq!(block_on(read(&fetcher, &good, 40)).unwrap(), expected(&good, 40));
}

#[test]
fn bytes_damaged_on_the_way_are_got_again() {
    let (store, fetcher) = setting(&[64]);
    let parts = [part(0, 0, 8, 0)];
    *store.garbled.lock() = 1;
    block_on(fetcher.index(id(0), None)).unwrap();
    *store.garbled.lock() = 1;
    assert_eq!(block_on(read(&fetcher, &parts, 8)).unwrap(), expected(&parts, 8));
}

#[test]
fn lost_data_is_an_error_and_never_zeros() {
    let (store, fetcher) = setting(&[64]);
    block_on(fetcher.index(id(0), None)).unwrap();
    block_on(fetcher.world.objects.delete(&names::segment(id(0)))).unwrap();
    assert_damaged(block_on(read(&fetcher, &[part(0, 0, 1, 0)], 1)), "does not have it");
    assert_damaged(block_on(fetcher.index(id(7), None)), "does not have it");
    // A segment cut short, and one of which the map wants more than it has.
    let whole = segment(id(0), 64).bytes;
    store.replace(&names::segment(id(0)), whole[..whole.len() / 2].to_vec());
    let read_one = |counter, slot| block_on(read(&fetcher, &[part(counter, slot, 1, 0)], 1));
    assert!(read_one(0, 60).is_err());
    store.replace(&names::segment(id(0)), whole);
    assert_damaged(read_one(0, 64), "slots");
}

#[test]
fn a_segment_of_another_id_or_pool_is_refused() {
    let (store, fetcher) = setting(&[]);
    store.replace(&names::segment(id(3)), segment(id(4), 8).bytes);
    assert_damaged(block_on(fetcher.index(id(3), None)), "segment");
    store.replace(&names::segment(id(4)), segment(id(4), 8).bytes);
    let other = Fetcher::new(world(&store), PoolId([9; 16]), 0);
    assert_damaged(block_on(other.index(id(4), None)), "pool");
}

#[test]
fn an_index_is_the_one_that_a_head_names() {
    let (store, fetcher) = setting(&[]);
    let encoded = segment(id(0), 16);
    store.replace(&names::segment(id(0)), encoded.bytes.clone());
    let tail = TailSegment {
        id: id(0),
        first_sequence: 1,
        last_sequence: 1,
        object_bytes: encoded.bytes.len() as u64,
        index_hash: encoded.index_hash,
    };
    assert_eq!(*block_on(fetcher.index(id(0), Some(&tail))).unwrap(), encoded.index);
    let wrong = TailSegment { last_sequence: 2, ..tail };
    assert_damaged(block_on(fetcher.index(id(0), Some(&wrong))), "a head names");
    let found = block_on(join_all((0..9).map(|_| fetcher.index(id(0), None))));
    assert!(found.iter().all(Result::is_ok));
    assert_eq!(store.count("get"), 1);
}

#[test]
fn a_large_index_takes_a_second_get() {
    let (store, fetcher) = setting(&[]);
    let mut writer = SegmentWriter::new(
        SegmentHeader { pool: POOL, id: id(0), attempt: AttemptId([2; 16]), key_id: 0, salt: [0; 32] },
        Compression::Off,
    );
    writer.push_frame(&block(id(0), 0));
    let runs =
        (0..60_000).map(|i| Run { lba: i * 977, blocks: 1, sequence: i + 1, kind: RunKind::Zero }).collect();
    let encoded = writer.finish(runs, 1, 60_000);
    assert!(encoded.bytes.len() > 2 * super::INDEX_SUFFIX_BYTES as usize);
    store.replace(&names::segment(id(0)), encoded.bytes);
    assert_eq!(*block_on(fetcher.index(id(0), None)).unwrap(), encoded.index);
    assert_eq!(store.count("get"), 2);
}

#[test]
fn the_cache_has_a_bound_and_reads_do_without_it() {
    let (_, fetcher) = setting(&[4096]);
    for slot in (0..4096).step_by(256) {
        block_on(read(&fetcher, &[part(0, slot, 256, 0)], 256)).unwrap();
        assert!(fetcher.usage().frame_bytes <= CACHE_BYTES as u64);
    }
    assert!(fetcher.usage().frame_bytes > CACHE_BYTES as u64 / 2);
    let (store, _) = setting(&[64]);
    let uncached = Fetcher::new(world(&store), POOL, 0);
    let parts = [part(0, 0, 64, 0)];
    assert_eq!(block_on(read(&uncached, &parts, 64)).unwrap(), expected(&parts, 64));
    assert_eq!(uncached.usage().frame_bytes, 0);
}

#[test]
fn a_store_that_fails_for_a_while_is_asked_again_and_one_that_stays_away_is_an_error() {
    let (store, fetcher) = setting(&[64]);
    store.gets.lock().extend([StoreErrorKind::Transient; 3]);
    let parts = [part(0, 0, 1, 0)];
    assert_eq!(block_on(read(&fetcher, &parts, 1)).unwrap(), expected(&parts, 1));
    store.gets.lock().extend([StoreErrorKind::Transient; 10_000]);
    let outcome = block_on(read(&fetcher, &[part(0, 60, 1, 0)], 1));
    assert!(matches!(outcome, Err(EngineError::Store(_))), "{outcome:?}");
    assert!(fetcher.world.clock.monotonic() < Duration::from_secs(60));
    assert_eq!(fetcher.usage().frames_in_flight, 0);
}

#[test]
fn pages_are_verified_and_cached() {
    let (store, fetcher) = setting(&[]);
    let mut writer = PackWriter::new(POOL, PackId([5; 16]), AttemptId([6; 16]));
    let page = Page::Leaf(vec![LeafRun { start: 1, blocks: 7, address: Address::segment(id(0), 9) }]);
    let reference = writer.add(0, 3, &page);
    let bytes = writer.finish();
    let name = names::pack(PackId([5; 16]));
    let mut spoilt = bytes.clone();
    spoilt[reference.offset as usize + reference.bytes as usize / 2] ^= 4;
    store.replace(&name, spoilt);
    assert_damaged(block_on(fetcher.page(&reference, 0, 3)), &name);
    store.replace(&name, bytes);
    assert_eq!(*block_on(fetcher.page(&reference, 0, 3)).unwrap(), page);
    store.requests.lock().clear();
    assert_eq!(*block_on(fetcher.page(&reference, 0, 3)).unwrap(), page);
    assert_eq!(store.requests.lock().len(), 0);
    assert_damaged(block_on(fetcher.page(&reference, 0, 4)), &name);
    store.requests.lock().clear();
    let (made, page) = made_page(&fetcher);
    assert_eq!(block_on(fetcher.page(&made, 0, 8)).unwrap(), page);
    assert_eq!(store.requests.lock().len(), 0, "a page that was just made is not read");
    let huge = esker_format::page::PageRef { bytes: u32::MAX, ..reference };
    assert_damaged(block_on(fetcher.page(&huge, 0, 3)), "at most");
}

#[test]
fn the_pages_below_an_inner_page_come_along() {
    let (store, fetcher) = setting(&[]);
    let mut writer = PackWriter::new(POOL, PackId([5; 16]), AttemptId([6; 16]));
    let leaf = Page::Leaf(vec![LeafRun { start: 1, blocks: 7, address: Address::segment(id(0), 9) }]);
    let below = writer.add(0, 3, &leaf);
    let inner = Page::Inner(vec![(3, Child::Page(below))]);
    let above = writer.add(1, 0, &inner);
    let name = names::pack(PackId([5; 16]));
    store.replace(&name, writer.finish());
    assert_eq!(*block_on(fetcher.page(&above, 1, 0)).unwrap(), inner);
    store.requests.lock().clear();
    // Not what its reference says: asked for after all.
    let other = PageRef { hash: Hash([9; 32]), ..below };
    assert_damaged(block_on(fetcher.page(&other, 0, 3)), &name);
    let huge = PageRef { offset: u64::MAX - 5, bytes: 100, ..below };
    assert_damaged(block_on(fetcher.page(&huge, 0, 3)), "beyond the end");
    store.requests.lock().clear();
    assert_eq!(*block_on(fetcher.page(&below, 0, 3)).unwrap(), leaf);
    assert_eq!(store.requests.lock().len(), 0);
    assert!(fetcher.usage().page_bytes > u64::from(below.bytes));
}

/// A page of a pack that no store has.
fn made_page(fetcher: &Fetcher) -> (PageRef, Arc<Page>) {
    let mut writer = PackWriter::new(POOL, PackId([7; 16]), AttemptId([6; 16]));
    let page = Page::Leaf(vec![LeafRun { start: 1, blocks: 7, address: Address::segment(id(0), 9) }]);
    let reference = writer.add(0, 8, &page);
    fetcher.made(reference, 0, 8, page.clone());
    (reference, Arc::new(page))
}

#[test]
fn permits_go_round_and_none_is_lost() {
    let permits = Permits::new(2);
    block_on(async {
        let (one, _two) = (permits.acquire().await, permits.acquire().await);
        // Both queue up; the first is handed a permit and goes without looking at it.
        let gone = start(Box::pin(permits.acquire())).await;
        let waiting = start(Box::pin(permits.acquire())).await;
        drop(one);
        drop(gone);
        drop(waiting.await);
        assert_eq!(permits.free(), 1);
    });
    assert_eq!(permits.free(), 2);
}

#[test]
fn reads_can_move_between_threads() {
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    let (_, fetcher) = setting(&[64]);
    let parts = [part(0, 0, 8, 0)];
    let mut buffer = vec![0; 8 * BLOCK_BYTES];
    block_on(is_send(fetcher.read(&parts, &mut buffer))).unwrap();
    block_on(is_send(fetcher.index(id(0), None))).unwrap();
    assert_eq!(fetcher.usage().gets_in_flight, 0);
    assert_eq!(fetcher.gets.free(), GETS_IN_FLIGHT_MAX);
}

/// A fetcher of a new run, with a disk cache in a directory.
fn with_disk(store: &Arc<Store>, directory: &std::path::Path) -> Fetcher {
    let disk = Arc::new(esker_io::LocalDisk::open(directory).unwrap());
    let world = esker_io::World { disk, ..world(store) };
    block_on(Fetcher::new(world, POOL, CACHE_BYTES).with_disk_cache(4 << 20))
}

#[test]
fn the_next_run_reads_from_the_disk_without_a_get() {
    let (store, _) = setting(&[100, 37]);
    let directory = tempfile::tempdir().unwrap();
    let parts = [part(0, 3, 20, 0), part(1, 0, 37, 25), part(0, 99, 1, 70), part(0, 4, 1, 64)];
    let fetcher = with_disk(&store, directory.path());
    assert_eq!(block_on(read(&fetcher, &parts, 80)).unwrap(), expected(&parts, 80));
    block_on(fetcher.close_disk_cache());
    let gets = store.count("get");
    let fetcher = with_disk(&store, directory.path());
    assert_eq!(block_on(read(&fetcher, &parts, 80)).unwrap(), expected(&parts, 80));
    assert_eq!(store.count("get"), gets, "indexes and frames come from the disk");
    let part = [part(0, 60, 1, 0)];
    assert_eq!(block_on(read(&fetcher, &part, 1)).unwrap(), expected(&part, 1));
    assert_eq!(store.count("get"), gets + 1, "what is not there comes from the store");
}

#[test]
fn a_segment_of_this_host_is_read_without_a_get() {
    let (store, _) = setting(&[]);
    let directory = tempfile::tempdir().unwrap();
    let fetcher = with_disk(&store, directory.path());
    let sealed = segment(id(3), 64);
    block_on(fetcher.keep_segment(&sealed.index, sealed.index_hash, &sealed.bytes.into()));
    let parts = [part(3, 0, 64, 0)];
    assert_eq!(block_on(read(&fetcher, &parts, 64)).unwrap(), expected(&parts, 64));
    assert_eq!(store.count("get"), 0);
}
