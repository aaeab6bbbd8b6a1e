use std::{collections::BTreeSet, time::Duration};

use bytes::Bytes;
use esker_io::{Range, StoreErrorKind, World};

use super::{Request, StoreFault, When};
use crate::{Config, Hold, Host, Machine, Side, StoreFaults, Survival};

fn machine(seed: u64) -> (Machine, Host, World) {
    let machine = Machine::new(seed, Config::default());
    let (host, world) = (machine.host(), machine.world());
    (machine, host, world)
}

fn put(machine: &Machine, world: &World, name: &str, body: &'static [u8]) -> Result<(), StoreErrorKind> {
    let put = world.objects.put_new(name, Bytes::from_static(body));
    machine.run_until(put).unwrap().map_err(|error| error.kind)
}

fn get(machine: &Machine, world: &World, name: &str, range: Range) -> Result<Bytes, StoreErrorKind> {
    machine.run_until(world.objects.get(name, range)).unwrap().map_err(|error| error.kind)
}

#[test]
fn without_faults_it_does_what_the_trait_says() {
    let (machine, _host, world) = machine(1);
    put(&machine, &world, "a/1", b"0123456789").unwrap();
    assert_eq!(put(&machine, &world, "a/1", b"other"), Err(StoreErrorKind::Exists));
    let ranges = [
        (Range::All, Ok("0123456789")),
        (Range::Bytes { start: 2, end: 5 }, Ok("234")),
        (Range::Bytes { start: 10, end: 10 }, Ok("")),
        (Range::Bytes { start: 4, end: 4 }, Ok("")),
        (Range::Bytes { start: 8, end: 11 }, Err(StoreErrorKind::Protocol)),
        (Range::Bytes { start: 11, end: 11 }, Err(StoreErrorKind::Protocol)),
        (Range::Bytes { start: 50, end: 60 }, Err(StoreErrorKind::Protocol)),
        (Range::Suffix(0), Ok("")),
        (Range::Suffix(3), Ok("789")),
        (Range::Suffix(100), Ok("0123456789")),
    ];
    for (range, expected) in ranges {
        assert_eq!(get(&machine, &world, "a/1", range), expected.map(Bytes::from), "{range:?}");
    }
    for range in [Range::All, Range::Bytes { start: 0, end: 0 }, Range::Suffix(0)] {
        assert_eq!(get(&machine, &world, "a/2", range), Err(StoreErrorKind::NotFound));
    }
    assert_eq!(
        get(&machine, &world, "a", Range::All),
        Err(StoreErrorKind::NotFound),
        "a prefix is no object"
    );
    for name in ["b/x", "a/0", "a/1.5", "ab"] {
        put(&machine, &world, name, b"x").unwrap();
    }
    let list = |prefix: &'static str| {
        let lines = machine.run_until(world.objects.list(prefix)).unwrap().unwrap();
        lines.into_iter().map(|line| (line.name, line.bytes)).collect::<Vec<_>>()
    };
    assert_eq!(list("a/"), [("a/0".into(), 1), ("a/1".into(), 10), ("a/1.5".into(), 1)]);
    assert_eq!(list("").len(), 5);
    assert!(list("none/").is_empty());
    for _ in 0..2 {
        machine.run_until(world.objects.delete("a/1")).unwrap().unwrap();
    }
    assert_eq!(get(&machine, &world, "a/1", Range::All), Err(StoreErrorKind::NotFound));
    put(&machine, &world, "a/1", b"again").unwrap();
    let counts = machine.store().counts();
    assert_eq!((counts.put, counts.get, counts.list, counts.delete), (7, 15, 3, 2));
    assert!(machine.executor().now() > Duration::from_millis(40), "requests take time");
}

#[test]
fn names_that_a_real_store_refuses_are_refused() {
    let (machine, _host, world) = machine(1);
    let long = "x".repeat(901);
    let names = [
        "", "/", "/a", "a/", "a//b", ".", "..", "a/../b", ".tmp/a", "a/.h", "a b", "ä", "a\0", "a%2f", &long,
    ];
    for name in names {
        assert_eq!(put(&machine, &world, name, b""), Err(StoreErrorKind::Permanent), "{name:?}");
        assert_eq!(get(&machine, &world, name, Range::All), Err(StoreErrorKind::Permanent), "{name:?}");
        let deleted = machine.run_until(world.objects.delete(name)).unwrap();
        assert_eq!(deleted.unwrap_err().kind, StoreErrorKind::Permanent, "{name:?}");
    }
    for prefix in ["a", "/", "../", ".tmp/", "a//"] {
        let listed = machine.run_until(world.objects.list(prefix)).unwrap();
        assert_eq!(listed.unwrap_err().kind, StoreErrorKind::Permanent, "{prefix:?}");
    }
}

#[test]
fn of_eight_racers_one_wins() {
    for seed in 0..50 {
        let (machine, _host, world) = machine(seed);
        let tasks: Vec<_> = (0..8)
            .map(|number: u8| {
                let host = if number.is_multiple_of(2) { machine.host() } else { machine.second_host() };
                let objects = host.world().objects;
                host.spawn(
                    "racer",
                    async move { objects.put_new("n", Bytes::from(vec![number])).await.is_ok() },
                )
            })
            .collect();
        let won = machine.run_until(futures_util::future::join_all(tasks)).unwrap();
        let winners: Vec<usize> = (0..8).filter(|&number| won[number] == Ok(true)).collect();
        assert_eq!(winners.len(), 1);
        let body = get(&machine, &world, "n", Range::All).unwrap();
        assert_eq!(usize::from(body[0]), winners[0]);
    }
}

#[test]
fn errors_before_and_after_the_effect() {
    let (machine, _host, world) = machine(1);
    let store = machine.store();
    store.fail(When::next(Request::Put, "x"), StoreFault::Before(StoreErrorKind::Transient));
    put(&machine, &world, "other", b"1").unwrap();
    assert_eq!(put(&machine, &world, "x", b"1"), Err(StoreErrorKind::Transient));
    assert_eq!(store.object("x"), None);

    store.fail(When::next(Request::Put, "x"), StoreFault::After);
    assert_eq!(put(&machine, &world, "x", b"2"), Err(StoreErrorKind::Transient));
    assert_eq!(store.object("x").unwrap(), "2");
    assert_eq!(put(&machine, &world, "x", b"2"), Err(StoreErrorKind::Exists));

    store.fail(When::any(), StoreFault::Before(StoreErrorKind::Exists));
    assert_eq!(put(&machine, &world, "y", b"1"), Err(StoreErrorKind::Exists));
    assert_eq!(
        get(&machine, &world, "y", Range::All),
        Err(StoreErrorKind::NotFound),
        "a 409 that was no object"
    );

    store.fail(When::next(Request::Delete, ""), StoreFault::After);
    assert!(machine.run_until(world.objects.delete("x")).unwrap().is_err());
    assert_eq!(store.object("x"), None);
}

#[test]
fn planned_faults_count_what_they_fit() {
    let (machine, _host, world) = machine(1);
    let second = machine.second_host().world();
    machine.store().fail(When::next(Request::Put, "h/").skip(1).times(2).host(1), StoreFault::After);
    let got: Vec<bool> = ["h/1", "g/1", "h/2", "h/3", "h/4"]
        .map(|name| {
            put(&machine, &second, &format!("{name}-second"), b"").unwrap();
            put(&machine, &world, name, b"").is_ok()
        })
        .into();
    assert_eq!(got, [true, true, false, false, true]);
}

#[test]
fn a_late_put_lands_after_its_answer_and_never_over_another() {
    let (machine, _host, world) = machine(1);
    let late = Duration::from_secs(30);
    for name in ["x", "y"] {
        machine.store().fail(When::next(Request::Put, name), StoreFault::Late(late));
        assert_eq!(put(&machine, &world, name, b"late"), Err(StoreErrorKind::Transient));
    }
    put(&machine, &world, "y", b"first").unwrap();
    assert_eq!(machine.store().object("x"), None);
    machine.run_for(late).unwrap();
    assert_eq!(machine.store().object("x").unwrap(), "late");
    assert_eq!(machine.store().object("y").unwrap(), "first");
}

#[test]
fn a_parked_put_lands_after_a_new_run_has_started() {
    let (machine, host, world) = machine(1);
    machine.store().fail(When::any().times(2), StoreFault::Parked);
    assert_eq!(put(&machine, &world, "h/1", b"old"), Err(StoreErrorKind::Transient));
    assert_eq!(put(&machine, &world, "h/2", b"old"), Err(StoreErrorKind::Transient));
    host.crash(Survival::OnlySynced);
    let world = host.restart();
    put(&machine, &world, "h/1", b"new").unwrap();
    assert_eq!(machine.store().parked(), 2);
    assert_eq!(machine.store().deliver(), [("h/1".to_owned(), false), ("h/2".to_owned(), true)]);
    assert_eq!(machine.store().object("h/1").unwrap(), "new");
}

#[test]
fn damaged_answers_to_reads() {
    let (machine, _host, world) = machine(1);
    put(&machine, &world, "x", &[0; 64]).unwrap();
    put(&machine, &world, "y", &[9; 64]).unwrap();
    let store = machine.store();
    let read = |fault| {
        store.fail(When::next(Request::Get, "x"), fault);
        get(&machine, &world, "x", Range::Bytes { start: 8, end: 40 })
    };
    let flipped = read(StoreFault::Flip).unwrap();
    assert_eq!(flipped.len(), 32);
    assert_eq!(flipped.iter().map(|byte| byte.count_ones()).sum::<u32>(), 1);
    assert_eq!(read(StoreFault::Cut), Err(StoreErrorKind::Protocol));
    assert_eq!(read(StoreFault::Missing), Err(StoreErrorKind::NotFound));
    assert_eq!(read(StoreFault::OtherBody).unwrap(), [9; 32].as_slice());
    assert_eq!(get(&machine, &world, "x", Range::All).unwrap(), [0; 64].as_slice());
    store.replace("x", None);
    assert_eq!(get(&machine, &world, "x", Range::All), Err(StoreErrorKind::NotFound));
}

#[test]
fn a_stall_takes_its_time() {
    let (machine, _host, world) = machine(1);
    machine.store().fail(When::any(), StoreFault::Stall(Duration::from_secs(60)));
    put(&machine, &world, "x", b"").unwrap();
    assert!(machine.executor().now() >= Duration::from_secs(60));
}

#[test]
fn an_outage_begins_and_ends() {
    let (machine, _host, world) = machine(1);
    machine.store().outage(Duration::from_secs(1), Duration::from_secs(10));
    put(&machine, &world, "before", b"").unwrap();
    machine.run_for(Duration::from_secs(1)).unwrap();
    assert_eq!(put(&machine, &world, "during", b""), Err(StoreErrorKind::Transient));
    assert_eq!(machine.store().object("during"), None);
    machine.run_for(Duration::from_secs(10)).unwrap();
    put(&machine, &world, "during", b"").unwrap();
}

#[test]
fn what_is_under_way_at_a_crash_lands_now_or_later_or_never() {
    let mut seen = BTreeSet::new();
    for seed in 0..40 {
        let (machine, host, world) = machine(seed);
        host.spawn("put", async move { world.objects.put_new("x", Bytes::new()).await });
        machine.run_for(Duration::from_micros(500)).unwrap();
        assert_eq!(machine.store().object("x"), None, "it is still on its way");
        host.crash(Survival::OnlySynced);
        let now = machine.store().object("x").is_some();
        machine.run_for(Duration::from_secs(60)).unwrap();
        seen.insert((now, machine.store().object("x").is_some()));
    }
    assert_eq!(seen, BTreeSet::from([(true, true), (false, true), (false, false)]));
}

#[test]
fn crash_points_count_effects_on_disk_and_store_together() {
    for (side, there) in [(Side::Before, false), (Side::After, true)] {
        let (machine, host, world) = machine(1);
        host.crash_at(3, side);
        let task = host.spawn("work", async move {
            world.disk.create("f").unwrap();
            world.objects.put_new("a", Bytes::new()).await.unwrap();
            // Neither reads nor refused PUTs change the order of the effects.
            world.objects.get("a", Range::All).await.unwrap();
            world.objects.put_new("b", Bytes::new()).await.unwrap_err();
            world.objects.put_new("c", Bytes::new()).await.unwrap_err();
            world.disk.create("g").err().unwrap();
        });
        assert!(matches!(machine.run_until(task), Err(crate::Halt::Crashed { .. })));
        assert!(host.is_crashed());
        host.crash(Survival::Everything);
        let world = host.restart();
        assert_eq!(machine.store().names(""), if there { vec!["a", "b"] } else { vec!["a"] });
        assert_eq!(world.disk.list("").unwrap().len(), 1);
        machine.run_for(Duration::from_secs(120)).unwrap();
        assert_eq!(machine.store().object("b").is_some(), there, "a step that did not happen never does");
    }
}

#[test]
fn a_held_writer_is_a_zombie_until_it_is_released() {
    let (machine, first, world) = machine(1);
    let second = machine.second_host().world();
    first.hold(Hold::Requests);
    let zombie = first.spawn("zombie", async move {
        let won = world.objects.put_new("h/1", Bytes::from_static(b"zombie")).await.is_ok();
        (won, world.objects.put_new("h/2", Bytes::from_static(b"zombie")).await.is_ok())
    });
    machine.run_for(Duration::from_secs(600)).unwrap();
    put(&machine, &second, "h/1", b"second").unwrap();
    assert!(!zombie.is_done());
    first.hold(Hold::Nothing);
    assert_eq!(machine.run_until(zombie).unwrap(), Ok((false, true)));
}

#[test]
fn a_held_answer_has_had_its_effect() {
    let (machine, first, world) = machine(1);
    first.hold(Hold::Answers);
    let task = first.spawn("writer", async move { world.objects.put_new("h/1", Bytes::new()).await.is_ok() });
    machine.run_for(Duration::from_secs(600)).unwrap();
    assert!(machine.store().object("h/1").is_some() && !task.is_done());
    first.hold(Hold::Nothing);
    assert_eq!(machine.run_until(task).unwrap(), Ok(true));
}

#[test]
fn a_store_without_sync_loses_young_objects_with_the_power() {
    let config = Config { not_durable: Some(Duration::from_secs(30)), ..Config::default() };
    for (survival, expected) in [
        (Survival::OnlySynced, vec!["old", "synced"]),
        (Survival::Everything, vec!["old", "synced", "young"]),
    ] {
        let machine = Machine::new(1, config.clone());
        let (host, world) = (machine.host(), machine.world());
        put(&machine, &world, "synced", b"").unwrap();
        machine.store().sync();
        put(&machine, &world, "old", b"").unwrap();
        machine.run_for(Duration::from_secs(30)).unwrap();
        put(&machine, &world, "young", b"").unwrap();
        host.kill();
        assert_eq!(machine.store().names("").len(), 3, "a killed process loses nothing");
        host.crash(survival);
        assert_eq!(machine.store().names(""), expected);
    }
}

#[test]
fn faults_by_chance_hit_all_kinds_and_stop() {
    let faults = StoreFaults::passing(300_000);
    let machine = Machine::new(3, Config { store: faults, ..Config::default() });
    let world = machine.world();
    let results: Vec<_> = (0..100).map(|n| put(&machine, &world, &format!("x/{n}"), b"")).collect();
    assert!(results.contains(&Ok(())) && results.contains(&Err(StoreErrorKind::Transient)));
    machine.run_for(Duration::from_secs(60)).unwrap();
    // Failed before: not there. Failed after or late: there all the same.
    let there = |n: usize| machine.store().object(&format!("x/{n}")).is_some();
    assert!((0..100).any(|n| results[n].is_err() && there(n)));
    assert!((0..100).any(|n| results[n].is_err() && !there(n)));
    assert!((0..100).all(|n| results[n].is_err() || there(n)));
    machine.store().set_faults(StoreFaults::default());
    for n in 0..100 {
        put(&machine, &world, &format!("y/{n}"), b"").unwrap();
    }
}
