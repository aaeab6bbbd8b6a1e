//! Random overwrites for longer than the dirty bound can hide: does the rate fall to what is sealed, smoothly?
//!
//! What a core can seal is measured in the same run: blocks that reach the store from one moment at which it holds all
//! to the next, for each second of processor time of all threads that do not serve connections.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow, ensure};

use super::{Cell, Scenario, Series, Settings, Table, Target, connect};
use crate::{
    control,
    load::{self, Connection, Kind, Load, Outcome, Templates, stopped},
    process,
    servers::Server,
    statistics::median,
};

const DIRTY_BOUND_MIB: u64 = 256;
/// Log bytes of a record of one block, about: it is only for telling the burst from what follows.
const BOUND_BLOCKS: u64 = (DIRTY_BOUND_MIB << 20) / 4160;
/// Written at least, in dirty bounds, and for at least so long.
const BOUNDS: u64 = 8;
const SHORTEST: Duration = Duration::from_secs(20);
const LONGEST: Duration = Duration::from_secs(90);
const AREA_BYTES: u64 = 512 << 20;
const WINDOW: Duration = Duration::from_millis(500);
const WINDOW_OF_BURST: Duration = Duration::from_millis(50);
/// How often a core's seal rate is measured; the middle one counts.
const BURSTS: usize = 3;
/// From one look at the daemon to the next.
const STEP: Duration = Duration::from_millis(250);
const SHARE_MIN: f64 = 0.8;
const CONNECTIONS: &str = "nbd-";

const LOAD: Load =
    Load { kind: Kind::Write, request_bytes: 4096, depth: 32, area_bytes: AREA_BYTES, rate: None };

/// The daemon at one moment.
#[derive(Clone, Copy)]
struct Sample {
    at: Duration,
    written: u64,
    stored: u64,
    background: Duration,
}

/// Windows, summed up.
#[derive(Default)]
struct Part {
    name: &'static str,
    total: Outcome,
    cpu: Duration,
}

pub(super) fn run(settings: &Settings<'_>) -> Result<Table> {
    let mut esker = settings.esker.clone();
    esker.durability = "bounded(5s)".into();
    esker.dirty_bound = format!("{DIRTY_BOUND_MIB}M");
    let server = settings.start(esker, 1, AREA_BYTES)?;
    let mut connections = [connect(&server, "v0", Templates::default(), 1)?];
    let over = Arc::new(AtomicBool::new(false));
    let (parts, samples) = std::thread::scope(|scope| {
        let sampler = scope.spawn(|| watch(&server, &over));
        let parts = overwrite(&mut connections, &server, settings.stop);
        over.store(true, Ordering::Relaxed);
        let samples = sampler.join().unwrap_or_else(|_| Err(anyhow!("the sampler panicked")));
        Ok::<_, anyhow::Error>((parts?, samples?))
    })?;
    let core_rate = seal_rate(&mut connections[0], &server, settings.stop)?;
    Ok(table(&parts, &samples, core_rate))
}

/// Blocks sealed, uploaded and committed for each second of a core's time.
fn seal_rate(connection: &mut Connection, server: &Server, stop: &AtomicBool) -> Result<f64> {
    let patience = Duration::from_secs(120);
    let mut rates = Vec::new();
    server.wait_until_stored("v0", patience, stop)?;
    for _ in 0..BURSTS {
        let before = sample(server, Instant::now())?;
        connection.some(&LOAD, BOUND_BLOCKS * 3 / 4, stop)?;
        server.wait_until_stored("v0", patience, stop)?;
        let after = sample(server, Instant::now())?;
        rates.push(rate(after.stored - before.stored, after.background.saturating_sub(before.background)));
    }
    Ok(median(&rates))
}

/// Writes, in windows: what came of the first bound, and of all from two on.
fn overwrite(connections: &mut [Connection], server: &Server, stop: &AtomicBool) -> Result<[Part; 2]> {
    let mut parts = [
        Part { name: "up to one dirty bound", ..Part::default() },
        Part { name: "from two on", ..Part::default() },
    ];
    let (begun, mut written) = (Instant::now(), 0);
    while (written < BOUNDS * BOUND_BLOCKS || begun.elapsed() < SHORTEST) && begun.elapsed() < LONGEST {
        ensure!(!stopped(stop), "interrupted");
        let before = process::threads_cpu(server.pid());
        let window = if written < BOUND_BLOCKS { WINDOW_OF_BURST } else { WINDOW };
        let outcome = load::run(connections, &LOAD, window, stop)?;
        let cpu = process::threads_cpu(server.pid()).saturating_sub(before);
        written += outcome.requests;
        match written / BOUND_BLOCKS {
            0 => parts[0].add(&outcome, cpu),
            1 => {}
            _ => parts[1].add(&outcome, cpu),
        }
    }
    Ok(parts)
}

/// Looks at the daemon again and again.
fn watch(server: &Server, over: &AtomicBool) -> Result<Vec<Sample>> {
    let begun = Instant::now();
    let mut samples = vec![sample(server, begun)?];
    while !stopped(over) {
        std::thread::sleep((STEP * samples.len() as u32).saturating_sub(begun.elapsed()));
        samples.push(sample(server, begun)?);
    }
    Ok(samples)
}

fn sample(server: &Server, begun: Instant) -> Result<Sample> {
    let directory: &Path = &server.directory;
    let figures = control::figures(directory, "v0")?;
    let background = process::threads_cpu_but(server.pid(), CONNECTIONS);
    Ok(Sample { at: begun.elapsed(), written: figures.sequence, stored: figures.committed, background })
}

fn rate(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64().max(1e-9)
}

fn table(parts: &[Part], samples: &[Sample], core_rate: f64) -> Table {
    let between = |figure: fn(&Sample) -> u64| {
        let pairs = samples.windows(2);
        pairs.map(|pair| rate(figure(&pair[1]) - figure(&pair[0]), pair[1].at - pair[0].at)).collect()
    };
    let series = vec![
        Series { what: "blocks written a second", step: STEP, values: between(|sample| sample.written) },
        Series {
            what: "blocks brought into the store a second",
            step: STEP,
            values: between(|sample| sample.stored),
        },
    ];
    let paced = parts[1].total.rate();
    let mut rows: Vec<_> = parts.iter().map(Part::row).collect();
    let none = || Cell::Text("–".into());
    rows.push(vec![
        Cell::Text("one core's seal rate".into()),
        Cell::Number(core_rate),
        none(),
        none(),
        none(),
        Cell::Time(Duration::from_secs_f64(1.0 / core_rate.max(1e-9))),
    ]);
    let targets = vec![Target {
        what: "sustained overwrite",
        wanted: format!("at least {SHARE_MIN} × one core's seal rate"),
        found: format!("{:.2} ×", paced / core_rate),
        met: paced >= SHARE_MIN * core_rate,
    }];
    let head = vec!["", "blocks/s", "p50", "p99", "longest", "CPU/block"];
    Table { targets, series, ..Table::new(Scenario::Sustained, head, rows) }
}

impl Part {
    fn add(&mut self, outcome: &Outcome, cpu: Duration) {
        self.total.append(outcome);
        self.cpu += cpu;
    }

    fn row(&self) -> Vec<Cell> {
        let latencies = &self.total.latencies;
        let requests = self.total.requests.max(1) as f64;
        vec![
            Cell::Text(self.name.to_owned()),
            Cell::Number(self.total.rate()),
            Cell::Time(latencies.quantile(0.5)),
            Cell::Time(latencies.quantile(0.99)),
            Cell::Time(latencies.max()),
            Cell::Time(self.cpu.div_f64(requests)),
        ]
    }
}
