//! The store has bad weather and the daemon is killed: a slice of `cargo xtask weather`.

use std::time::Duration;

use esker_bench::weather::{Config, run};

use crate::program::esker;

#[test]
fn volumes_survive_bad_weather() {
    let seed = u64::from(std::process::id());
    let config = Config { esker: esker(), duration: Duration::from_secs(20), seed };
    let directory = tempfile::tempdir().unwrap();
    let outcome =
        run(&config, directory.path(), |_| {}).unwrap_or_else(|error| panic!("{config:?}\n{error:?}"));
    assert!(outcome.lives > 0 && outcome.writes > 1_000 && outcome.broken > 0, "{outcome:?}");
}
