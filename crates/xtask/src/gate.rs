//! The gate that noise cannot fool: instructions of small runs of the hot paths, counted by callgrind.
//!
//! What is counted is the same every time, on any load: the runs are fixed, and only the functions called
//! `measured_…` of crates/bench/src/bin/hotpath.rs count. The kernel's part of a system call is not counted, nor are
//! cache misses and waiting; those are for `cargo xtask bench`.

use std::{collections::BTreeMap, fs, process::Command};

use anyhow::{Context, Result, bail};

use crate::{house::root, run::run};

const BASELINE: &str = "crates/xtask/hotpath.txt";
/// Requests in each run, as hotpath.rs has them.
const REQUESTS: u64 = 10_000;
/// What a run may cost more than its baseline, in per cent.
const MORE_MAX: u64 = 5;
const PATHS: [&str; 3] = ["write", "read-log", "read-frames"];

/// glibc picks copies by what the processor can do: here the same ones everywhere.
const SAME_COPIES: &str = "glibc.cpu.hwcaps=-AVX_Fast_Unaligned_Load,-ERMS";

/// Path → instructions.
type Counts = BTreeMap<String, u64>;

/// Counts, and compares with the baseline; `--update` writes it instead.
pub(crate) fn gate(rest: &[String]) -> Result<()> {
    let update = match rest {
        [] => false,
        [flag] if flag == "--update" => true,
        _ => bail!("gate takes only --update"),
    };
    run("cargo", &["build", "--release", "-p", "esker-bench", "--bin", "hotpath"])?;
    let mut counts = Counts::new();
    for path in PATHS {
        counts.insert(path.to_owned(), count(path)?);
    }
    if update {
        fs::write(root().join(BASELINE), show(&counts))?;
        eprintln!("{BASELINE} is written; commit it with what made the difference");
        return Ok(());
    }
    let text =
        fs::read_to_string(root().join(BASELINE)).with_context(|| format!("cannot read {BASELINE}"))?;
    let findings = compare(&parse(&text)?, &counts);
    for (finding, fails) in &findings {
        println!("{}{finding}", if *fails { "FAILS: " } else { "" });
    }
    if findings.iter().any(|(_, fails)| *fails) {
        bail!("the hot path costs more; if that is meant, `cargo xtask gate --update` in the same commit");
    }
    Ok(())
}

/// Instructions of one run.
fn count(path: &str) -> Result<u64> {
    let program = root().join("target/release/hotpath");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--collect-atstart=no"])
        .arg("--toggle-collect=*measured_*")
        .arg(program)
        .arg(path)
        .env("GLIBC_TUNABLES", SAME_COPIES)
        .output()
        .context("cannot start valgrind: apt-get install valgrind")?;
    let report = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        bail!("hotpath {path} failed: {report}");
    }
    let collected = report.lines().find_map(|line| line.split_once("Collected :"));
    let collected = collected.and_then(|(_, number)| number.trim().parse::<u64>().ok());
    match collected {
        Some(instructions) if instructions > 0 => Ok(instructions),
        _ => bail!("callgrind counted nothing of hotpath {path}: {report}"),
    }
}

fn show(counts: &Counts) -> String {
    let mut text = format!(
        "# Instructions of {REQUESTS} requests of 4 KiB on each hot path, as `cargo xtask gate` counts them.\n"
    );
    for (path, instructions) in counts {
        text.push_str(&format!("{path} {instructions}\n"));
    }
    text
}

fn parse(text: &str) -> Result<Counts> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    let entry = |line: &str| {
        let (path, number) = line.split_once(' ')?;
        Some((path.to_owned(), number.trim().parse().ok()?))
    };
    lines
        .map(|line| entry(line).with_context(|| format!("{BASELINE}: expected PATH NUMBER: {line}")))
        .collect()
}

/// A line for each path, and whether it fails.
fn compare(baseline: &Counts, counts: &Counts) -> Vec<(String, bool)> {
    let line = |(path, now): (&String, &u64)| {
        let each = now / REQUESTS;
        let Some(before) = baseline.get(path) else {
            return (format!("{path}: {each} instructions a request, and no baseline"), true);
        };
        let more = (*now as f64 / *before as f64 - 1.0) * 100.0;
        let hint = if more < -(MORE_MAX as f64) { "; keep it: cargo xtask gate --update" } else { "" };
        let text = format!("{path}: {each} instructions a request, {more:+.1} % of the baseline{hint}");
        (text, now * 100 > before * (100 + MORE_MAX))
    };
    counts.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(write: u64) -> Counts {
        Counts::from([("write".to_owned(), write)])
    }

    #[test]
    fn five_per_cent_more_fails() {
        let fails = |now: u64| compare(&counts(1_000_000), &counts(now))[0].1;
        assert!(!fails(1_050_000) && fails(1_050_001) && !fails(500_000));
        assert!(compare(&Counts::new(), &counts(1))[0].1);
    }

    #[test]
    fn baselines_are_read_as_they_are_written() {
        assert_eq!(parse(&show(&counts(7))).unwrap(), counts(7));
        assert!(parse("write much").is_err());
    }
}
