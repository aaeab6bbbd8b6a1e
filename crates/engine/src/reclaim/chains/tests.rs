use std::time::Duration;

use esker_format::{
    Bulk, Dead, Hash, Properties, RunId, SegmentId, TableEntry,
    ids::BundleId,
    names,
    segment::{SEGMENT_BYTES_MIN, SlotRun},
};
use esker_io::sync::{Arc, Mutex};

use super::super::round::{Options, Round};
use super::TableChange;
use crate::{
    EngineError, Result,
    pool::Pool,
    testing::{Store, block_on, world},
};

fn entry(counter: u32, bundle: u8) -> TableEntry {
    TableEntry {
        segment: SegmentId::new(1, counter).unwrap(),
        bundle: BundleId([bundle; 16]),
        offset: 0,
        bytes: SEGMENT_BYTES_MIN,
        index_hash: Hash([bundle; 32]),
    }
}

fn round<'a>(pool: &'a Pool, run: u8) -> Round<'a> {
    let round = Round {
        pool,
        run: RunId([run; 16]),
        options: Options {
            grace: Duration::ZERO,
            force: false,
            dry_run: false,
            gently: false,
            limits: Default::default(),
        },
        owners: &[],
        asked: &[],
        table: Mutex::default(),
        since: None,
        known: Box::leak(Box::default()),
        stop: &|| false,
        progress: &|_, _| (),
    };
    round.know(block_on(pool.fetcher().newest_table()).unwrap());
    round
}

fn pool(store: &Arc<Store>) -> Pool {
    block_on(Pool::create(world(store), Properties::default(), 1 << 20)).unwrap()
}

fn put(round: &Round<'_>, entries: Vec<TableEntry>, removed: Vec<u32>) -> Result<()> {
    let removed = removed.into_iter().map(|counter| SegmentId::new(1, counter).unwrap()).collect();
    block_on(round.write_table(TableChange { entries, removed, round: 0 }))
}

fn numbers(store: &Store) -> Vec<u64> {
    let number = |name: &String| match names::parse(name) {
        Some(names::ObjectName::Table(number)) => Some(number),
        _ => None,
    };
    let mut numbers: Vec<u64> = store.names().iter().filter_map(number).collect();
    numbers.sort_unstable();
    numbers
}

#[test]
fn a_table_of_many_records_is_read_from_its_last_full_one() {
    let store = Arc::new(Store::default());
    let pool = pool(&store);
    let writing = round(&pool, 1);
    for number in 0..200 {
        let removed = if number % 3 == 2 { vec![number - 1] } else { vec![] };
        put(&writing, vec![entry(number, number as u8), entry(1_000, number as u8)], removed).unwrap();
    }
    // Full ones are 1, 65, 129 and 193; those below 193 − 64 are gone.
    assert_eq!(numbers(&store), (129..=200).collect::<Vec<_>>());
    let other = block_on(Pool::open(world(&store), 1 << 20)).unwrap();
    store.requests.lock().clear();
    let fresh = block_on(other.fetcher().newest_table()).unwrap();
    assert_eq!((store.count("list"), store.count("get")), (1, 0), "nothing is new");
    let entries: Vec<_> = fresh.entries().copied().collect();
    let known: Vec<_> = writing.table().entries().copied().collect();
    assert_eq!(entries, known);
    assert_eq!(entries.len(), 200 - 66 + 1);
    assert_eq!(fresh.entry(SegmentId::new(1, 1_000).unwrap()), Some(&entry(1_000, 199)));
    assert_eq!(fresh.base(), 193);
    // A record more costs a reader one GET, whatever there is.
    put(&writing, vec![entry(5_000, 1)], vec![]).unwrap();
    store.requests.lock().clear();
    other.fetcher().install(block_on(other.fetcher().newest_table()).unwrap());
    assert_eq!((store.count("list"), store.count("get")), (1, 1));
    assert_eq!(other.fetcher().table().number(), 201);
}

#[test]
fn of_two_who_plan_with_one_table_one_goes_on() {
    let store = Arc::new(Store::default());
    let pool = pool(&store);
    let (first, second) = (round(&pool, 1), round(&pool, 2));
    put(&first, vec![entry(1, 1)], vec![]).unwrap();
    let refused = put(&second, vec![entry(1, 2)], vec![]).unwrap_err();
    assert!(matches!(refused, EngineError::Invalid(_)), "{refused}");
    // Though its run knows the newer table by now: what it planned is of the older one.
    pool.fetcher().install(block_on(pool.fetcher().newest_table()).unwrap());
    assert!(put(&second, vec![entry(1, 2)], vec![]).is_err());
    put(&round(&pool, 2), vec![entry(2, 2)], vec![]).unwrap();
    assert_eq!(numbers(&store), [1, 2]);
}

#[test]
fn a_number_that_was_free_again_is_void() {
    let store = Arc::new(Store::default());
    let pool = pool(&store);
    let (late, others) = (round(&pool, 1), round(&pool, 2));
    for number in 0..140 {
        put(&others, vec![entry(number, 1)], vec![]).unwrap();
    }
    assert_eq!(numbers(&store).first(), Some(&65), "number 1 is gone");
    assert!(put(&late, vec![entry(1, 2)], vec![]).is_err());
    assert_eq!(numbers(&store).first(), Some(&1), "it was free");
    // A stray below: nobody looks at it.
    let table = block_on(pool.fetcher().newest_table()).unwrap();
    assert_eq!(table.entry(SegmentId::new(1, 1).unwrap()), Some(&entry(1, 1)));
}

#[test]
fn a_record_that_does_not_chain_is_damage() {
    let store = Arc::new(Store::default());
    let pool = pool(&store);
    let writing = round(&pool, 1);
    for number in 0..3 {
        put(&writing, vec![entry(number, 1)], vec![]).unwrap();
    }
    let other = Arc::new(Store::default());
    let foreign = pool_like(&other, &store);
    let elsewhere = round(&foreign, 2);
    for number in 0..3 {
        put(&elsewhere, vec![entry(number, 2)], vec![]).unwrap();
    }
    store.replace(&names::table(2), other.bytes(&names::table(2)).unwrap());
    let fresh = block_on(Pool::open(world(&store), 1 << 20)).unwrap();
    let error = block_on(fresh.fetcher().newest_table()).unwrap_err();
    assert!(error.to_string().contains("names the one before it"), "{error}");
}

/// A pool with the id of another.
fn pool_like(store: &Arc<Store>, other: &Store) -> Pool {
    store.replace(&names::pool(), other.bytes(&names::pool()).unwrap());
    pool(store)
}

#[test]
fn rounds_name_the_one_before() {
    let store = Arc::new(Store::default());
    let pool = pool(&store);
    let round = round(&pool, 1);
    let suspended = |counter, dropped: Vec<SlotRun>| esker_format::Suspended {
        segment: SegmentId::new(1, counter).unwrap(),
        dropped,
    };
    for number in 1..=140 {
        let all = vec![suspended(9, vec![(1, 2)]), suspended(2, vec![(0, 1)])];
        assert_eq!(block_on(round.publish(Vec::new(), all)).unwrap(), number);
    }
    let bytes = store.bytes(&names::round(140)).unwrap();
    let record = esker_format::RoundRecord::parse(&bytes).unwrap().verify(pool.id(), 140).unwrap();
    let before = store.bytes(&names::round(139)).unwrap();
    assert_eq!(record.place.previous.unwrap().hash, Hash::of(&before));
    assert_eq!(record.suspended[0].segment.counter, 2);
    assert!(store.bytes(&names::round(11)).is_none(), "old ones go");
}

/// A round rewrote many segments, and their old objects come due together. That trips no brake; as many that died do.
#[test]
fn what_was_superseded_is_not_asked_about() {
    let store = Arc::new(Store::default());
    let pool = pool(&store);
    let writing = round(&pool, 1);
    put(&writing, (0..1_500).map(|counter| entry(counter, 1)).collect(), Vec::new()).unwrap();
    let segments = |counters: std::ops::Range<u32>| {
        counters.map(|counter| Bulk::Segment(SegmentId::new(1, counter).unwrap())).collect::<Vec<_>>()
    };
    let bundles = [Bulk::Bundle(BundleId([1; 16])), Bulk::Bundle(BundleId([2; 16]))];
    let dead = |objects: &[Bulk]| -> Vec<Dead> {
        objects.iter().map(|object| Dead { object: *object, for_ms: 1, bytes: 1 }).collect()
    };
    let listed = |objects: &[Bulk]| objects.iter().map(|object| (*object, 1)).collect();
    // All but the current bundle.
    let mut superseded = segments(0..1_500);
    superseded.push(bundles[1]);
    let all = [&superseded[..], &bundles].concat();
    writing.brake(&dead(&superseded), &listed(&all)).unwrap();
    // Nor do they make the pool look larger than it is: 1,001 of 2,002 are dead, or one more.
    let others = segments(2_000..4_001);
    let all = [&all[..], &others].concat();
    writing.brake(&dead(&[&superseded[..], &others[..1_001]].concat()), &listed(&all)).unwrap();
    let refused = writing.brake(&dead(&[&superseded[..], &others[..1_002]].concat()), &listed(&all));
    assert!(refused.unwrap_err().to_string().contains("1002 of the pool's 2002"));
}
