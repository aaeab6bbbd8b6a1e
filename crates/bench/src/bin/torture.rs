//! `cargo xtask torture`: rounds of verified writers, `kill -9` and restart against a built `esker`.
#![forbid(unsafe_code)]

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result, bail};
use esker_bench::{
    seaweed::Seaweed,
    torture::{Config, run},
};

const USAGE: &str = "usage: torture --esker PROGRAM [--rounds N] [--store file|s3] [--lose-local] [--bound SECONDS] \
                     [--pause MS] [--snapshots] [--seed S]
  --rounds N       kills, 100 by default
  --store s3       a SeaweedFS server started for the run (ESKER_WEED names the program); file by default
  --lose-local     the local directory is lost with each kill: what is found must be a prefix, with --pause not older than N
  --bound SECONDS  N of bounded(N), 5 by default
  --pause MS       a writer's rest after each batch of 16; with 100 only the age of writes seals them; 0 by default
  --snapshots      snapshots are made, read, forked, deleted and gone back to meanwhile, and space is reclaimed
  --seed S         times and addresses, 1 by default";

fn main() -> Result<()> {
    let mut config = Config {
        esker: PathBuf::new(),
        pool: None,
        environment: Vec::new(),
        rounds: 100,
        lose_local: false,
        bound_seconds: 5,
        pause: Duration::ZERO,
        snapshots: false,
        seed: 1,
    };
    let mut s3 = false;
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().with_context(|| format!("{arg} takes a value\n{USAGE}"));
        match arg.as_str() {
            "--esker" => config.esker = value()?.into(),
            "--rounds" => config.rounds = value()?.parse()?,
            "--store" => {
                s3 = match value()?.as_str() {
                    "file" => false,
                    "s3" => true,
                    other => bail!("expected --store file or s3, found {other}\n{USAGE}"),
                }
            }
            "--lose-local" => config.lose_local = true,
            "--snapshots" => config.snapshots = true,
            "--bound" => config.bound_seconds = value()?.parse()?,
            "--pause" => config.pause = Duration::from_millis(value()?.parse()?),
            "--seed" => config.seed = value()?.parse()?,
            "--help" => {
                println!("{USAGE}");
                return Ok(());
            }
            other => bail!("unknown argument {other}\n{USAGE}"),
        }
    }
    let server = if s3 { Some(Seaweed::start(&Seaweed::program()?)?) } else { None };
    if let Some(server) = &server {
        config.pool = Some(server.url("torture"));
        config.environment = server.environment();
    }
    let directory = tempfile::tempdir()?;
    let outcome = run(&config, directory.path(), |rounds| {
        if rounds % 10 == 0 {
            eprintln!("{rounds} of {} rounds", config.rounds);
        }
    })?;
    println!(
        "{} rounds, {} writes and {} flushes acknowledged, {} lost with the local directory (the oldest {} ms \
         before the kill), everything else was there",
        outcome.rounds, outcome.writes, outcome.flushes, outcome.lost, outcome.oldest_lost_ms
    );
    if config.snapshots {
        println!(
            "{} snapshots held what they had to, {} of them made by a daemon that was killed before it said so; \
             {} rewinds, {} rounds of reclaim",
            outcome.snapshots, outcome.unanswered, outcome.rewinds, outcome.reclaims
        );
    }
    Ok(())
}
