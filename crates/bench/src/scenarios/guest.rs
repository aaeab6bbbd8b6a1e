//! A guest whose volume is at work, what it can do with nothing beside it, and what its slices were.

use std::{sync::atomic::AtomicBool, time::Duration};

use anyhow::Result;

use super::{Cell, connect};
use crate::{
    load::{self, Connection, Kind, Load, Outcome, Templates},
    servers::Server,
    statistics::median,
};

/// The guest's volume.
pub(super) const GUEST: &str = "v0";
pub(super) const AREA_BYTES: u64 = 256 << 20;

/// Slices of one kind.
#[derive(Default)]
pub(super) struct Slices {
    pub(super) total: Outcome,
    /// Of each slice, in seconds.
    pub(super) p99: Vec<f64>,
    pub(super) longest: Vec<f64>,
}

/// Connects a guest and has it write until its log files are used again. Returns it with its idle maximum: requests per
/// second with 32 on their way and nothing else to do, the middle one of a few short runs.
pub(super) fn at_work(
    server: &Server,
    volumes: &[&str],
    stop: &AtomicBool,
) -> Result<([Connection; 1], f64)> {
    let mut guest = [connect(server, GUEST, Templates::compressible(), 1)?];
    for _ in 0..4 {
        guest[0].prepare(AREA_BYTES, stop)?;
        clean(server, volumes, stop)?;
    }
    let mut rates = Vec::new();
    for _ in 0..5 {
        clean(server, volumes, stop)?;
        rates.push(load::run(&mut guest, &closed(AREA_BYTES), Duration::from_millis(400), stop)?.rate());
    }
    Ok((guest, median(&rates)))
}

/// Writes as fast as 32 on their way allow.
pub(super) fn closed(area_bytes: u64) -> Load {
    Load { kind: Kind::Write, request_bytes: 4096, depth: 32, area_bytes, rate: None }
}

/// A quarter of the idle maximum.
pub(super) fn quarter(fastest: f64) -> Load {
    Load { rate: Some(fastest / 4.0), ..closed(AREA_BYTES) }
}

/// Waits until the store holds all of these volumes, and nothing is done any more.
pub(super) fn clean(server: &Server, volumes: &[&str], stop: &AtomicBool) -> Result<()> {
    for volume in volumes {
        server.wait_until_stored(volume, Duration::from_secs(120), stop)?;
    }
    server.settle(Duration::from_secs(30), stop);
    Ok(())
}

impl Slices {
    pub(super) fn add(&mut self, outcome: &Outcome) {
        self.p99.push(outcome.latencies.quantile(0.99).as_secs_f64());
        self.longest.push(outcome.latencies.max().as_secs_f64());
        self.total.append(outcome);
    }

    /// How many there are, what was offered and answered in a second, the p50 of all, and the p99 of the middle one.
    pub(super) fn row(&self, name: &str, offered: Option<f64>) -> Vec<Cell> {
        vec![
            Cell::Text(name.to_owned()),
            Cell::Number(self.longest.len() as f64),
            offered.map_or_else(|| Cell::Text("–".into()), Cell::Number),
            Cell::Number(self.total.rate()),
            Cell::Time(self.total.latencies.quantile(0.5)),
            Cell::Time(Duration::from_secs_f64(median(&self.p99))),
        ]
    }
}
