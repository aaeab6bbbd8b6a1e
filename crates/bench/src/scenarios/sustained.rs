//! Random overwrites for longer than the dirty bound can hide: does the rate fall to what is sealed, smoothly?

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::{Cell, Scenario, Settings, Table, connect};
use crate::{
    load::{self, Kind, Load, Outcome, stopped},
    process,
};

const DIRTY_BOUND_MIB: u64 = 256;
/// Written in all, in dirty bounds.
const BOUNDS: u64 = 6;
const AREA_BYTES: u64 = 512 << 20;
const WINDOW: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(90);

/// Windows, summed up.
#[derive(Default)]
struct Part {
    name: &'static str,
    rates: Vec<f64>,
    total: Outcome,
    cpu: Duration,
}

pub(super) fn run(settings: &Settings<'_>) -> Result<Table> {
    let mut esker = settings.esker.clone();
    esker.durability = "bounded(5s)".into();
    esker.dirty_bound = format!("{DIRTY_BOUND_MIB}M");
    let server = settings.start(esker, 1, AREA_BYTES)?;
    let mut connections = [connect(&server, "v0", 1)?];
    let load = Load { kind: Kind::Write, request_bytes: 4096, depth: 32, area_bytes: AREA_BYTES, rate: None };
    let mut parts = [
        Part { name: "up to one dirty bound", ..Part::default() },
        Part { name: "from two on", ..Part::default() },
    ];
    let (begun, mut written) = (Instant::now(), 0);
    while written < BOUNDS * (DIRTY_BOUND_MIB << 20) && begun.elapsed() < LONGEST {
        ensure!(!stopped(settings.stop), "interrupted");
        let before = process::threads_cpu(server.pid());
        let outcome = load::run(&mut connections, &load, WINDOW, settings.stop)?;
        let cpu = process::threads_cpu(server.pid()).saturating_sub(before);
        written += outcome.requests * 4096;
        match written / (DIRTY_BOUND_MIB << 20) {
            0 => parts[0].add(&outcome, cpu),
            1 => {}
            _ => parts[1].add(&outcome, cpu),
        }
    }
    let head = vec!["", "rate", "slowest 250 ms", "fastest 250 ms", "p50", "p99", "longest", "CPU/request"];
    let rows = parts.iter().map(Part::row).collect();
    Ok(Table { scenario: Scenario::Sustained, head, rows })
}

impl Part {
    fn add(&mut self, outcome: &Outcome, cpu: Duration) {
        self.rates.push(outcome.rate());
        self.total.append(outcome);
        self.cpu += cpu;
    }

    fn row(&self) -> Vec<Cell> {
        let latencies = &self.total.latencies;
        let requests = self.total.requests.max(1) as f64;
        vec![
            Cell::Text(self.name.to_owned()),
            Cell::Number(self.total.rate()),
            Cell::Number(self.rates.iter().copied().reduce(f64::min).unwrap_or(0.0)),
            Cell::Number(self.rates.iter().copied().reduce(f64::max).unwrap_or(0.0)),
            Cell::Time(latencies.quantile(0.5)),
            Cell::Time(latencies.quantile(0.99)),
            Cell::Time(latencies.max()),
            Cell::Time(self.cpu.div_f64(requests)),
        ]
    }
}
