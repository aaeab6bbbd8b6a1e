//! The chart and the tables as files.

use std::path::Path;

use anyhow::Result;
use esker_bench::{
    report::{self, Bar, Chart, Conditions, Measured},
    units::duration,
};

pub(crate) fn write(directory: &Path, conditions: &Conditions, measured: &[Measured]) -> Result<()> {
    std::fs::create_dir_all(directory)?;
    let jobs = measured.iter().filter_map(|measured| match measured {
        Measured::Job(done) => Some(done),
        Measured::Scenario(_) => None,
    });
    let groups = jobs.map(|done| {
        let bars = done.compared.rows.iter().map(|row| Bar {
            name: row.name.clone(),
            value: row.ratio.median,
            low: row.ratio.low,
            high: row.ratio.high,
            note: format!(
                "{:.2} ×, p99 {}, {}",
                row.ratio.median,
                duration(row.total.latencies.quantile(0.99)),
                row.cpu.map_or_else(String::new, |cpu| format!("{} CPU a request", duration(cpu)))
            ),
        });
        (format!("{}: {}", done.job.name, done.job.what), bars.collect())
    });
    let chart = Chart { title: conditions.lines(), groups: groups.collect() };
    std::fs::write(directory.join("bench.svg"), chart.svg())?;
    let lines: Vec<String> = conditions.lines().iter().map(|line| format!("- {line}")).collect();
    let tables: Vec<String> = measured.iter().map(report::table).collect();
    let text = format!("# The last run that was kept\n\n{}\n\n{}", lines.join("\n"), tables.join("\n"));
    std::fs::write(directory.join("bench.md"), text)?;
    Ok(())
}
