use esker_format::{
    head::{Head, HeadKind, Lineage},
    ids::{DirectoryId, RunId, VolumeId},
    property::Properties,
};
use esker_io::sync::Arc;

use super::{Fate, Making, State};
use crate::{
    EngineError, Result,
    commit::Owner,
    delete,
    pool::Pool,
    segment_ids::SegmentIds,
    testing::{PutFault, Store, block_on, world},
};

const MIB: u64 = 1 << 20;
const OWNER: Owner = Owner { run: RunId([3; 16]), directory: DirectoryId([4; 16]) };

fn pool_with(name: &str) -> (Arc<Store>, Arc<Pool>, VolumeId) {
    let store = Arc::new(Store::default());
    let pool = block_on(Pool::create(world(&store), Properties::default(), 1 << 20)).unwrap();
    let volume = block_on(pool.create_volume(name, MIB, Properties::default())).unwrap();
    store.requests.lock().clear();
    (store, Arc::new(pool), volume)
}

fn newest(pool: &Pool, volume: VolumeId) -> Head {
    block_on(pool.newest_head(volume)).unwrap().head
}

fn make(pool: &Arc<Pool>, source: &Head, name: &str, kind: HeadKind) -> Result<Option<Head>> {
    let ids = SegmentIds::new(pool.clone(), OWNER.run);
    let making = Making { pool, ids: &ids, owner: OWNER };
    block_on(async {
        let place = pool.place(name).await?;
        making.make(State::of(source), place, (kind, Lineage::default()), || 0).await
    })
}

#[test]
fn a_birth_takes_five_requests_in_this_order() {
    let (store, pool, volume) = pool_with("base");
    let source = newest(&pool, volume);
    store.requests.lock().clear();
    let head = make(&pool, &source, "base@one", HeadKind::Frozen).unwrap().unwrap();
    let requests = store.requests.lock().clone();
    let (first, second) =
        (esker_format::names::head(head.volume, 1), esker_format::names::head(head.volume, 2));
    let expected = [
        format!("list {}", esker_format::names::name_chain("base@one")),
        format!("put {first}"),
        format!("put {}", esker_format::names::name("base@one", 1)),
        format!("list {}", esker_format::names::heads(volume)),
        format!("put {second}"),
    ];
    assert_eq!(requests, expected);
    assert_eq!((head.kind, head.number, head.epoch), (HeadKind::Frozen, 2, 1));
    assert_eq!(newest(&pool, head.volume), head);
    let source_of = head.lineage.source.unwrap();
    assert_eq!((source_of.volume, source_of.head), (volume, source.number));
}

#[test]
fn lost_answers_change_nothing() {
    let (store, pool, volume) = pool_with("base");
    let source = newest(&pool, volume);
    store.puts.lock().extend([PutFault::AnswerLost, PutFault::Lost, PutFault::AnswerLost, PutFault::Lost]);
    let head = make(&pool, &source, "copy", HeadKind::Released).unwrap().unwrap();
    assert_eq!(block_on(pool.lookup("copy")).unwrap(), Some(head.volume));
    assert_eq!(newest(&pool, head.volume).kind, HeadKind::Released);
}

#[test]
fn nobody_is_born_of_a_source_that_was_deleted() {
    let (_, pool, volume) = pool_with("base");
    let source = newest(&pool, volume);
    block_on(delete::delete(&pool, volume, OWNER, || false)).unwrap();
    assert!(make(&pool, &source, "late", HeadKind::Released).unwrap().is_none());
    assert_eq!(block_on(pool.lookup("late")).unwrap(), None, "its name is free again");
}

#[test]
fn number_two_decides() {
    let (_, pool, volume) = pool_with("base");
    let pin = |name: &str| {
        let place = block_on(pool.place(name)).unwrap();
        let state = State::of(&newest(&pool, volume));
        block_on(pool.pin(state, Some(place), Lineage::default(), OWNER)).unwrap()
    };
    let buried = pin("a");
    assert_eq!(block_on(buried.bury(&pool)).unwrap(), Fate::Buried);
    let refused = block_on(buried.born(&pool, HeadKind::Frozen)).unwrap_err();
    assert!(matches!(refused, EngineError::Invalid(_)), "{refused}");
    assert_eq!(block_on(buried.bury(&pool)).unwrap(), Fate::Buried, "again");
    let born = pin("b");
    let head = block_on(born.born(&pool, HeadKind::Frozen)).unwrap();
    assert_eq!(block_on(born.bury(&pool)).unwrap(), Fate::Born);
    assert_eq!(block_on(born.born(&pool, HeadKind::Frozen)).unwrap(), head, "again");
    assert!(block_on(pool.unborn(born.volume())).unwrap().is_none());
}

#[test]
fn the_name_of_what_is_dead_is_free() {
    let (_, pool, volume) = pool_with("base");
    let source = newest(&pool, volume);
    let pin = block_on(async {
        let place = pool.place("copy").await.unwrap();
        pool.pin(State::of(&source), Some(place), Lineage::default(), OWNER).await.unwrap()
    });
    assert_eq!(block_on(pool.lookup("copy")).unwrap(), Some(pin.volume()));
    // Whoever takes the name buries what was never born.
    let head = make(&pool, &source, "copy", HeadKind::Released).unwrap().unwrap();
    assert_eq!(newest(&pool, pin.volume()).kind, HeadKind::Deleted);
    let taken = make(&pool, &source, "copy", HeadKind::Released).unwrap_err();
    assert!(matches!(taken, EngineError::Exists(_)), "{taken}");
    // A crash between the head of a deletion and the name leaves it bound.
    block_on(delete::delete(&pool, head.volume, OWNER, || false)).unwrap();
    let second = block_on(pool.create_volume("copy", MIB, Properties::default())).unwrap();
    assert_eq!(block_on(pool.lookup("copy")).unwrap(), Some(second));
}

#[test]
fn a_look_knows_a_number_that_came_again() {
    let (store, pool, volume) = pool_with("base");
    let source = newest(&pool, volume);
    let pin = block_on(pool.pin(State::of(&source), None, Lineage::default(), OWNER)).unwrap();
    // Head 1 is thinned, somebody paused makes another one of that number, and the chain has gone on.
    let other = Head { attempt: esker_format::ids::AttemptId([9; 16]), ..source.clone() };
    let next = Head {
        number: 2,
        attempt: esker_format::ids::AttemptId([8; 16]),
        previous: Some(esker_format::head::Previous {
            number: 1,
            attempt: source.attempt,
            hash: esker_format::ids::Hash::of(&source.encode()),
        }),
        ..source.clone()
    };
    block_on(pool.put(&next)).unwrap().unwrap();
    assert!(block_on(pin.look(&pool, || 0)).unwrap(), "it is there, below another");
    store.replace(&esker_format::names::head(volume, 1), other.encode());
    assert!(!block_on(pin.look(&pool, || 2)).unwrap(), "a number is not a head");
}

#[test]
fn a_name_that_was_taken_meanwhile_buries_the_pin() {
    let (_, pool, volume) = pool_with("base");
    let source = newest(&pool, volume);
    let place = block_on(pool.place("copy")).unwrap();
    block_on(pool.create_volume("copy", MIB, Properties::default())).unwrap();
    let refused = block_on(pool.pin(State::of(&source), Some(place), Lineage::default(), OWNER)).unwrap_err();
    assert!(matches!(refused, EngineError::Exists(_)), "{refused}");
}
