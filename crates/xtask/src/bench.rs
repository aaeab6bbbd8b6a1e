//! Measurements: release builds, and the programs of crate bench.

use anyhow::Result;

use crate::{house::root, run::run};

/// Builds, then measures; the program knows its own flags.
pub(crate) fn bench(rest: &[String]) -> Result<()> {
    run("cargo", &["build", "--release", "-p", "esker", "-p", "esker-bench", "--bins"])?;
    let target = root().join("target/release");
    let (program, esker) = (target.join("bench"), target.join("esker"));
    let esker = esker.display().to_string();
    let mut arguments = vec!["--esker", &esker];
    arguments.extend(rest.iter().map(String::as_str));
    run(&program.display().to_string(), &arguments)
}
