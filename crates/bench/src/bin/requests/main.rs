//! `cargo xtask requests`: what a load costs in requests to the store, beside what it has to cost.
//!
//! 4 GiB in sequence, 512 MiB of random 4 KiB blocks over them, and one block a second for a minute, none of it
//! compressible; until the last of that is sealed; an idle minute, in which a clean volume must cost nothing; and the drain.
#![forbid(unsafe_code)]

mod counts;
mod load;
mod table;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use esker_bench::{block::BLOCK_BYTES, client::Client, daemon::Daemon};

use counts::{Counts, Status, status};
use load::Load;
use table::Row;

const USAGE: &str =
    "usage: requests --esker PROGRAM [--sequential SIZE_MIB] [--random SIZE_MIB] [--idle SECONDS]
  --sequential MIB  bytes written in sequence, 4096 by default
  --random MIB      bytes written at random over them, 512 by default
  --idle SECONDS    how long nothing happens, 60 by default";

const VOLUME: &str = "requests";
/// What is stored late (old heads thinned, a checkpoint) belongs to the load; quiet for so long, it is over.
const QUIET: Duration = Duration::from_secs(12);
const TRICKLE_BLOCKS: u64 = 60;
const PATIENCE: Duration = Duration::from_secs(600);

struct Settings {
    esker: PathBuf,
    sequential_bytes: u64,
    random_bytes: u64,
    idle: Duration,
}

fn settings() -> Result<Settings> {
    let mut settings = Settings {
        esker: PathBuf::new(),
        sequential_bytes: 4 << 30,
        random_bytes: 512 << 20,
        idle: Duration::from_secs(60),
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        if arg == "--help" {
            println!("{USAGE}");
            std::process::exit(0);
        }
        let value = args.next().with_context(|| format!("{arg} takes a value\n{USAGE}"))?;
        let number = || value.parse::<u64>().with_context(|| format!("{arg} takes a number\n{USAGE}"));
        match arg.as_str() {
            "--esker" => settings.esker = value.into(),
            "--sequential" => settings.sequential_bytes = number()? << 20,
            "--random" => settings.random_bytes = number()? << 20,
            "--idle" => settings.idle = Duration::from_secs(number()?),
            other => bail!("unknown argument {other}\n{USAGE}"),
        }
    }
    ensure!(!settings.esker.as_os_str().is_empty(), "{USAGE}");
    Ok(settings)
}

fn main() -> Result<()> {
    let settings = settings()?;
    let directory = tempfile::tempdir()?;
    let volume = format!("{VOLUME}={}", settings.sequential_bytes);
    let daemon = Daemon::start(&settings.esker, directory.path(), &["--volume", &volume], &[])?;
    let site = Site { esker: &settings.esker, data: directory.path() };
    let mut rows = Vec::new();

    let mut client = Client::connect(&daemon.socket(), VOLUME)?;
    let mut before = site.counts()?;
    rows.push(Row::start(&before));
    let area = settings.sequential_bytes;
    for (load, written) in [
        (Load::Sequential, settings.sequential_bytes),
        (Load::Random, settings.random_bytes),
        (Load::Trickle, TRICKLE_BLOCKS * BLOCK_BYTES as u64),
    ] {
        let name = load.name();
        eprintln!("{name}");
        let begun = Instant::now();
        load.write(&mut client, written, area)?;
        site.wait_until(|status| status.committed, "is committed")?;
        let dirty = begun.elapsed();
        site.wait_until_quiet()?;
        let after = site.counts()?;
        rows.push(Row::load(name, written, dirty, &before, &after));
        before = after;
    }
    drop(client);

    // What the last load left in pieces becomes a segment when it is two minutes old.
    eprintln!("until it is sealed");
    let waited = site.wait_until(|status| status.dirty_bytes == 0, "is sealed")?;
    let after = site.counts()?;
    rows.push(Row::load("… sealed when it is old", 0, waited, &before, &after));
    before = after;

    eprintln!("idle: {} s", settings.idle.as_secs());
    std::thread::sleep(settings.idle);
    let idle = site.counts()?;
    rows.push(Row::quiet(&format!("idle {} s", settings.idle.as_secs()), &before, &idle));
    ensure!(daemon.terminate()? == 0, "the daemon drains and ends with 0");
    rows.push(Row::drain(&idle, &Counts::of_objects(&site.pool())?));
    print!("{}", table::text(&rows));
    ensure!(before.requests == idle.requests, "an idle minute cost requests");
    Ok(())
}

/// A daemon's directory.
struct Site<'a> {
    esker: &'a Path,
    data: &'a Path,
}

impl Site<'_> {
    fn pool(&self) -> PathBuf {
        self.data.join("pool")
    }

    fn status(&self) -> Result<Status> {
        status(self.esker, self.data)
    }

    fn counts(&self) -> Result<Counts> {
        let mut counts = Counts::of_objects(&self.pool())?;
        let status = self.status()?;
        counts.requests = status.requests;
        counts.heads = status.head;
        Ok(counts)
    }

    /// Waits until the status is as wanted; returns how long that took.
    fn wait_until(&self, wanted: impl Fn(&Status) -> bool, what: &str) -> Result<Duration> {
        let begun = Instant::now();
        while !wanted(&self.status()?) {
            ensure!(begun.elapsed() < PATIENCE, "not everything {what} after {PATIENCE:?}");
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(begun.elapsed())
    }

    fn wait_until_quiet(&self) -> Result<()> {
        let begun = Instant::now();
        let (mut seen, mut since) = (self.status()?.requests, Instant::now());
        while since.elapsed() < QUIET {
            ensure!(begun.elapsed() < PATIENCE, "requests go on {PATIENCE:?} after everything was committed");
            std::thread::sleep(Duration::from_millis(500));
            let now = self.status()?.requests;
            if now != seen {
                (seen, since) = (now, Instant::now());
            }
        }
        Ok(())
    }
}
