//! Where a job's processor time goes: `perf` beside the server, a table, and a flame graph.
//!
//! Stacks are walked by frame pointers: Esker is built with them, in a target directory of its own.

mod flame;
mod stacks;

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context, Result, bail, ensure};

use crate::house::root;
use stacks::Stacks;

const USAGE: &str = "usage: cargo xtask profile JOB [--svg FILE] [--seconds N]
  JOB          a job of cargo xtask bench; bench --jobs list shows them
  --svg FILE   where the flame graph goes; flame.svg in the target directory by default
  --seconds N  how long the job runs, 8 by default
Esker is built with -Cforce-frame-pointers=yes for it, in target/profile.";
/// Lines of the table.
const TOP: usize = 25;

struct Options {
    job: String,
    svg: PathBuf,
    seconds: u64,
}

/// Builds, runs the job with perf beside it, and shows what perf saw.
pub(crate) fn profile(rest: &[String]) -> Result<()> {
    let Some(options) = parse(rest)? else { return Ok(()) };
    let target = root().join("target/profile");
    let cargo =
        ["build", "--release", "-p", "esker", "-p", "esker-bench", "--bin", "esker", "--bin", "bench"];
    let mut build = Command::new("cargo");
    build.args(cargo).current_dir(root()).env("RUSTFLAGS", "-Cforce-frame-pointers=yes");
    let status = build.env("CARGO_TARGET_DIR", &target).status().context("cannot start cargo")?;
    ensure!(status.success(), "the build failed: {status}");
    let (programs, recorded) = (target.join("release"), target.join("perf.data"));
    let mut bench = Command::new(programs.join("bench"));
    bench.arg("--esker").arg(programs.join("esker")).args(["--jobs", &options.job, "--peers", ""]);
    bench.args(["--slice-ms", "1000", "--slices", &options.seconds.to_string(), "--perf"]).arg(&recorded);
    let status = bench.status().context("cannot start bench")?;
    ensure!(status.success(), "the job failed: {status}");
    let mut script = Command::new("perf");
    script.args(["script", "--no-inline", "-F", "comm,ip,sym,dso", "-i"]).arg(&recorded);
    let output = script.output().context("cannot start perf: apt-get install linux-perf")?;
    ensure!(output.status.success(), "perf script: {}", String::from_utf8_lossy(&output.stderr));
    let stacks = Stacks::parse(&String::from_utf8_lossy(&output.stdout));
    ensure!(stacks.samples() > 0, "perf saw nothing of {}", options.job);
    let title = format!("esker, {}: {} samples", options.job, stacks.samples());
    fs::write(&options.svg, flame::svg(&title, &stacks.tree()))?;
    println!("{}", stacks.table(TOP));
    eprintln!("flame graph: {}", options.svg.display());
    Ok(())
}

fn parse(rest: &[String]) -> Result<Option<Options>> {
    let svg = root().join("target/flame.svg");
    let mut options = Options { job: String::new(), svg, seconds: 8 };
    let mut rest = rest.iter();
    while let Some(argument) = rest.next() {
        let mut value = || rest.next().with_context(|| format!("{argument} takes a value\n{USAGE}"));
        match argument.as_str() {
            "--svg" => options.svg = value()?.into(),
            "--seconds" => options.seconds = value()?.parse()?,
            "--help" | "-h" => {
                println!("{USAGE}");
                return Ok(None);
            }
            job if !job.starts_with('-') && options.job.is_empty() => options.job = job.to_owned(),
            other => bail!("unknown argument {other}\n{USAGE}"),
        }
    }
    ensure!(!options.job.is_empty(), "no job given\n{USAGE}");
    Ok(Some(options))
}
