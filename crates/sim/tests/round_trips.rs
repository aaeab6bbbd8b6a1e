//! How many requests one after the other an opening and a first cold read cost, whatever the size: with a store that
//! takes a second for each request, virtual time counts them.

use std::{sync::Arc, time::Duration};

use esker_engine::{
    host::{Host as Engine, Spawn},
    pool::Pool,
    recover,
    volume::{Limits, OwnedChange, Volume},
};
use esker_format::{
    BLOCK_BYTES,
    ids::{DirectoryId, VolumeId},
    property::Properties,
};
use esker_sim::{Config, Host, Latency, Machine, Task};

const VOLUME: &str = "v";
const CACHE_BYTES: usize = 1 << 20;
/// Blocks that are written, scattered over all of the volume.
const WRITES: u64 = 3_000;

fn machine() -> Machine {
    let half = Duration::from_millis(500);
    let latency = Latency { min: half, max: half, slow_ppm: 0, slow_max: Duration::ZERO };
    Machine::new(1, Config { latency, cpu_delay_max: Duration::ZERO, ..Config::default() })
}

fn spawner(host: Host) -> Spawn {
    Arc::new(move |work| drop(host.spawn("pipeline", work)))
}

fn wait<T>(machine: &Machine, task: Task<T>) -> T {
    machine.run_until(task).expect("the simulation goes on").expect("the host lives")
}

/// Seconds that a task takes, each of them a request that waits for the one before.
fn seconds<T>(machine: &Machine, task: Task<T>) -> (u64, T) {
    let begun = machine.executor().now();
    let answer = wait(machine, task);
    ((machine.executor().now() - begun).as_millis().div_ceil(1000) as u64, answer)
}

fn offset(size_bytes: u64, number: u64) -> u64 {
    number * ((size_bytes - (16 << 20)) / WRITES) / BLOCK_BYTES as u64 * BLOCK_BYTES as u64
}

/// Makes a volume that is written sparsely and drained.
async fn make(host: Host, size_bytes: u64) -> VolumeId {
    let pool =
        Arc::new(Pool::create(host.world(), Properties::default(), CACHE_BYTES).await.expect("a pool"));
    let engine = Engine::new(pool, DirectoryId([1; 16]), Limits::default(), spawner(host));
    let volume = engine.create(VOLUME, size_bytes, Properties::default()).await.expect("a volume");
    for number in 0..WRITES {
        let data = vec![number as u8 | 1; BLOCK_BYTES].into();
        let change = OwnedChange::Write { offset: offset(size_bytes, number), data };
        volume.clone().change_later(change).await.expect("it is written");
    }
    // A resize to less folds everything into pages; the last block was never written.
    volume.resize(size_bytes - (1 << 20)).await.expect("it shrinks");
    volume.drain().await.expect("it drains");
    volume.id()
}

async fn pool(host: Host) -> Arc<Pool> {
    Arc::new(Pool::open(host.world(), CACHE_BYTES).await.expect("a pool"))
}

fn read(machine: &Machine, host: &Host, volume: &Arc<Volume>, offset: u64) -> u64 {
    let reading = volume.clone().read_later(offset, BLOCK_BYTES);
    let (seconds, block) = seconds(machine, host.spawn("read", reading));
    assert_ne!(block.expect("it reads")[0], 0);
    seconds
}

#[test]
fn an_opening_costs_the_same_whatever_the_size() {
    for (name, size_bytes) in [("1 GiB", 1u64 << 30), ("1 TiB", 1 << 40), ("10 TiB", 10 << 40)] {
        let machine = machine();
        let host = machine.host();
        let id = wait(&machine, host.spawn("make", make(host.clone(), size_bytes)));
        let other = machine.second_host();
        let pool = wait(&machine, other.spawn("pool", pool(other.clone())));
        let (for_reading, volume) = {
            let opening = recover::open_read_only(pool.clone(), VOLUME, id);
            let (seconds, volume) = seconds(&machine, other.spawn("open", opening));
            (seconds, volume.expect("it opens"))
        };
        // In the middle, where nothing was looked at.
        let first = read(&machine, &other, &volume, offset(size_bytes, WRITES / 2));
        let near = read(&machine, &other, &volume, offset(size_bytes, WRITES / 2 + 1));

        let engine = Engine::new(pool, DirectoryId([2; 16]), Limits::default(), spawner(other.clone()));
        let (for_writing, opened) = {
            let opening = async move { engine.open(VOLUME, None).await.map(|(volume, _)| (engine, volume)) };
            seconds(&machine, other.spawn("open", opening))
        };
        drop(opened.expect("it opens for writing"));
        eprintln!(
            "{name}: from the id, read-only {for_reading}; first cold block {first}, the next {near}; \
             from the name, for writing {for_writing}"
        );
        assert!(for_reading <= 3, "{name}: {for_reading} round trips to open for reading");
        assert!(first <= 3, "{name}: {first} round trips for the first cold block");
    }
}

/// Where the block lies that is read: apart from everything that was written later, by one level more each time.
const OLD: u64 = 1 << 30;

/// Makes a volume whose pages on the way to one block were all written by different checkpoints.
async fn make_old(host: Host, size_bytes: u64) {
    let pool =
        Arc::new(Pool::create(host.world(), Properties::default(), CACHE_BYTES).await.expect("a pool"));
    let engine = Engine::new(pool, DirectoryId([1; 16]), Limits::default(), spawner(host));
    let volume = engine.create(VOLUME, size_bytes, Properties::default()).await.expect("a volume");
    // The same leaf; the same page above it, of 8 GiB; the next, of 8 TiB; the rest.
    for (round, apart) in [0, 64 << 20, 64 << 30, 9 << 40].into_iter().enumerate() {
        if OLD + apart >= size_bytes - (16 << 20) {
            break;
        }
        let data = vec![round as u8 | 1; BLOCK_BYTES].into();
        let change = OwnedChange::Write { offset: OLD + apart, data };
        volume.clone().change_later(change).await.expect("it is written");
        volume.resize(size_bytes - ((1 + round as u64) << 20)).await.expect("it shrinks");
    }
    volume.drain().await.expect("it drains");
}

/// What a first read costs at once, and after the inner pages were fetched; and the GETs for those.
fn first_read_of_old_pages(size_bytes: u64) -> (u64, u64, u64) {
    let machine = machine();
    let host = machine.host();
    wait(&machine, host.spawn("make", make_old(host.clone(), size_bytes)));
    let read_after = |pause: Duration| {
        let other = machine.second_host();
        let pool = wait(&machine, other.spawn("pool", pool(other.clone())));
        let engine = Engine::new(pool, DirectoryId([3; 16]), Limits::default(), spawner(other.clone()));
        let opening = async move { engine.open_read_only(VOLUME).await.map(|volume| (engine, volume)) };
        let (_engine, volume) = wait(&machine, other.spawn("open", opening)).expect("it opens");
        machine.store().reset_counts();
        machine.run_for(pause).expect("the simulation goes on");
        let gets = machine.store().counts().get;
        (read(&machine, &other, &volume, OLD), gets)
    };
    let (at_once, _) = read_after(Duration::ZERO);
    let (later, gets) = read_after(Duration::from_secs(30));
    (at_once, later, gets)
}

#[test]
fn soon_after_an_opening_old_pages_cost_no_more_than_new_ones() {
    for (name, size_bytes, inner) in
        [("8 GiB", 8u64 << 30, 0), ("1 TiB", 1 << 40, 2), ("10 TiB", 10 << 40, 4)]
    {
        let (at_once, later, gets) = first_read_of_old_pages(size_bytes);
        eprintln!("{name}: at once {at_once}, later {later}, with {gets} GETs of inner pages");
        assert!(later <= 3, "{name}: {later} round trips for the first cold block");
        assert!(gets <= inner, "{name}: {gets} GETs of inner pages, {inner} expected");
    }
}
