//! Where the built `esker` is.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

/// The `esker` of this build: beside the directory of the test programs. Built when it is not there.
pub(crate) fn esker() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let directory = test.parent().and_then(Path::parent).expect("tests lie in target/PROFILE/deps");
    let program = directory.join("esker");
    if !program.is_file() {
        build(directory);
    }
    if let Some(source) = newer_source(&program) {
        eprintln!("{} is older than {source}: this tests an old esker", program.display());
    }
    program
}

fn build(directory: &Path) {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--package", "esker", "--target-dir"]);
    cargo.arg(directory.parent().unwrap()).current_dir(env!("CARGO_MANIFEST_DIR"));
    if directory.ends_with("release") {
        cargo.arg("--release");
    }
    assert!(cargo.status().unwrap().success(), "esker cannot be built");
}

/// A source file that changed after the program was built, as cargo's list beside it tells.
fn newer_source(program: &Path) -> Option<String> {
    let modified = |path: &Path| -> Option<SystemTime> { fs::metadata(path).ok()?.modified().ok() };
    let built = modified(program)?;
    let list = fs::read_to_string(program.with_extension("d")).ok()?;
    let newer = |source: &&str| modified(Path::new(source)).is_some_and(|changed| changed > built);
    list.split_whitespace().skip(1).find(newer).map(str::to_owned)
}
