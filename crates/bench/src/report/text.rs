//! A table for each job.

use super::{Finished, Measured};
use crate::{
    scenarios::{Cell, Table},
    slices::{Change, Row},
    statistics::Spread,
    units::duration,
};

const HEAD: [&str; 8] = ["", "rate", "ratio", "p50", "p99", "max", "CPU/request", "memory"];

/// What was measured as a table, in Markdown that can be read as it is.
pub fn table(measured: &Measured) -> String {
    let (name, what, lines) = match measured {
        Measured::Job(finished) => {
            let head = HEAD.map(str::to_owned).to_vec();
            let rows = finished.compared.rows.iter().map(|row| cells(finished, row).to_vec());
            (finished.job.name, finished.job.what, std::iter::once(head).chain(rows).collect())
        }
        Measured::Scenario(table) => {
            let head = table.head.iter().map(|name| (*name).to_owned()).collect();
            let rows = table.rows.iter().map(|row| row.iter().map(cell).collect());
            (table.scenario.name(), table.scenario.what(), std::iter::once(head).chain(rows).collect())
        }
    };
    let notes = match measured {
        Measured::Job(finished) => finished.compared.change.as_ref().map_or_else(String::new, change),
        Measured::Scenario(table) => below(table),
    };
    format!("**{name}**: {what}\n\n{}{notes}", grid(lines))
}

/// What stands below a scenario's table.
fn below(table: &Table) -> String {
    let series = table.series.iter().map(|series| {
        let highest = series.values.iter().copied().fold(0.0, f64::max);
        let step = duration(series.step);
        format!("\n{}, each {step}, the highest is {highest:.0}:\n`{}`\n", series.what, bars(&series.values))
    });
    let targets = table.targets.iter().map(|target| {
        let met = if target.met { "met" } else { "NOT met" };
        format!("\ntarget {met}: {}: wanted {}, found {}\n", target.what, target.wanted, target.found)
    });
    series.chain(targets).collect()
}

/// A bar in a character for each value, on a scale from nothing to the highest.
fn bars(values: &[f64]) -> String {
    const STEPS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let highest = values.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    values.iter().map(|value| STEPS[((value / highest * 8.0).ceil() as usize).min(8)]).collect()
}

/// Esker against another build of it.
fn change(change: &Change) -> String {
    format!(
        "\nesker against esker-before, side by side: rate {} ×, CPU/request {} ×\n",
        spread(change.rate),
        spread(change.cpu)
    )
}

fn spread(spread: Spread) -> String {
    format!("{:.2} ({:.2}–{:.2})", spread.median, spread.low, spread.high)
}

fn cell(cell: &Cell) -> String {
    match cell {
        Cell::Text(text) => text.clone(),
        Cell::Number(number) => format!("{number:.0}"),
        Cell::Time(time) => duration(*time),
    }
}

/// Columns of the same width, numbers to the right; the first line is the head.
fn grid(lines: Vec<Vec<String>>) -> String {
    let columns = lines.first().map_or(0, Vec::len);
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for (number, line) in lines.iter().enumerate() {
        text.push('|');
        for (cell, width) in line.iter().zip(&widths) {
            text.push_str(&format!(" {cell:>width$} |"));
        }
        text.push('\n');
        if number == 0 {
            let rules: Vec<String> =
                widths.iter().map(|width| format!("{}:", "-".repeat(width + 1))).collect();
            text.push_str(&format!("|{}|\n", rules.join("|")));
        }
    }
    text
}

fn cells(finished: &Finished, row: &Row) -> [String; 8] {
    let latencies = &row.total.latencies;
    let ratio =
        if std::ptr::eq(row, &finished.compared.rows[0]) { "1".to_owned() } else { spread(row.ratio) };
    [
        row.name.clone(),
        rate(row.rate, finished.job.load.request_bytes),
        ratio,
        duration(latencies.quantile(0.5)),
        duration(latencies.quantile(0.99)),
        duration(latencies.max()),
        row.cpu.map_or_else(|| "–".to_owned(), duration),
        if row.memory_bytes == 0 {
            "–".to_owned()
        } else {
            format!("{:.1} MiB", row.memory_bytes as f64 / f64::from(1 << 20))
        },
    ]
}

/// Requests a second; large ones as MiB.
fn rate(rate: f64, request_bytes: usize) -> String {
    if request_bytes > 4096 {
        format!("{:.0} MiB/s", rate * request_bytes as f64 / f64::from(1 << 20))
    } else {
        format!("{rate:.0}/s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_show_what_is_nothing_and_what_is_most() {
        assert_eq!(bars(&[0.0, 1.0, 4.0, 8.0]), " ▁▄█");
        assert_eq!(bars(&[0.0, 0.0]), "  ");
    }
}
