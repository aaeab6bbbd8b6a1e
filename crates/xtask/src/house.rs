//! The repository as the checks see it: files, and what cargo says of the packages.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::source::{Scan, SourceFile, tests_of};

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("crates/xtask lies two levels below the root").to_path_buf()
}

/// All files, sorted by path, and the packages.
pub(crate) struct House {
    /// The files.
    pub(crate) files: Vec<SourceFile>,
    /// What `cargo metadata` printed.
    pub(crate) metadata: Value,
    tests: Vec<String>,
}

/// Something that a check does not accept.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    /// The file, from the root.
    pub(crate) path: String,
    /// The line, from 1; 0 speaks of the whole file.
    pub(crate) line: usize,
    /// What is wrong and what to do instead.
    pub(crate) message: String,
}

impl Finding {
    pub(crate) fn new(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_string(), line, message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.message),
            line => write!(f, "{}:{line}: {}", self.path, self.message),
        }
    }
}

impl House {
    /// Reads the repository at `root`.
    pub(crate) fn load(root: PathBuf) -> Result<Self> {
        let mut files = Vec::new();
        collect(&root, "", &mut files)?;
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let metadata = metadata(&root)?;
        Ok(Self::new(files, metadata))
    }

    fn new(files: Vec<SourceFile>, metadata: Value) -> Self {
        let tests = files.iter().filter(|file| file.is_rust()).flat_map(tests_of).collect();
        Self { files, metadata, tests }
    }

    /// A house of a few files, for tests of the checks.
    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let file =
            |(path, text): &(&str, &str)| SourceFile { path: path.to_string(), text: text.to_string() };
        Self::new(files.iter().map(file).collect(), Value::Null)
    }

    /// The Rust files.
    pub(crate) fn rust(&self) -> impl Iterator<Item = &SourceFile> {
        self.files.iter().filter(|file| file.is_rust())
    }

    /// The Rust files that are not tests, scanned without the tests inside them.
    pub(crate) fn production(&self) -> impl Iterator<Item = (&SourceFile, Scan<'_>)> {
        self.rust().filter(|file| !self.is_test(&file.path)).map(|file| (file, Scan::production(&file.text)))
    }

    /// The text of a file.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.files.iter().find(|file| file.path == path).map(|file| file.text.as_str())
    }

    /// Whether a file or a directory of that path is in the repository.
    pub(crate) fn exists(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        let inside = |file: &SourceFile| {
            file.path.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.files.iter().any(inside)
    }

    fn is_test(&self, path: &str) -> bool {
        let directory = path.split('/').nth(2).is_some_and(|part| part == "tests" || part == "benches");
        let module = |test: &String| {
            path.strip_prefix(test.as_str()).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
        };
        directory || self.tests.iter().any(module)
    }
}

fn collect(root: &Path, inside: &str, files: &mut Vec<SourceFile>) -> Result<()> {
    let directory = root.join(inside);
    let listing = fs::read_dir(&directory).with_context(|| format!("cannot list {}", directory.display()))?;
    for entry in listing {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if inside.is_empty() { name.clone() } else { format!("{inside}/{name}") };
        if entry.file_type()?.is_dir() {
            if ![".git", "target", "esker-data", "__pycache__"].contains(&name.as_str()) {
                collect(root, &path, files)?;
            }
        } else {
            // What is not UTF-8 is a fixture, known by its path alone.
            let text = fs::read_to_string(entry.path()).unwrap_or_default();
            files.push(SourceFile { path, text });
        }
    }
    Ok(())
}

fn metadata(root: &Path) -> Result<Value> {
    let host = host()?;
    let output = Command::new("cargo")
        .args(["metadata", "--format-version", "1", "--filter-platform", &host])
        .current_dir(root)
        .output()
        .context("cannot start cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    serde_json::from_slice(&output.stdout).context("cargo metadata printed no JSON")
}

/// This machine's target: without it cargo fetches packages of platforms nobody builds for.
fn host() -> Result<String> {
    let output = Command::new("rustc").arg("-vV").output().context("cannot start rustc")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc -vV names no host")?.to_string())
}
