use esker_format::{
    AttemptId, BLOCK_BYTES, Compression, Hash, PoolId, RunId, SegmentId, TableEntry, TableRecord,
    address::Address,
    chain::Place,
    ids::BundleId,
    names,
    segment::{EncodedSegment, Rewrite, Run, RunKind, SegmentHeader, SegmentWriter},
};
use esker_io::sync::Arc;

use super::super::{Fetcher, Part};
use crate::{
    EngineError,
    testing::{Store, block_on, world},
};

const POOL: PoolId = PoolId([1; 16]);
const BUNDLE: BundleId = BundleId([9; 16]);
const SLOTS: u64 = 64;

fn id() -> SegmentId {
    SegmentId::new(1, 7).unwrap()
}

fn block(slot: u64) -> Vec<u8> {
    (0..BLOCK_BYTES / 8).flat_map(|word| (slot << 32 | word as u64).to_le_bytes()).collect()
}

fn frames(writer: &mut SegmentWriter, slots: &[u64]) {
    for frame in slots.chunks(8) {
        writer.push_frame(&frame.iter().flat_map(|slot| block(*slot)).collect::<Vec<_>>());
    }
}

fn writer(salt: u8) -> SegmentWriter {
    let attempt = AttemptId([salt; 16]);
    SegmentWriter::new(
        SegmentHeader { pool: POOL, id: id(), attempt, key_id: 0, salt: [salt; 32] },
        Compression::Off,
    )
}

fn sealed() -> EncodedSegment {
    let mut writer = writer(1);
    frames(&mut writer, &(0..SLOTS).collect::<Vec<_>>());
    let run = Run { lba: 0, blocks: SLOTS, sequence: 1, kind: RunKind::Data { first_slot: 0 } };
    writer.finish(vec![run], 1, 1)
}

fn rewritten() -> EncodedSegment {
    let sealed = sealed();
    let kept = vec![(4, 3), (20, 10), (63, 1)];
    let mut writer = writer(2);
    frames(&mut writer, &(4..7).chain(20..30).chain([63]).collect::<Vec<_>>());
    writer.finish_rewrite(&sealed.index, Rewrite::new(sealed.bytes.len() as u64, sealed.index_hash, kept))
}

/// The bundle with its image at an odd place, and the record that names it.
fn rewrite(store: &Store) {
    let image = rewritten();
    let entry = TableEntry {
        segment: id(),
        bundle: BUNDLE,
        offset: 1_000,
        bytes: image.bytes.len() as u64,
        index_hash: image.index_hash,
    };
    let record = TableRecord {
        place: Place {
            pool: POOL,
            number: 1,
            attempt: AttemptId([3; 16]),
            run: RunId([4; 16]),
            written_ms: 0,
            previous: None,
        },
        round: 1,
        base: 1,
        entries: vec![entry],
        removed: Vec::new(),
    };
    store.replace(&names::bundle(BUNDLE), [vec![0xee; 1_000], image.bytes, vec![0xee; 50]].concat());
    store.replace(&names::table(1), record.encode());
}

/// Reads the table.
fn look(fetcher: &Fetcher) {
    fetcher.install(block_on(fetcher.newest_table()).unwrap());
}

fn read(fetcher: &Fetcher, slot: u16, blocks: u64) -> Result<Vec<u8>, EngineError> {
    let mut buffer = vec![0xee; blocks as usize * BLOCK_BYTES];
    let part = Part { address: Address::segment(id(), slot), blocks, offset: 0 };
    block_on(fetcher.read(&[part], &mut buffer)).map(|()| buffer)
}

fn expected(slots: std::ops::Range<u64>) -> Vec<u8> {
    slots.flat_map(block).collect()
}

fn setting() -> (Arc<Store>, Fetcher) {
    let store = Arc::new(Store::default());
    store.replace(&names::segment(id()), sealed().bytes);
    let fetcher = Fetcher::new(world(&store), POOL, 8 << 20);
    look(&fetcher);
    assert_eq!(*store.requests.lock(), ["list table/"], "nothing was rewritten");
    (store, fetcher)
}

#[test]
fn a_reader_asks_once_where_a_segment_is() {
    let (store, fetcher) = setting();
    assert_eq!(read(&fetcher, 0, 8).unwrap(), expected(0..8));
    rewrite(&store);
    assert_eq!(read(&fetcher, 8, 8).unwrap(), expected(8..16), "what it knows is where it was");
    block_on(fetcher.world.objects.delete(&names::segment(id()))).unwrap();
    store.requests.lock().clear();
    assert_eq!(read(&fetcher, 22, 7).unwrap(), expected(22..29));
    assert_eq!((store.count("list"), fetcher.table().number()), (1, 1));
    // What of it is in memory of the old image is right, but it is not looked for there.
    assert_eq!(read(&fetcher, 4, 3).unwrap(), expected(4..7));
    assert_eq!(read(&fetcher, 63, 1).unwrap(), expected(63..64));
    assert_eq!(store.count("list"), 1, "and knows it from then on");
}

#[test]
fn what_was_dropped_is_an_error() {
    let (store, fetcher) = setting();
    rewrite(&store);
    look(&fetcher);
    for (slot, blocks) in [(7, 1), (3, 2), (6, 15), (62, 2)] {
        let error = read(&fetcher, slot, blocks).unwrap_err().to_string();
        assert!(error.contains("was dropped by reclaim"), "{error}");
    }
}

#[test]
fn what_is_missing_everywhere_is_damage_and_no_loop() {
    let (store, fetcher) = setting();
    rewrite(&store);
    block_on(fetcher.world.objects.delete(&names::segment(id()))).unwrap();
    block_on(fetcher.world.objects.delete(&names::bundle(BUNDLE))).unwrap();
    store.requests.lock().clear();
    let error = read(&fetcher, 22, 1).unwrap_err();
    assert!(matches!(error, EngineError::Damaged { .. }), "{error}");
    // The index where it was; then the table; then where that says, once more for the read as a whole.
    assert!(store.count("list") <= 2 && store.count("get") <= 5, "{:?}", store.requests.lock());
}

#[test]
fn a_head_that_names_what_was_sealed_is_content() {
    let (store, fetcher) = setting();
    rewrite(&store);
    look(&fetcher);
    let sealed = sealed();
    let named = esker_format::TailSegment {
        id: id(),
        first_sequence: 1,
        last_sequence: 1,
        object_bytes: sealed.bytes.len() as u64,
        index_hash: sealed.index_hash,
    };
    let index = block_on(fetcher.index(id(), Some(&named))).unwrap();
    assert_eq!(index.slots, SLOTS as u32);
    let other = esker_format::TailSegment { index_hash: Hash([7; 32]), ..named };
    assert!(block_on(fetcher.index(id(), Some(&other))).is_err());
}

#[test]
fn an_image_that_the_table_does_not_name_is_refused() {
    let (store, fetcher) = setting();
    rewrite(&store);
    let other = {
        let mut writer = writer(5);
        frames(&mut writer, &(4..7).chain(20..30).chain([63]).collect::<Vec<_>>());
        let sealed = sealed();
        // The same slots, and other runs: as long, and whole.
        let index = esker_format::segment::SegmentIndex {
            runs: sealed.index.runs.iter().map(|run| Run { lba: run.lba + 1, ..*run }).collect(),
            ..sealed.index
        };
        let kept = vec![(4, 3), (20, 10), (63, 1)];
        writer.finish_rewrite(&index, Rewrite::new(sealed.bytes.len() as u64, sealed.index_hash, kept))
    };
    store.replace(&names::bundle(BUNDLE), [vec![0xee; 1_000], other.bytes].concat());
    look(&fetcher);
    let error = read(&fetcher, 4, 1).unwrap_err().to_string();
    assert!(error.contains("which the segment table names"), "{error}");
}
