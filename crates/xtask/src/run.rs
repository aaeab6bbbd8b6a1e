//! Running cargo: each step is printed as it would be typed.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::{
    checks,
    house::{House, root},
};

/// Runs a program at the root of the repository and fails unless it succeeds.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Result<()> {
    eprintln!("+ {program} {}", arguments.join(" "));
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root());
    // Where the S3 server of the tests is, when `cargo xtask ci` has installed it.
    if weed().is_file() {
        command.env("ESKER_WEED", weed());
    }
    let status = command.status().with_context(|| format!("cannot start {program}"))?;
    if !status.success() {
        bail!("{program} {} failed: {status}", arguments.first().copied().unwrap_or_default());
    }
    Ok(())
}

/// The S3 server's binary, in its virtual environment.
pub(crate) fn weed() -> PathBuf {
    weed_environment().join("bin/weed")
}

/// Where the S3 server is installed.
pub(crate) fn weed_environment() -> PathBuf {
    root().join("target/seaweedfs")
}

/// Everything that has to hold before a change is done. A step that fails does not hide what the next ones find.
pub(crate) fn check() -> Result<()> {
    let clippy = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
    let steps = [run("cargo", &["fmt", "--all", "--check"]), house(), run("cargo", &clippy), test(&[])];
    let failures: Vec<String> =
        steps.into_iter().filter_map(|step| step.err()).map(|error| format!("{error:#}")).collect();
    if !failures.is_empty() {
        bail!("{}", failures.join("; "));
    }
    eprintln!("xtask check: everything holds");
    Ok(())
}

/// The checks of this crate.
pub(crate) fn house() -> Result<()> {
    let house = House::load(root())?;
    let findings = checks::all(&house);
    for finding in &findings {
        println!("{finding}");
    }
    if !findings.is_empty() {
        bail!("house checks: {} findings", findings.len());
    }
    eprintln!("house checks: {} files, nothing to say", house.files.len());
    Ok(())
}

/// All tests, or with `--fast` those that are not called slow.
pub(crate) fn test(rest: &[String]) -> Result<()> {
    if Command::new("cargo-nextest").arg("--version").output().is_err() {
        bail!(
            "the tests run under cargo-nextest: `cargo install --locked cargo-nextest`, or take a binary release"
        );
    }
    let fast = rest.iter().any(|argument| argument == "--fast");
    let mut arguments = vec!["nextest", "run", "--workspace"];
    if fast {
        arguments.extend(["--profile", "fast"]);
    }
    arguments.extend(rest.iter().map(String::as_str).filter(|argument| *argument != "--fast"));
    run("cargo", &arguments)?;
    if !fast && has_doctests(&House::load(root())?) {
        run("cargo", &["test", "--doc", "--workspace", "--quiet"])?;
    }
    Ok(())
}

/// The simulator, which knows its own flags.
pub(crate) fn sim(rest: &[String]) -> Result<()> {
    let mut arguments = vec!["run", "--quiet", "-p", "esker-sim", "--bin", "sim", "--"];
    arguments.extend(rest.iter().map(String::as_str));
    run("cargo", &arguments)
}

/// A program of crate bench that is told where the built esker is.
pub(crate) fn with_esker(program: &str, rest: &[String]) -> Result<()> {
    run(
        "cargo",
        &["build", "--quiet", "-p", "esker", "-p", "esker-bench", "--bin", "esker", "--bin", program],
    )?;
    let built = root().join("target/debug");
    let (program, esker) =
        (built.join(program).display().to_string(), built.join("esker").display().to_string());
    let mut arguments = vec!["--esker", &esker];
    arguments.extend(rest.iter().map(String::as_str));
    run(&program, &arguments)
}

/// Whether a library has Rust code in its documentation comments.
fn has_doctests(house: &House) -> bool {
    house.rust().any(|file| {
        let mut inside = false;
        file.text.lines().any(|line| {
            let line = line.trim_start();
            let Some(doc) = line.strip_prefix("//!").or_else(|| line.strip_prefix("///")) else {
                return false;
            };
            let Some(info) = doc.trim_start().strip_prefix("```") else { return false };
            inside = !inside;
            inside && ["", "rust", "no_run", "should_panic", "compile_fail"].contains(&info.trim())
        }) && library(&file.path)
    })
}

fn library(path: &str) -> bool {
    Path::new(path).components().any(|part| part.as_os_str() == "src")
}

#[cfg(test)]
mod tests;
