use std::{cell::Cell, time::Duration};

use bytes::Bytes;
use esker_io::{StoreErrorKind, World, sync::Arc};

use super::{BACKOFF_FIRST, BACKOFF_MAX, Settled, after, backoff, settle};
use crate::{
    EngineError, Result,
    testing::{PutFault, Seeded, Store, block_on, world},
};

const NAME: &str = "writers/00000001";

fn setting(faults: &[PutFault]) -> (Arc<Store>, World) {
    let store = Arc::new(Store::default());
    store.puts.lock().extend(faults);
    let world = world(&store);
    (store, world)
}

fn settle_mine(world: &World) -> Result<Settled> {
    let mine = Bytes::from_static(b"mine");
    block_on(settle(world, NAME, mine.clone(), |held| *held == mine, || false))
}

#[test]
fn a_plain_put_is_one_request() {
    let (store, world) = setting(&[]);
    assert_eq!(settle_mine(&world).unwrap(), Settled::Ours);
    assert_eq!(*store.requests.lock(), ["put writers/00000001"]);
}

#[test]
fn exists_and_is_theirs() {
    let (store, world) = setting(&[]);
    store.replace(NAME, "theirs");
    assert_eq!(settle_mine(&world).unwrap(), Settled::Theirs(Bytes::from_static(b"theirs")));
    assert_eq!(store.bytes(NAME).unwrap(), "theirs");
}

#[test]
fn a_lost_answer_is_found_to_be_ours() {
    let (store, world) = setting(&[PutFault::AnswerLost]);
    assert_eq!(settle_mine(&world).unwrap(), Settled::Ours);
    assert_eq!((store.count("put"), store.count("get")), (2, 1));
}

#[test]
fn exists_and_then_not_found_is_unknown_and_is_sent_again() {
    let (store, world) = setting(&[PutFault::Conflict, PutFault::Conflict]);
    assert_eq!(settle_mine(&world).unwrap(), Settled::Ours);
    assert_eq!((store.count("put"), store.count("get")), (3, 2));
    assert_eq!(store.bytes(NAME).unwrap(), "mine");
}

#[test]
fn a_put_that_lands_late_is_still_ours() {
    for later in
        [&[PutFault::Late][..], &[PutFault::Late, PutFault::Lost], &[PutFault::Late, PutFault::Conflict]]
    {
        let (store, world) = setting(later);
        assert_eq!(settle_mine(&world).unwrap(), Settled::Ours, "{later:?}");
        assert_eq!(store.bytes(NAME).unwrap(), "mine");
    }
}

#[test]
fn a_put_that_lands_late_is_beaten_by_another() {
    let (store, world) = setting(&[PutFault::Late]);
    let mine = Bytes::from_static(b"mine");
    let first = Cell::new(true);
    // Asked between the tries: just then somebody else takes the name.
    let other = || {
        if first.replace(false) {
            store.replace(NAME, "theirs");
        }
        false
    };
    let settled = block_on(settle(&world, NAME, mine.clone(), |held| *held == mine, other)).unwrap();
    assert_eq!(settled, Settled::Theirs(Bytes::from_static(b"theirs")));
}

#[test]
fn the_holder_is_read_for_as_long_as_it_takes() {
    let (store, world) = setting(&[]);
    store.replace(NAME, "theirs");
    store.gets.lock().extend([
        StoreErrorKind::Transient,
        StoreErrorKind::Protocol,
        StoreErrorKind::Permanent,
    ]);
    assert_eq!(settle_mine(&world).unwrap(), Settled::Theirs(Bytes::from_static(b"theirs")));
    assert_eq!((store.count("put"), store.count("get")), (1, 4), "the body is not sent again for that");
}

#[test]
fn a_store_that_refuses_is_tried_again() {
    let (store, world) = setting(&[PutFault::Refused; 5]);
    assert_eq!(settle_mine(&world).unwrap(), Settled::Ours);
    assert_eq!(store.count("put"), 6);
}

#[test]
fn who_gives_up_learns_that_the_outcome_is_unknown() {
    let (store, world) = setting(&[PutFault::Lost; 1000]);
    let give_up = after(&world, Duration::from_secs(60));
    let failed = block_on(settle(&world, NAME, Bytes::new(), |_| true, give_up)).unwrap_err();
    assert!(matches!(failed, EngineError::Unknown { ref object, .. } if object == NAME), "{failed}");
    assert!(world.clock.monotonic() >= Duration::from_secs(60));
    assert!(store.count("put") < 60, "waits grow: {}", store.count("put"));
}

#[test]
fn waits_have_a_bound_and_are_spread() {
    let random = Seeded(esker_io::sync::Mutex::new(7));
    let waits: Vec<_> = (0..1000).map(|_| backoff(u32::MAX, &random)).collect();
    assert!(waits.iter().all(|wait| *wait <= BACKOFF_MAX));
    assert!(
        waits.iter().any(|wait| *wait < BACKOFF_MAX / 10) && waits.iter().any(|wait| *wait > BACKOFF_MAX / 2)
    );
    assert!((0..100).all(|_| backoff(1, &random) <= BACKOFF_FIRST));
}
