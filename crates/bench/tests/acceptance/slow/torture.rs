//! Verified writers see the daemon killed: a slice of `cargo xtask torture`.

use std::time::Duration;

use esker_bench::{
    azurite::Azurite,
    seaweed::Seaweed,
    torture::{Config, Outcome, run},
};

use crate::program::esker;

const ROUNDS: u32 = 5;
const BOUND_SECONDS: u32 = 2;

fn config() -> Config {
    Config {
        esker: esker(),
        pool: None,
        environment: Vec::new(),
        rounds: ROUNDS,
        lose_local: false,
        bound_seconds: BOUND_SECONDS,
        pause: Duration::ZERO,
        snapshots: false,
        seed: u64::from(std::process::id()),
    }
}

fn rounds(config: &Config) -> Outcome {
    let directory = tempfile::tempdir().unwrap();
    let outcome =
        run(config, directory.path(), |_| {}).unwrap_or_else(|error| panic!("{config:?}\n{error:?}"));
    assert_eq!(outcome.rounds, ROUNDS);
    assert!(outcome.writes > 1_000 && outcome.flushes > 10, "{outcome:?}");
    outcome
}

#[test]
fn nothing_acknowledged_is_lost_with_the_process() {
    assert_eq!(rounds(&config()).lost, 0);
}

#[test]
fn a_prefix_survives_the_local_directory() {
    rounds(&Config { lose_local: true, ..config() });
}

/// So few writes that only their age seals them.
#[test]
fn slow_writers_lose_nothing_older_than_the_bound() {
    let pause = Duration::from_millis(100);
    let outcome = rounds(&Config { lose_local: true, pause, ..config() });
    assert!(outcome.lost > 0, "a bound of {BOUND_SECONDS} s leaves something to lose: {outcome:?}");
}

/// Also when the daemon is killed while it makes or deletes one, or reclaims.
#[test]
fn snapshots_hold_what_was_written_before_them() {
    for lose_local in [false, true] {
        let outcome = rounds(&Config { snapshots: true, lose_local, ..config() });
        assert!(outcome.snapshots > 4 && outcome.reclaims > 1, "{outcome:?}");
    }
}

#[test]
fn nothing_acknowledged_is_lost_with_the_process_on_s3() {
    let server = Seaweed::start(&Seaweed::program().unwrap()).unwrap();
    let (pool, environment) = (Some(server.url("torture")), server.environment());
    assert_eq!(rounds(&Config { pool, environment, ..config() }).lost, 0);
}

#[test]
fn a_prefix_survives_the_local_directory_on_s3() {
    let server = Seaweed::start(&Seaweed::program().unwrap()).unwrap();
    let (pool, environment) = (Some(server.url("torture")), server.environment());
    rounds(&Config { pool, environment, lose_local: true, ..config() });
}

#[test]
fn slow_writers_lose_nothing_older_than_the_bound_on_s3() {
    let server = Seaweed::start(&Seaweed::program().unwrap()).unwrap();
    let (pool, environment) = (Some(server.url("torture")), server.environment());
    let pause = Duration::from_millis(50);
    rounds(&Config { pool, environment, lose_local: true, pause, ..config() });
}

#[test]
fn nothing_acknowledged_is_lost_with_the_process_on_azure() {
    let server = Azurite::start(&Azurite::installed().unwrap()).unwrap();
    let (pool, environment) = (Some(server.url("torture")), server.environment());
    assert_eq!(rounds(&Config { pool, environment, ..config() }).lost, 0);
}
