//! `cargo xtask weather`: verified writers against a built `esker` whose store has bad weather.
#![forbid(unsafe_code)]

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result, bail};
use esker_bench::weather::{Config, run};

const USAGE: &str = "usage: weather --esker PROGRAM [--minutes M | --seconds S] [--seed S]
  --minutes M   how long the weather is bad, 1 by default; --seconds for less
  --seed S      the weather, the kills and the writes, 1 by default";

fn main() -> Result<()> {
    let mut config = Config { esker: PathBuf::new(), duration: Duration::from_secs(60), seed: 1 };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().with_context(|| format!("{arg} takes a value\n{USAGE}"));
        match arg.as_str() {
            "--esker" => config.esker = value()?.into(),
            "--minutes" => config.duration = Duration::from_secs(value()?.parse::<u64>()? * 60),
            "--seconds" => config.duration = Duration::from_secs(value()?.parse()?),
            "--seed" => config.seed = value()?.parse()?,
            "--help" => {
                println!("{USAGE}");
                return Ok(());
            }
            other => bail!("unknown argument {other}\n{USAGE}"),
        }
    }
    let directory = tempfile::tempdir()?;
    let outcome = run(&config, directory.path(), |so_far| {
        if so_far.lives % 5 == 0 {
            eprintln!("{} lives, {} writes", so_far.lives, so_far.writes);
        }
    });
    if outcome.is_err() {
        eprintln!("seed {}; the daemon's directory is {}", config.seed, directory.keep().display());
    }
    let outcome = outcome?;
    println!(
        "{} lives ({} starts failed), stopped {} times; {} writes and {} flushes acknowledged; {} of {} requests went \
         wrong, {} verifications were begun again; drained in {} ms, and every volume was in the store",
        outcome.lives,
        outcome.failed_starts,
        outcome.stops,
        outcome.writes,
        outcome.flushes,
        outcome.broken,
        outcome.requests,
        outcome.failed_reads,
        outcome.drained_ms
    );
    Ok(())
}
