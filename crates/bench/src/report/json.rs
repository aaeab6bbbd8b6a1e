//! All figures, for programs.

use serde_json::{Value, json};

use super::{Conditions, Finished, Measured};
use crate::{
    scenarios::{Cell, Table},
    slices::{Change, Row},
    statistics::Spread,
};

/// Conditions, and each job with its rows; times in nanoseconds.
pub fn json(conditions: &Conditions, measured: &[Measured]) -> Value {
    json!({
        "command": conditions.command,
        "machine": conditions.machine,
        "disk": conditions.disk,
        "esker": conditions.esker,
        "slices": conditions.slices,
        "slice_ns": conditions.slice.as_nanos() as u64,
        "jobs": measured.iter().map(one).collect::<Vec<_>>(),
    })
}

fn one(measured: &Measured) -> Value {
    match measured {
        Measured::Job(finished) => job(finished),
        Measured::Scenario(table) => scenario(table),
    }
}

fn scenario(table: &Table) -> Value {
    let cell = |cell: &Cell| match cell {
        Cell::Text(text) => json!(text),
        Cell::Number(number) => json!(number),
        Cell::Time(time) => json!(time.as_nanos() as u64),
    };
    let row = |row: &Vec<Cell>| row.iter().map(cell).collect::<Vec<_>>();
    json!({
        "name": table.scenario.name(),
        "what": table.scenario.what(),
        "columns": table.head,
        "rows": table.rows.iter().map(row).collect::<Vec<_>>(),
        "targets": table.targets.iter().map(|target| json!({
            "what": target.what,
            "wanted": target.wanted,
            "found": target.found,
            "met": target.met,
        })).collect::<Vec<_>>(),
        "series": table.series.iter().map(|series| json!({
            "what": series.what,
            "step_ns": series.step.as_nanos() as u64,
            "values": series.values,
        })).collect::<Vec<_>>(),
    })
}

fn job(finished: &Finished) -> Value {
    json!({
        "name": finished.job.name,
        "what": finished.job.what,
        "request_bytes": finished.job.load.request_bytes,
        "rows": finished.compared.rows.iter().map(row).collect::<Vec<_>>(),
        "change": finished.compared.change.as_ref().map(change),
    })
}

/// Esker against another build of it.
fn change(change: &Change) -> Value {
    let ratio = |spread: Spread| json!({ "ratio": spread.median, "low": spread.low, "high": spread.high });
    json!({ "rate": ratio(change.rate), "cpu": ratio(change.cpu) })
}

fn row(row: &Row) -> Value {
    let at = |share: f64| row.total.latencies.quantile(share).as_nanos() as u64;
    json!({
        "server": row.name,
        "requests": row.total.requests,
        "rate": row.rate,
        "ratio": row.ratio.median,
        "ratio_low": row.ratio.low,
        "ratio_high": row.ratio.high,
        "p50_ns": at(0.5),
        "p99_ns": at(0.99),
        "max_ns": row.total.latencies.max().as_nanos() as u64,
        "cpu_ns": row.cpu.map(|cpu| cpu.as_nanos() as u64),
        "memory_bytes": row.memory_bytes,
    })
}
