//! `perf` beside a server that is measured.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, ensure};

use crate::process::group_of_its_own;

/// Samples a second; not a round number, so as not to fall into step with a timer.
const FREQUENCY: &str = "1997";

/// A recording; ended when dropped.
pub struct Recording(Child);

impl Recording {
    /// Records the stacks of a process, by frame pointers, into a file.
    pub fn start(pid: u32, file: &Path) -> Result<Self> {
        let mut command = Command::new("perf");
        command.args(["record", "--quiet", "-F", FREQUENCY, "--call-graph", "fp", "-p", &pid.to_string()]);
        command.arg("-o").arg(file).stdin(Stdio::null()).stdout(Stdio::null());
        let child = group_of_its_own(&mut command).spawn();
        Ok(Self(child.context("start perf: apt-get install linux-perf")?))
    }

    /// Ends it; the file is whole then.
    pub fn end(mut self) -> Result<()> {
        if let Some(status) = self.0.try_wait()? {
            ensure!(status.success(), "perf ended with {status}");
            return Ok(());
        }
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, rustix::process::Signal::INT)?;
        // perf ends as the signal has it.
        self.0.wait()?;
        Ok(())
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
