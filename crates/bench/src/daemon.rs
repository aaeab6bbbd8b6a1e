//! A running `esker serve`, started and always stopped again.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

/// How long a start may take before it counts as failed.
const START_MAX: Duration = Duration::from_secs(60);

/// A daemon; killed when dropped.
pub struct Daemon {
    child: Child,
    /// Its directory.
    pub data: PathBuf,
}

impl Daemon {
    /// Starts `esker serve --data DATA ARGS…` and waits until it says that it is ready.
    pub fn start(esker: &Path, data: &Path, args: &[&str], environment: &[(String, String)]) -> Result<Self> {
        let log = std::fs::File::options().create(true).append(true).open(data.join("daemon.log"))?;
        let mut child = Command::new(esker)
            .arg("serve")
            .arg("--data")
            .arg(data)
            .args(args)
            .envs(environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .with_context(|| format!("start {}", esker.display()))?;
        let stdout = child.stdout.take().context("the daemon's output")?;
        let mut daemon = Self { child, data: data.to_owned() };
        let begun = Instant::now();
        for line in BufReader::new(stdout).lines() {
            if line?.starts_with("ready") {
                return Ok(daemon);
            }
            if begun.elapsed() > START_MAX {
                break;
            }
        }
        let status = daemon.child.try_wait()?;
        bail!("the daemon did not get ready (status {status:?}): {}", daemon.log_tail());
    }

    /// Where its NBD socket is.
    pub fn socket(&self) -> PathBuf {
        self.data.join("nbd.sock")
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills it as `kill -9` does.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to drain, release and end; returns its exit code.
    pub fn terminate(mut self) -> Result<i32> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let status = self.child.wait()?;
        Ok(status.code().unwrap_or(-1))
    }

    /// The last lines it wrote to its log.
    pub fn log_tail(&self) -> String {
        let log = std::fs::read_to_string(self.data.join("daemon.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
