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

use super::{
    Cell, Scenario, Settings, Table, Target, connect,
    guest::{AREA_BYTES, GUEST, Slices, at_work, clean, closed, quarter},
};
use crate::{
    control, files,
    load::{self, Outcome, Templates, stopped},
    raw::RawDisk,
    servers::Server,
    statistics::median,
    units::duration,
};

const WRITTEN_BYTES: u64 = 1 << 30;
const SLICE: Duration = Duration::from_millis(500);
/// Slices in one round, at most.
const SLICES_MAX: usize = 6;
const DURABILITY: &str = "bounded(3s)";
const OTHER: &str = "other";
const VOLUMES: [&str; 2] = [GUEST, OTHER];
const P99_RATIO_MAX: f64 = 2.0;

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
    let (mut guest, fastest) = at_work(&server, &VOLUMES, settings.stop)?;
    let load = quarter(fastest);
    let mut raw = RawDisk::new(&settings.directory.join("raw"), 1)?;
    let (mut quiet, mut busy, mut disk) = (Slices::default(), Slices::default(), Slices::default());
    let mut rounds = Rounds::default();
    for _ in 0..settings.slices {
        other.some(&closed(other_bytes), other_bytes / 4096 / 3, settings.stop)?;
        clean(&server, &VOLUMES, settings.stop)?;
        files::write_back(settings.directory)?;
        quiet.add(&load::run(&mut guest, &load, SLICE, settings.stop)?);
        clean(&server, &VOLUMES, settings.stop)?;
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

impl Rounds {
    /// Makes a round, and slices meanwhile. One that the round did not outlast does not count.
    fn beside(
        &mut self,
        server: &Server,
        mut slice: impl FnMut() -> Result<Outcome>,
        seen: &mut Slices,
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

fn row(seen: &Slices, name: &str, offered: Option<f64>) -> Vec<Cell> {
    let mut row = seen.row(name, offered);
    row.extend([
        Cell::Time(seen.total.latencies.quantile(0.99)),
        Cell::Time(Duration::from_secs_f64(median(&seen.longest))),
        Cell::Time(seen.total.latencies.max()),
    ]);
    row
}

fn table([quiet, busy, disk]: [&Slices; 3], rounds: &Rounds, offered: f64) -> Table {
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
        row(quiet, "no round", Some(offered)),
        row(busy, "during a round", Some(offered)),
        row(disk, "raw write+fdatasync, depth 1", None),
    ];
    let ratio = median(&busy.p99) / median(&quiet.p99);
    let of_all = |seen: &Slices| seen.total.latencies.quantile(0.99).as_secs_f64();
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
            let mut seen = Slices::default();
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
