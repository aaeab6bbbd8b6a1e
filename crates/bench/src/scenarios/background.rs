//! Write latency at a quarter of the idle maximum: with nothing else to do, while another volume's backlog is sealed
//! and uploaded as fast as that goes, and while the volume is sealed itself.
//!
//! Requests come at a set rate, and count from when they were due. Quiet and busy slices take turns, so that what
//! the machine does meanwhile falls on both. The guest's volume is at work: before each slice the store holds all of
//! it, so that it is written to log files that are used again, and its contents compress so well that nothing of it is
//! sealed before the slice is over. The other volume's backlog is made before its slice begins and only kept from
//! running out during it, by a thread of the lowest priority: what is measured is sealing, not a second guest that
//! wants a core. Nothing reclaims yet.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use anyhow::{Result, anyhow, ensure};

use super::{
    Cell, Scenario, Settings, Table, Target, connect,
    guest::{AREA_BYTES, GUEST, at_work, clean, quarter},
};
use crate::{
    control, files,
    load::{self, Connection, Kind, Load, Outcome, Templates, stopped},
    raw::RawDisk,
    servers::Server,
    units::duration,
};

/// Slices of each kind.
const SLICES: usize = 20;
/// Shorter than it takes until what is written in it is sealed for its age, or fills the log files that are kept to be
/// used again.
const SLICE: Duration = Duration::from_millis(500);
const DURABILITY: &str = "bounded(3s)";
/// How long the volume is watched while it is sealed itself.
const SEALED_ITSELF: Duration = Duration::from_secs(12);
/// What lies before the other volume's sealing at the begin of a slice, and what it may fall to.
const BACKLOG_BYTES: u64 = 1 << 30;
const BACKLOG_BYTES_MIN: u64 = 256 << 20;
const P99_RATIO_MAX: f64 = 2.0;
const STALL_MAX: Duration = Duration::from_millis(20);
const LOWEST_PRIORITY: i32 = 19;

const OTHER: &str = "other";
const SEALED: &str = "sealed";

/// What was seen with and without work in the background.
#[derive(Default)]
struct Seen {
    quiet: Outcome,
    busy: Outcome,
    itself: Outcome,
    raw: Outcome,
    /// Log bytes sealed, uploaded and committed in the busy slices.
    other_bytes: u64,
    /// The same of the volume that is sealed itself.
    own_bytes: u64,
}

pub(super) fn run(settings: &Settings<'_>) -> Result<Table> {
    let mut esker = settings.esker.clone();
    esker.durability = DURABILITY.into();
    // Nobody's log comes near half of this, from where on everything is sealed at once.
    esker.dirty_bound = "24G".into();
    let server = settings.start(esker, 1, AREA_BYTES)?;
    for name in [OTHER, SEALED] {
        control::create(&server.directory, name, 4 * AREA_BYTES, DURABILITY)?;
    }
    let (mut guest, fastest) = at_work(&server, &[GUEST], settings.stop)?;
    let quarter = quarter(fastest);
    let mut seen = Seen::default();
    let mut raw = RawDisk::new(&settings.directory.join("raw"), 1)?;
    let mut other = Other {
        connection: [connect(&server, OTHER, Templates::default(), 2)?],
        server: &server,
        stop: settings.stop,
    };
    for _ in 0..SLICES {
        clean(&server, &[OTHER], settings.stop)?;
        clean(&server, &[GUEST], settings.stop)?;
        files::write_back(settings.directory)?;
        seen.quiet.append(&load::run(&mut guest, &quarter, SLICE, settings.stop)?);
        clean(&server, &[GUEST], settings.stop)?;
        files::write_back(settings.directory)?;
        seen.raw.append(&raw.run(SLICE)?);
        let (outcome, bytes) = other.beside(|| load::run(&mut guest, &quarter, SLICE, settings.stop))?;
        seen.busy.append(&outcome);
        seen.other_bytes += bytes;
    }
    clean(&server, &[OTHER], settings.stop)?;
    let mut sealed = [connect(&server, SEALED, Templates::default(), 3)?];
    let before = control::figures(&server.directory, SEALED)?.committed;
    seen.itself = load::run(&mut sealed, &quarter, SEALED_ITSELF, settings.stop)?;
    seen.own_bytes = (control::figures(&server.directory, SEALED)?.committed - before) * 4096;
    ensure!(!stopped(settings.stop), "interrupted");
    Ok(seen.table(fastest))
}

/// The volume that is sealed beside the guest's.
struct Other<'a> {
    connection: [Connection; 1],
    server: &'a Server,
    stop: &'a AtomicBool,
}

impl Other<'_> {
    fn dirty_bytes(&self) -> Result<u64> {
        Ok(control::figures(&self.server.directory, OTHER)?.dirty_bytes)
    }

    /// Writes until so much is to be sealed; returns what was written.
    fn fill(&mut self, until_bytes: u64, over: &AtomicBool) -> Result<u64> {
        let (request_bytes, depth) = (128 << 10, 4);
        let area_bytes = self.connection[0].size_bytes();
        let load = Load { kind: Kind::SequentialWrite, request_bytes, depth, area_bytes, rate: None };
        let mut written = 0;
        while self.dirty_bytes()? < until_bytes && !stopped(self.stop) && !stopped(over) {
            let part_bytes = 16 << 20;
            self.connection[0].some(&load, part_bytes / request_bytes as u64, self.stop)?;
            written += part_bytes;
        }
        Ok(written)
    }

    /// Does something while the backlog is sealed; returns what came of it, and the bytes sealed meanwhile.
    fn beside(&mut self, work: impl FnOnce() -> Result<Outcome>) -> Result<(Outcome, u64)> {
        let over = AtomicBool::new(false);
        self.fill(BACKLOG_BYTES, &over)?;
        let before = self.dirty_bytes()?;
        std::thread::scope(|scope| {
            let feeder = scope.spawn(|| -> Result<(u64, u64)> {
                rustix::process::setpriority_process(None, LOWEST_PRIORITY)?;
                let mut written = 0;
                while !stopped(&over) {
                    written += self.fill(BACKLOG_BYTES_MIN, &over)?;
                    std::thread::sleep(Duration::from_millis(50));
                }
                Ok((written, self.dirty_bytes()?))
            });
            let outcome = work();
            over.store(true, Ordering::Relaxed);
            let fed = feeder.join().unwrap_or_else(|_| Err(anyhow!("the other volume's thread panicked")));
            let (written, after) = fed?;
            Ok((outcome?, (before + written).saturating_sub(after)))
        })
    }
}

impl Seen {
    fn table(&self, fastest: f64) -> Table {
        let offered = fastest / 4.0;
        let per_second =
            |bytes: u64, outcome: &Outcome| bytes as f64 / 4096.0 / outcome.elapsed.as_secs_f64();
        let rows = vec![
            row("nothing else to do", offered, &self.quiet, 0.0),
            row(
                "while another volume is sealed",
                offered,
                &self.busy,
                per_second(self.other_bytes, &self.busy),
            ),
            row("while it is sealed itself", offered, &self.itself, per_second(self.own_bytes, &self.itself)),
            row("raw write+fdatasync, depth 1", 0.0, &self.raw, 0.0),
        ];
        let head = vec!["", "offered", "answered", "p50", "p99", "p99.9", "longest", "blocks sealed/s"];
        let mut targets = self.targets("beside another volume that is sealed", &self.busy).to_vec();
        targets.extend(self.targets("while it is sealed itself", &self.itself));
        Table { targets, ..Table::new(Scenario::Background, head, rows) }
    }

    fn targets(&self, what: &'static str, busy: &Outcome) -> [Target; 2] {
        let p99 = |outcome: &Outcome| outcome.latencies.quantile(0.99);
        let ratio = p99(busy).as_secs_f64() / p99(&self.quiet).as_secs_f64();
        let stall_max = STALL_MAX + self.raw.latencies.max();
        let longest = busy.latencies.max();
        [
            Target {
                what,
                wanted: format!("p99 at most {P99_RATIO_MAX} × the quiet one"),
                found: format!("{ratio:.2} ×"),
                met: ratio <= P99_RATIO_MAX,
            },
            Target {
                what,
                wanted: format!("longest at most 20 ms + the raw disk's, {}", duration(stall_max)),
                found: duration(longest),
                met: longest <= stall_max,
            },
        ]
    }
}

fn row(name: &str, offered: f64, outcome: &Outcome, sealed: f64) -> Vec<Cell> {
    let at = |share: f64| Cell::Time(outcome.latencies.quantile(share));
    let number = |number: f64| if number > 0.0 { Cell::Number(number) } else { Cell::Text("–".into()) };
    vec![
        Cell::Text(name.to_owned()),
        number(offered),
        Cell::Number(outcome.rate()),
        at(0.5),
        at(0.99),
        at(0.999),
        Cell::Time(outcome.latencies.max()),
        number(sealed),
    ]
}
