//! fio with its `nbd` engine, as a foreign witness.

use std::{path::Path, process::Command, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::{
    histogram::Histogram,
    load::{Kind, Load, Outcome},
};

/// Runs a load for so long (whole seconds).
pub fn run(socket: &Path, load: &Load, duration: Duration) -> Result<Outcome> {
    let (mode, answered) = match load.kind {
        Kind::Read => ("randread", "read"),
        Kind::Write => ("randwrite", "write"),
        other => bail!("fio is not used for {other:?}"),
    };
    let output = Command::new("fio")
        .args(["--name=bench", "--ioengine=nbd", "--time_based", "--output-format=json", "--norandommap"])
        .args(["--randrepeat=0", &format!("--uri=nbd+unix:///v0?socket={}", socket.display())])
        .args([format!("--rw={mode}"), format!("--bs={}", load.request_bytes)])
        .args([format!("--iodepth={}", load.depth), format!("--size={}", load.area_bytes)])
        .arg(format!("--runtime={}", duration.as_secs().max(1)))
        .output()
        .context("start fio")?;
    ensure!(output.status.success(), "fio failed: {}", String::from_utf8_lossy(&output.stderr));
    // Warnings may stand before it.
    let begin = output.stdout.iter().position(|byte| *byte == b'{').context("fio printed no JSON")?;
    let report: Value = serde_json::from_slice(&output.stdout[begin..]).context("what fio printed")?;
    outcome(&report["jobs"][0][answered]).context("fio's report has no figures")
}

fn outcome(figures: &Value) -> Option<Outcome> {
    let mut latencies = Histogram::default();
    let requests = figures["total_ios"].as_u64()?;
    let at = |name: &str| figures["clat_ns"]["percentile"][name].as_u64();
    // Its histogram is given as percentiles; between two of them nothing is known but their bounds.
    let mut told = 0;
    for (share, name) in [(50.0, "50.000000"), (99.0, "99.000000"), (99.9, "99.900000")] {
        let until = (requests as f64 * share / 100.0) as u64;
        latencies.record_many(Duration::from_nanos(at(name)?), until - told);
        told = until;
    }
    latencies.record_many(Duration::from_nanos(figures["clat_ns"]["max"].as_u64()?), requests - told);
    let elapsed = Duration::from_millis(figures["runtime"].as_u64()?);
    Some(Outcome { requests, elapsed, latencies })
}
