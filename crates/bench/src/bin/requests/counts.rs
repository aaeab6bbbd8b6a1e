//! What was sent to the store, from the daemon; what lies there, from the pool's directory.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// Requests as the daemon counts them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Requests {
    pub(crate) puts: u64,
    pub(crate) gets: u64,
    pub(crate) lists: u64,
    pub(crate) deletes: u64,
    pub(crate) bytes_up: u64,
    pub(crate) bytes_down: u64,
}

/// The one volume's state.
pub(crate) struct Status {
    pub(crate) requests: Requests,
    /// The newest head's number.
    pub(crate) head: u64,
    /// Whether the store holds everything.
    pub(crate) committed: bool,
    /// What no segment holds.
    pub(crate) dirty_bytes: u64,
}

/// Requests, and objects that lie in the pool.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) requests: Requests,
    /// The newest head's number: so many heads were written.
    pub(crate) heads: u64,
    pub(crate) segments: u64,
    pub(crate) segment_bytes: u64,
    pub(crate) packs: u64,
    /// Every object.
    pub(crate) objects: u64,
    pub(crate) object_bytes: u64,
}

/// Asks the daemon.
pub(crate) fn status(esker: &Path, data: &Path) -> Result<Status> {
    let output = Command::new(esker).args(["status", "--json", "--data"]).arg(data).output()?;
    ensure!(output.status.success(), "esker status: {}", String::from_utf8_lossy(&output.stderr));
    let json: Value = serde_json::from_slice(&output.stdout).context("esker status printed no JSON")?;
    let figures = &json["volumes"][0]["figures"];
    let requests = &json["requests"];
    Ok(Status {
        requests: Requests {
            puts: number(requests, "puts")?,
            gets: number(requests, "gets")?,
            lists: number(requests, "lists")?,
            deletes: number(requests, "deletes")?,
            bytes_up: number(requests, "bytes_up")?,
            bytes_down: number(requests, "bytes_down")?,
        },
        head: number(figures, "head")?,
        committed: number(figures, "committed_sequence")? == number(figures, "sequence")?,
        dirty_bytes: number(figures, "dirty_bytes")?,
    })
}

fn number(object: &Value, key: &str) -> Result<u64> {
    object[key].as_u64().with_context(|| format!("esker status has no {key}"))
}

impl Counts {
    /// What lies in the pool.
    pub(crate) fn of_objects(pool: &Path) -> Result<Self> {
        let mut counts = Self::default();
        counts.collect(pool, "")?;
        Ok(counts)
    }

    fn collect(&mut self, directory: &Path, kind: &str) -> Result<()> {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            // What is thinned out meanwhile is no object any more.
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                self.collect(&entry.path(), if kind.is_empty() { &name } else { kind })?;
                continue;
            }
            self.objects += 1;
            self.object_bytes += metadata.len();
            match kind {
                "segments" => {
                    self.segments += 1;
                    self.segment_bytes += metadata.len();
                }
                "pages" => self.packs += 1,
                _ => {}
            }
        }
        Ok(())
    }
}
