//! Write latency at a quarter of the idle maximum, with and without a snapshot.
//!
//! Slices take turns: nothing but the load, a snapshot of the volume, a snapshot of it and another one at one point. In
//! every second round the order is the other way around. The snapshot is asked for when a quarter of the slice is over.
//! Requests come at a set rate, and count from when they were due.
//!
//! The volume is at work: before each slice the store holds all of it, and its contents compress so well that nothing is
//! sealed within a slice but for the snapshot. What a snapshot costs a guest is then the hold, which the daemon measures
//! itself, and the seal and the commits that are made beside the guest on the same processors.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};

use super::{
    Cell, Scenario, Settings, Table, Target,
    guest::{AREA_BYTES, GUEST, Slices, at_work, clean, quarter},
};
use crate::{
    control, files,
    load::{self, Outcome, stopped},
    raw::RawDisk,
    servers::Server,
    statistics::{median, spread},
    units::duration,
};

const SLICE: Duration = Duration::from_millis(800);
const ASKED_AFTER: Duration = Duration::from_millis(200);
const DURABILITY: &str = "bounded(3s)";
const HOLD_MAX: Duration = Duration::from_millis(10);
const OTHER: &str = "other";

/// What happens in a slice.
#[derive(Debug, Clone, Copy, PartialEq)]
enum With {
    Nothing,
    Snapshot,
    Group,
}

const KINDS: [With; 3] = [With::Nothing, With::Snapshot, With::Group];

/// Slices of one kind.
#[derive(Default)]
struct Seen {
    slices: Slices,
    /// From asking for the snapshot to its answer, in seconds.
    answered: Vec<f64>,
}

pub(super) fn run(settings: &Settings<'_>) -> Result<Table> {
    let mut esker = settings.esker.clone();
    (esker.durability, esker.dirty_bound) = (DURABILITY.into(), "8G".into());
    let server = settings.start(esker, 1, AREA_BYTES)?;
    control::create(&server.directory, OTHER, AREA_BYTES, DURABILITY)?;
    let (mut guest, fastest) = at_work(&server, &[GUEST], settings.stop)?;
    let load = quarter(fastest);
    let mut raw = RawDisk::new(&settings.directory.join("raw"), 1)?;
    let (mut seen, mut disk) = ([Seen::default(), Seen::default(), Seen::default()], Seen::default());
    for round in 0..settings.slices {
        let mut order = [0, 1, 2];
        if !round.is_multiple_of(2) {
            order.reverse();
        }
        for kind in order {
            ensure!(!stopped(settings.stop), "interrupted");
            clean(&server, &[GUEST], settings.stop)?;
            files::write_back(settings.directory)?;
            let work = || load::run(&mut guest, &load, SLICE, settings.stop);
            let name = format!("s{round}-{kind}");
            let (outcome, answered) = beside(&server, (KINDS[kind], &name), work)?;
            seen[kind].add(&outcome, answered);
        }
        disk.add(&raw.run(SLICE)?, None);
    }
    let metrics = control::metrics(&server.directory)?;
    let metric = |name: &str| metrics.get(name).copied().unwrap_or(0.0);
    let (points, held) = (metric("esker_snapshot_points_total"), metric("esker_snapshot_hold_seconds_total"));
    let longest = metric("esker_snapshot_hold_longest_seconds");
    Ok(table(&seen, &disk, fastest / 4.0, (points, held, longest)))
}

/// Runs the load, and has a snapshot made meanwhile; also says how long that took.
fn beside(
    server: &Server,
    (with, name): (With, &str),
    load: impl FnOnce() -> Result<Outcome>,
) -> Result<(Outcome, Option<Duration>)> {
    let data = &server.directory;
    let ask = || match with {
        With::Nothing => Ok(()),
        With::Snapshot => control::snapshot(data, GUEST, name),
        With::Group => control::group(data, &[GUEST, OTHER], name),
    };
    std::thread::scope(|scope| {
        let asker = scope.spawn(|| {
            std::thread::sleep(ASKED_AFTER);
            let begun = Instant::now();
            ask().map(|()| begun.elapsed())
        });
        let outcome = load();
        let answered = asker.join().unwrap_or_else(|_| Err(anyhow!("the thread that asks panicked")))?;
        Ok((outcome?, (with != With::Nothing).then_some(answered)))
    })
}

impl Seen {
    fn add(&mut self, outcome: &Outcome, answered: Option<Duration>) {
        self.slices.add(outcome);
        self.answered.extend(answered.map(|answered| answered.as_secs_f64()));
    }

    fn row(&self, name: &str, offered: Option<f64>) -> Vec<Cell> {
        let time = |seconds: f64| Cell::Time(Duration::from_secs_f64(seconds));
        let longest = spread(&self.slices.longest);
        let mut row = self.slices.row(name, offered);
        row.extend([
            time(longest.median),
            time(longest.high),
            Cell::Time(self.slices.total.latencies.max()),
            if self.answered.is_empty() { Cell::Text("–".into()) } else { time(median(&self.answered)) },
        ]);
        row
    }
}

/// By how much the values of one kind are above those of the other, pair by pair: the median, in seconds.
fn more(with: &[f64], without: &[f64]) -> f64 {
    median(&with.iter().zip(without).map(|(with, without)| with - without).collect::<Vec<_>>())
}

fn table(seen: &[Seen; 3], disk: &Seen, offered: f64, (points, held, longest): (f64, f64, f64)) -> Table {
    let head = vec![
        "",
        "slices",
        "offered",
        "answered",
        "p50",
        "p99, median",
        "longest, median",
        "… upper quarter",
        "… of all",
        "snapshot takes",
    ];
    let rows = vec![
        seen[0].row("no snapshot", Some(offered)),
        seen[1].row("with a snapshot", Some(offered)),
        seen[2].row("with one of two volumes at once", Some(offered)),
        disk.row("raw write+fdatasync, depth 1", None),
    ];
    let max = HOLD_MAX.as_secs_f64();
    let time = |seconds: f64| duration(Duration::from_secs_f64(seconds));
    let mut targets = vec![Target {
        what: "what a point holds, as the daemon measures it",
        wanted: format!("at most {HOLD_MAX:?}"),
        found: format!(
            "longest {}, {} on the average of {points:.0}",
            time(longest),
            time(held / points.max(1.0))
        ),
        met: points > 0.0 && longest <= max,
    }];
    for (kind, what) in [(1, "longest write of a slice with a snapshot"), (2, "… of two volumes at once")] {
        let (with, without) = (&seen[kind].slices, &seen[0].slices);
        let (longest, p99) = (more(&with.longest, &without.longest), more(&with.p99, &without.p99));
        targets.push(Target {
            what,
            wanted: format!("at most {HOLD_MAX:?} above one without, the median of pairs"),
            found: format!("{:+.2} ms; p99 {:+.2} ms", longest * 1e3, p99 * 1e3),
            met: longest <= max,
        });
    }
    Table { targets, ..Table::new(Scenario::Snapshots, head, rows) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_compared_and_the_middle_one_counts() {
        assert_eq!(more(&[5.0, 9.0, 3.0], &[4.0, 2.0, 1.0]), 2.0);
        assert_eq!(more(&[1.0], &[3.0]), -2.0);
    }

    #[test]
    fn a_slice_counts_by_its_own_longest() {
        let mut seen = Seen::default();
        for us in [100, 300, 200] {
            let mut outcome = Outcome::default();
            outcome.latencies.record(Duration::from_micros(us));
            seen.add(&outcome, Some(Duration::from_millis(us)));
        }
        assert_eq!(seen.row("x", None)[6], Cell::Time(Duration::from_micros(200)));
        assert_eq!(seen.row("x", None)[8], Cell::Time(Duration::from_micros(300)));
        assert_eq!(seen.row("x", None)[9], Cell::Time(Duration::from_millis(200)));
    }

    #[test]
    fn a_hold_above_ten_milliseconds_is_no_success() {
        let seen = [Seen::default(), Seen::default(), Seen::default()];
        let met = |longest: f64| table(&seen, &Seen::default(), 1.0, (2.0, 0.02, longest)).targets[0].met;
        assert!(met(0.009) && !met(0.011));
        assert!(!table(&seen, &Seen::default(), 1.0, (0.0, 0.0, 0.0)).targets[0].met);
    }
}
