//! Write latency at a quarter of the idle maximum, with and without a round of reclaim.
//!
//! The guest's volume is at work, as in `background`: nothing of it is sealed within a slice. Another volume makes the
//! round's work: it was filled, and before each round a third of it is overwritten at random, so that less than 70 % of
//! the pool lives. Then a slice without a round, and slices while one is made, as the daemon makes its own, until it ends.
//! The grace is a day: rounds mark, read, rewrite and write records, and delete nothing.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow, ensure};

use super::{Cell, Scenario, Settings, Table, Target, connect};
use crate::{
    control, files,
    load::{self, Connection, Kind, Load, Outcome, Templates, stopped},
    raw::RawDisk,
    servers::Server,
    statistics::{median, spread},
    units::duration,
};

const AREA_BYTES: u64 = 256 << 20;
const WRITTEN_BYTES: u64 = 1 << 30;
const SLICE: Duration = Duration::from_millis(500);
/// Slices in one round, at most.
const SLICES_MAX: usize = 6;
const DURABILITY: &str = "bounded(3s)";
const GUEST: &str = "v0";
const OTHER: &str = "other";
const P99_RATIO_MAX: f64 = 2.0;

/// Slices of one kind.
#[derive(Default)]
struct Seen {
    total: Outcome,
    /// Of each slice, in seconds.
    p99: Vec<f64>,
    longest: Vec<f64>,
}

/// What the rounds were.
#[derive(Default)]
struct Rounds {
    seconds: Vec<f64>,
    rewritten: u64,
}

pub(super) fn run(settings: &Settings<'_>) -> Result<Table> {
    let mut esker = settings.esker.clone();
    (esker.durability, esker.dirty_bound) = (DURABILITY.into(), "8G".into());
    let server = settings.start(esker, 1, AREA_BYTES)?;
    let other_bytes = settings.written_bytes.unwrap_or(WRITTEN_BYTES);
    control::create_without_history(&server.directory, OTHER, other_bytes, DURABILITY)?;
    let mut other = connect(&server, OTHER, Templates::default(), 2)?;
    other.prepare(other_bytes, settings.stop)?;
    let mut guest = [connect(&server, GUEST, Templates::compressible(), 1)?];
    for _ in 0..4 {
        guest[0].prepare(AREA_BYTES, settings.stop)?;
        clean(&server, settings.stop)?;
    }
    let fastest = idle_maximum(&mut guest, &server, settings.stop)?;
    let load = Load { rate: Some(fastest / 4.0), ..closed(AREA_BYTES) };
    let mut raw = RawDisk::new(&settings.directory.join("raw"), 1)?;
    let (mut quiet, mut busy, mut disk) = (Seen::default(), Seen::default(), Seen::default());
    let mut rounds = Rounds::default();
    for _ in 0..settings.slices {
        other.some(&closed(other_bytes), other_bytes / 4096 / 3, settings.stop)?;
        clean(&server, settings.stop)?;
        files::write_back(settings.directory)?;
        quiet.add(&load::run(&mut guest, &load, SLICE, settings.stop)?);
        clean(&server, settings.stop)?;
        files::write_back(settings.directory)?;
        disk.add(&raw.run(SLICE)?);
        rounds.beside(
            &server,
            || {
                let outcome = load::run(&mut guest, &load, SLICE, settings.stop)?;
                server.wait_until_stored(GUEST, Duration::from_secs(60), settings.stop)?;
                Ok(outcome)
            },
            &mut busy,
        )?;
        ensure!(!stopped(settings.stop), "interrupted");
    }
    ensure!(!busy.p99.is_empty(), "every round was over before a slice was; --written wants to be more");
    Ok(table([&quiet, &busy, &disk], &rounds, fastest / 4.0))
}

fn closed(area_bytes: u64) -> Load {
    Load { kind: Kind::Write, request_bytes: 4096, depth: 32, area_bytes, rate: None }
}

/// Requests per second with 32 on their way and nothing else to do: the middle one of a few short runs.
fn idle_maximum(guest: &mut [Connection], server: &Server, stop: &AtomicBool) -> Result<f64> {
    let mut rates = Vec::new();
    for _ in 0..5 {
        clean(server, stop)?;
        rates.push(load::run(guest, &closed(AREA_BYTES), Duration::from_millis(400), stop)?.rate());
    }
    Ok(median(&rates))
}

/// Waits until the store holds all of both volumes, and nothing is done any more.
fn clean(server: &Server, stop: &AtomicBool) -> Result<()> {
    for volume in [GUEST, OTHER] {
        server.wait_until_stored(volume, Duration::from_secs(120), stop)?;
    }
    server.settle(Duration::from_secs(30), stop);
    Ok(())
}

impl Rounds {
    /// Makes a round, and slices meanwhile. One that the round did not outlast does not count.
    fn beside(
        &mut self,
        server: &Server,
        mut slice: impl FnMut() -> Result<Outcome>,
        seen: &mut Seen,
    ) -> Result<()> {
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let round = scope.spawn(|| {
                let begun = Instant::now();
                let report = control::reclaim(&server.directory, false);
                over.store(true, Ordering::Relaxed);
                report.map(|report| (begun.elapsed(), report.rewritten))
            });
            let mut outcome = Ok(());
            for _ in 0..SLICES_MAX {
                match slice() {
                    Ok(done) if !over.load(Ordering::Relaxed) => seen.add(&done),
                    Ok(_) => break,
                    Err(error) => {
                        outcome = Err(error);
                        break;
                    }
                }
            }
            let (took, rewritten) =
                round.join().unwrap_or_else(|_| Err(anyhow!("the thread that asks panicked")))?;
            self.seconds.push(took.as_secs_f64());
            self.rewritten += rewritten;
            outcome
        })
    }
}

impl Seen {
    fn add(&mut self, outcome: &Outcome) {
        self.p99.push(outcome.latencies.quantile(0.99).as_secs_f64());
        self.longest.push(outcome.latencies.max().as_secs_f64());
        self.total.append(outcome);
    }

    fn row(&self, name: &str, offered: Option<f64>) -> Vec<Cell> {
        let time = |seconds: f64| Cell::Time(Duration::from_secs_f64(seconds));
        let longest = spread(&self.longest);
        vec![
            Cell::Text(name.to_owned()),
            Cell::Number(self.longest.len() as f64),
            offered.map_or_else(|| Cell::Text("–".into()), Cell::Number),
            Cell::Number(self.total.rate()),
            Cell::Time(self.total.latencies.quantile(0.5)),
            time(median(&self.p99)),
            Cell::Time(self.total.latencies.quantile(0.99)),
            time(longest.median),
            Cell::Time(self.total.latencies.max()),
        ]
    }
}

fn table([quiet, busy, disk]: [&Seen; 3], rounds: &Rounds, offered: f64) -> Table {
    let head = vec![
        "",
        "slices",
        "offered",
        "answered",
        "p50",
        "p99, median of slices",
        "p99 of all",
        "longest, median",
        "… of all",
    ];
    let rows = vec![
        quiet.row("no round", Some(offered)),
        busy.row("during a round", Some(offered)),
        disk.row("raw write+fdatasync, depth 1", None),
    ];
    let ratio = median(&busy.p99) / median(&quiet.p99);
    let of_all = |seen: &Seen| seen.total.latencies.quantile(0.99).as_secs_f64();
    let ratio_of_all = of_all(busy) / of_all(quiet);
    let targets = vec![
        Target {
            what: "write latency during a round",
            wanted: format!("p99 at most {P99_RATIO_MAX} × the one without, in the middle slice and of all"),
            found: format!("{ratio:.2} ×, {ratio_of_all:.2} ×"),
            met: ratio.max(ratio_of_all) <= P99_RATIO_MAX,
        },
        Target {
            what: "the rounds",
            wanted: "each rewrites something".into(),
            found: format!(
                "{} segments in {} rounds of {}",
                rounds.rewritten,
                rounds.seconds.len(),
                duration(Duration::from_secs_f64(median(&rounds.seconds)))
            ),
            met: rounds.rewritten >= rounds.seconds.len() as u64,
        },
    ];
    Table { targets, ..Table::new(Scenario::Rounds, head, rows) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p99_is_compared_slice_by_slice_and_of_all() {
        let slices = |times: &[u64]| {
            let mut seen = Seen::default();
            for us in times {
                let mut outcome = Outcome::default();
                outcome.latencies.record(Duration::from_micros(*us));
                seen.add(&outcome);
            }
            seen
        };
        let (quiet, disk) = (slices(&[100, 100, 5_000]), slices(&[100]));
        let rounds = Rounds { seconds: vec![1.0], rewritten: 0 };
        let met = |busy: &[u64]| table([&quiet, &slices(busy), &disk], &rounds, 1.0).targets[0].met;
        assert!(met(&[150, 190, 9_000]));
        assert!(!met(&[210, 250, 190]));
        assert!(!met(&[150, 190, 90_000]), "one slice in three stands still");
        assert!(!table([&quiet, &quiet, &disk], &rounds, 1.0).targets[1].met, "it rewrote nothing");
    }
}
