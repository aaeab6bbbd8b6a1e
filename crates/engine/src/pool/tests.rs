use esker_format::{ids::RunId, name::NameState, names as object_names, property::Properties};
use esker_io::{StoreErrorKind, World, sync::Arc};
use futures_util::future::join_all;

use super::{Pool, probe};
use crate::{
    EngineError,
    testing::{Flaw, PutFault, Store, block_on, world},
};

const GIB: u64 = 1 << 30;

pub(super) fn new_pool() -> (Arc<Store>, Pool) {
    let store = Arc::new(Store::default());
    let pool = block_on(Pool::create(world(&store), Properties::default(), 1 << 20)).unwrap();
    (store, pool)
}

fn failed_checks(world: &World) -> Vec<&'static str> {
    let lines = block_on(probe(world));
    lines.into_iter().filter(|line| !line.passed).map(|line| line.check).collect()
}

#[test]
fn a_good_store_passes_and_is_left_clean() {
    let store = Arc::new(Store::default());
    let lines = block_on(probe(&world(&store)));
    assert!(lines.iter().all(|line| line.passed), "{lines:?}");
    assert_eq!(lines.len(), 10);
    assert_eq!(store.names(), Vec::<String>::new());
}

#[test]
fn each_flaw_fails_its_check() {
    for (flaw, expected) in [
        (Flaw::Overwrites, "create-if-absent refuses a name that is taken"),
        (Flaw::RacersWin, "of eight that create one name at once, one succeeds"),
        (Flaw::NoRanges, "a range of an object can be read"),
        (Flaw::ShortSuffix, "a suffix longer than the object is the whole object"),
        (Flaw::NoList, "LIST shows what was just written"),
        (Flaw::NoDelete, "a deleted object is gone"),
    ] {
        let store = Arc::new(Store::with(flaw));
        let world = world(&store);
        let failed = failed_checks(&world);
        assert!(failed.contains(&expected), "{flaw:?} fails {failed:?}");
        let refused =
            block_on(Pool::create(world, Properties::default(), 0)).err().expect("a pool is refused");
        assert!(matches!(&refused, EngineError::Invalid(text) if text.contains(expected)), "{refused}");
    }
    let racy = world(&Arc::new(Store::with(Flaw::RacersWin)));
    let expected = "of eight that create one name at once, one succeeds";
    assert_eq!(failed_checks(&racy), [expected], "one after the other it looks sound");
}

#[test]
fn a_store_that_only_refuses_ends_the_probe() {
    let store = Arc::new(Store::default());
    store.puts.lock().extend([PutFault::Refused; 100]);
    assert_eq!(failed_checks(&world(&store)), ["an object can be created"]);
}

#[test]
fn passing_failures_are_no_flaws() {
    let store = Arc::new(Store::default());
    store.puts.lock().extend([PutFault::Lost, PutFault::AnswerLost, PutFault::Lost]);
    store.gets.lock().extend([StoreErrorKind::Transient; 3]);
    assert_eq!(failed_checks(&world(&store)), Vec::<&str>::new());
}

#[test]
fn a_pool_is_made_once_and_opened_after() {
    let store = Arc::new(Store::default());
    let world = world(&store);
    let missing = block_on(Pool::open(world.clone(), 0)).err().expect("no pool");
    assert!(matches!(missing, EngineError::NotFound(_)), "{missing}");
    let first = block_on(Pool::create(world.clone(), Properties::default(), 0)).unwrap();
    let second = block_on(Pool::create(world.clone(), Properties::default(), 0)).unwrap();
    let opened = block_on(Pool::open(world, 0)).unwrap();
    assert_eq!((first.record(), first.record()), (second.record(), opened.record()));
    assert_eq!(store.names(), ["pool"]);
}

#[test]
fn two_who_make_a_pool_at_once_have_one_pool() {
    let store = Arc::new(Store::default());
    let world = world(&store);
    let make = || Pool::create(world.clone(), Properties::default(), 0);
    let pools = block_on(join_all([make(), make()]));
    let ids: Vec<_> = pools.into_iter().map(|pool| pool.unwrap().id()).collect();
    assert_eq!(ids[0], ids[1]);
}

#[test]
fn a_spoilt_pool_record_is_refused() {
    let (store, pool) = new_pool();
    let mut bytes = store.bytes("pool").unwrap().to_vec();
    bytes[40] ^= 1;
    store.replace("pool", bytes);
    let refused = block_on(Pool::open(pool.world().clone(), 0)).err().expect("a damaged record");
    assert!(matches!(refused, EngineError::Damaged { .. }), "{refused}");
}

#[test]
fn a_volume_has_a_head_before_it_has_a_name() {
    let (store, pool) = new_pool();
    store.requests.lock().clear();
    let volume = block_on(pool.create_volume("vm-1", GIB, Properties::default())).unwrap();
    let puts: Vec<_> = store.requests.lock().iter().filter(|line| line.starts_with("put")).cloned().collect();
    let head = format!("put {}", object_names::head(volume, 1));
    assert_eq!(puts, [head, format!("put {}", object_names::name("vm-1", 1))]);
    let newest = block_on(pool.newest_head(volume)).unwrap();
    assert_eq!((newest.head.size_bytes, newest.head.epoch, &newest.numbers[..]), (GIB, 1, &[1][..]));
    assert_eq!(block_on(pool.lookup("vm-1")).unwrap(), Some(volume));
    assert_eq!(block_on(pool.lookup("vm-2")).unwrap(), None);
}

#[test]
fn bad_sizes_and_names_are_refused() {
    let (_, pool) = new_pool();
    let create = |name: &str, size| block_on(pool.create_volume(name, size, Properties::default()));
    for size in [0, 1, 4095, 4097, u64::MAX, 1 << 54] {
        assert!(matches!(create("vm", size), Err(EngineError::Invalid(_))), "{size}");
    }
    for name in ["", "UP", "a/b", "a@b", ".."] {
        assert!(matches!(create(name, GIB), Err(EngineError::Format(_))), "{name}");
    }
}

#[test]
fn of_racing_creators_one_gets_the_name() {
    let (store, pool) = new_pool();
    let create = || pool.create_volume("vm", GIB, Properties::default());
    let outcomes = block_on(join_all([create(), create(), create(), create()]));
    let won: Vec<_> = outcomes.iter().flatten().collect();
    assert_eq!(won.len(), 1, "{outcomes:?}");
    assert!(
        outcomes
            .iter()
            .flat_map(|outcome| outcome.as_ref().err())
            .all(|e| matches!(e, EngineError::Exists(_)))
    );
    assert_eq!(block_on(pool.lookup("vm")).unwrap(), Some(*won[0]));
    let records = store.names().into_iter().filter(|name| name.starts_with("names/")).count();
    assert_eq!(records, 1);
    assert!(matches!(block_on(create()), Err(EngineError::Exists(_))));
}

#[test]
fn a_name_is_bound_freed_and_bound_again() {
    let (store, pool) = new_pool();
    block_on(async {
        let first = pool.create_volume("vm", GIB, Properties::default()).await.unwrap();
        pool.create_volume("other", GIB, Properties::default()).await.unwrap();
        pool.set_name("vm", first, NameState::Free).await.unwrap();
        assert_eq!(pool.lookup("vm").await.unwrap(), None);
        // Again is fine; it is done already.
        pool.set_name("vm", first, NameState::Free).await.unwrap();
        let second = pool.create_volume("vm", GIB, Properties::default()).await.unwrap();
        assert_ne!(first, second);
        let late = pool.set_name("vm", first, NameState::Free).await.unwrap_err();
        assert!(
            matches!(late, EngineError::Exists(_)),
            "a late delete of the first does not free the second: {late}"
        );
        let record = pool.name_record("vm").await.unwrap().unwrap();
        assert_eq!((record.number, record.state), (3, NameState::Bound(second)));
        store.requests.lock().clear();
        let names = pool.names().await.unwrap();
        assert_eq!(names.iter().map(|named| named.name.as_str()).collect::<Vec<_>>(), ["other", "vm"]);
        assert_eq!(names[1].volume, second);
        assert_eq!((store.count("list"), store.count("get")), (1, 2));
    });
}

#[test]
fn a_lost_answer_does_not_lose_the_name() {
    let (store, pool) = new_pool();
    store.puts.lock().extend([PutFault::AnswerLost, PutFault::Conflict, PutFault::Late]);
    let volume = block_on(pool.create_volume("vm", GIB, Properties::default())).unwrap();
    assert_eq!(block_on(pool.lookup("vm")).unwrap(), Some(volume));
}

#[test]
fn writer_numbers_are_won_once() {
    let (_, pool) = new_pool();
    let win = |run| pool.writer_number(RunId([run; 16]));
    let mut numbers: Vec<_> =
        block_on(join_all((1..=5).map(win))).into_iter().map(|number| number.unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2, 3, 4, 5]);
    assert_eq!(block_on(win(9)).unwrap(), 6);
}
