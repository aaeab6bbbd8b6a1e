//! What was measured, for eyes and for programs.

mod json;
mod svg;
mod text;

use std::time::Duration;

pub use json::json;
pub use svg::{Bar, Chart};
pub use text::table;

use crate::{jobs::Job, scenarios::Table, slices::Compared};

/// Where and how it was measured: what every figure has to be read with.
#[derive(Debug, Clone)]
pub struct Conditions {
    /// The command.
    pub command: String,
    /// The machine.
    pub machine: String,
    /// What the servers' files lie on.
    pub disk: String,
    /// Esker's settings.
    pub esker: String,
    /// Slices of each server.
    pub slices: usize,
    /// Their length.
    pub slice: Duration,
}

/// A job that was run.
pub struct Finished {
    /// Which.
    pub job: Job,
    /// What came of it.
    pub compared: Compared,
}

/// Anything that was measured.
pub enum Measured {
    /// In paired slices.
    Job(Finished),
    /// Esker alone.
    Scenario(Table),
}

impl Conditions {
    /// A line for each.
    pub fn lines(&self) -> Vec<String> {
        vec![
            format!("command: {}", self.command),
            format!("machine: {}, {}", self.machine, self.disk),
            format!("esker: {}", self.esker),
            format!("slices: {} of {:?}, reference and server in turn; medians", self.slices, self.slice),
        ]
    }
}

/// This machine, in a few words.
pub fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned())
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let model = field(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| "processor".into());
    let kernel = read("/proc/sys/kernel/osrelease");
    let memory = field(&read("/proc/meminfo"), "MemTotal").unwrap_or_default();
    let gib = memory.split(' ').next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) >> 20;
    format!("{cores} × {model}, {gib} GiB, Linux {}", kernel.trim())
}
