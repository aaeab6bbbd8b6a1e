use std::{io::IoSlice, time::Duration};

use bytes::Bytes;
use esker_io::World;

use super::{Host, Machine};
use crate::{Config, Prng, Survival};

/// A writer that uses every edge and gets over every error.
async fn work(world: World, objects: u64) {
    let path = format!("f{}", world.random.below(1 << 40));
    let file = world.disk.create(&path).unwrap();
    for number in 0..objects {
        let body = world.random.id();
        // Errors are part of the schedule; what matters here is only that they repeat.
        let _ = file.write_at(&[IoSlice::new(&body)], number * 16);
        let _ = file.sync();
        let hash = esker_io::run(&*world.cpu, move || blake3::hash(&body)).await;
        let name = format!("x/{number}");
        let _ = world.objects.put_new(&name, Bytes::copy_from_slice(hash.as_bytes())).await;
        world.clock.sleep(Duration::from_millis(world.random.below(50))).await;
        let _ = world.objects.list("x/").await;
    }
}

fn start(host: &Host) {
    for _ in 0..3 {
        host.spawn("worker", work(host.world(), 20));
    }
}

fn digest(seed: u64) -> (String, String) {
    let config = Config::drawn(&mut Prng::new(seed));
    let machine = Machine::new(seed, config);
    let (first, second) = (machine.host(), machine.second_host());
    start(&first);
    start(&second);
    machine.run_for(Duration::from_millis(300)).unwrap();
    first.crash(Survival::Subset(machine.random().next_u64()));
    first.restart();
    start(&first);
    machine.run_for(Duration::from_secs(300)).unwrap();
    (machine.digest(), machine.to_string())
}

#[test]
fn a_seed_and_a_configuration_decide_everything() {
    let mut digests = std::collections::BTreeSet::new();
    for seed in 0..20 {
        let (first, second) = (digest(seed), digest(seed));
        assert_eq!(first, second, "seed {seed}");
        digests.insert(first.0);
    }
    assert_eq!(digests.len(), 20);
}

#[test]
fn it_shows_its_seed_and_all_of_its_configuration() {
    let machine = Machine::new(77, Config::default());
    let shown = machine.to_string();
    for part in
        ["seed 77", "write_error_ppm: 0", "other_body_ppm", "latency", "wall_skew_ms", "not_durable: None"]
    {
        assert!(shown.contains(part), "{part} is not in {shown}");
    }
}

#[test]
fn the_trace_keeps_its_last_lines() {
    let machine = Machine::new(1, Config { trace_lines: 2, ..Config::default() });
    let disk = machine.world().disk;
    for name in ["a", "b", "c"] {
        disk.create(name).unwrap();
    }
    assert_eq!(machine.executor().trace().lines(), ["0ns host 1 create b 0 0", "0ns host 1 create c 0 0"]);
}

#[test]
fn hosts_have_disks_of_their_own_and_one_store() {
    let machine = Machine::new(1, Config { wall_skew_ms: 1_000_000, ..Config::default() });
    let (first, second) = (machine.host(), machine.second_host());
    assert_eq!((first.number(), second.number()), (1, 2));
    first.world().disk.create("f").unwrap();
    assert!(second.world().disk.list("").unwrap().is_empty());
    machine.run_until(first.world().objects.put_new("x", Bytes::new())).unwrap().unwrap();
    let listed = machine.run_until(second.world().objects.list("")).unwrap().unwrap();
    assert_eq!(listed.len(), 1);
    assert_ne!(first.world().clock.wall_ms(), second.world().clock.wall_ms());
    assert_eq!(first.world().clock.monotonic(), second.world().clock.monotonic());
    assert_ne!(first.world().random.id(), second.world().random.id());
    first.crash(Survival::OnlySynced);
    second.world().disk.create("g").unwrap();
}

#[test]
fn a_new_run_draws_other_ids_and_old_tasks_are_gone() {
    let machine = Machine::new(1, Config::default());
    let host = machine.host();
    let task = host.spawn("old", std::future::pending::<()>());
    let old = host.world();
    host.kill();
    let new = host.restart();
    assert!(task.is_done());
    assert_ne!(old.random.id(), new.random.id());
    assert!(old.disk.create("f").is_err());
    assert!(machine.run_until(old.objects.list("")).unwrap().is_err());
    new.disk.create("f").unwrap();
}

#[test]
fn a_paused_process_goes_on_where_it_was() {
    let machine = Machine::new(1, Config::default());
    let host = machine.host();
    let world = host.world();
    let task = host.spawn("put", async move {
        world.objects.put_new("a", Bytes::new()).await.unwrap();
        world.objects.put_new("b", Bytes::new()).await.unwrap();
    });
    machine.run_for(Duration::from_micros(500)).unwrap();
    host.pause();
    machine.run_for(Duration::from_secs(600)).unwrap();
    assert!(!task.is_done());
    assert_eq!(machine.store().object("b"), None);
    host.resume();
    machine.run_until(task).unwrap().unwrap();
    assert!(machine.store().object("b").is_some());
}

#[test]
fn a_dropped_machine_frees_what_its_tasks_held() {
    let machine = Machine::new(1, Config::default());
    let held = std::sync::Arc::new(());
    let copy = held.clone();
    let world = machine.world();
    machine.host().spawn("holder", async move {
        let _copy = copy;
        let _put = world.objects.put_new("x", Bytes::new()).await;
        std::future::pending::<()>().await;
    });
    machine.run_for(Duration::from_micros(500)).unwrap();
    assert_eq!(std::sync::Arc::strong_count(&held), 2);
    drop(machine);
    assert_eq!(std::sync::Arc::strong_count(&held), 1);
}
