//! Write latency at a quarter of the idle maximum, alone and beside a volume that is sealed at full speed.
//!
//! Requests come at a set rate, and count from when they were due.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use anyhow::{Result, anyhow};

use super::{Cell, Scenario, Settings, Table, connect};
use crate::{
    load::{self, Connection, Kind, Load, Outcome},
    raw::RawDisk,
};

const AREA_BYTES: u64 = 256 << 20;
const IDLE: Duration = Duration::from_secs(5);
const BUSY: Duration = Duration::from_secs(15);

pub(super) fn run(settings: &Settings<'_>) -> Result<Table> {
    let mut esker = settings.esker.clone();
    esker.durability = "bounded(5s)".into();
    esker.dirty_bound = "1G".into();
    let server = settings.start(esker, 2, 4 * AREA_BYTES)?;
    let mut guest = [connect(&server, "v0", 1)?];
    let mut other = [connect(&server, "v1", 2)?];
    guest[0].prepare(AREA_BYTES, settings.stop)?;
    server.settle(Duration::from_secs(30), settings.stop);
    let closed =
        Load { kind: Kind::Write, request_bytes: 4096, depth: 32, area_bytes: AREA_BYTES, rate: None };
    let fastest = load::run(&mut guest, &closed, Duration::from_millis(500), settings.stop)?.rate();
    server.settle(Duration::from_secs(30), settings.stop);
    let quarter = Load { rate: Some(fastest / 4.0), ..closed };
    let idle = load::run(&mut guest, &quarter, IDLE, settings.stop)?;
    let busy = beside(&mut guest, &quarter, &mut other, settings.stop)?;
    let raw = RawDisk::new(&settings.directory.join("raw"), 1)?.run(IDLE)?;
    let head = vec!["", "offered", "answered", "p50", "p99", "p99.9", "longest"];
    let offered = Cell::Number(fastest / 4.0);
    let rows = vec![
        row("alone", offered.clone(), &idle),
        row("beside a volume at its dirty bound", offered, &busy),
        row("raw write+fdatasync", Cell::Text("–".into()), &raw),
    ];
    Ok(Table { scenario: Scenario::Background, head, rows })
}

/// The guest's load, while the other volume is written as fast as it is sealed.
fn beside(
    guest: &mut [Connection],
    quarter: &Load,
    other: &mut [Connection],
    stop: &AtomicBool,
) -> Result<Outcome> {
    let large = Load {
        kind: Kind::SequentialWrite,
        request_bytes: 128 << 10,
        depth: 4,
        area_bytes: 4 * AREA_BYTES,
        rate: None,
    };
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| load::run(other, &large, 2 * BUSY, &over));
        // First it fills the log up to the bound.
        std::thread::sleep(Duration::from_secs(3));
        let outcome = load::run(guest, quarter, BUSY, stop);
        over.store(true, Ordering::Relaxed);
        writer.join().unwrap_or_else(|_| Err(anyhow!("the other volume's thread panicked")))?;
        outcome
    })
}

fn row(name: &str, offered: Cell, outcome: &Outcome) -> Vec<Cell> {
    let at = |share: f64| Cell::Time(outcome.latencies.quantile(share));
    let answered = Cell::Number(outcome.rate());
    let longest = Cell::Time(outcome.latencies.max());
    vec![Cell::Text(name.to_owned()), offered, answered, at(0.5), at(0.99), at(0.999), longest]
}
