//! A server that a test needs, on loopback, with a directory of its own; killed when dropped.

use std::{
    net::TcpStream,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

const START_MAX: Duration = Duration::from_secs(60);

/// The server.
pub(crate) struct Loopback {
    child: Child,
    pub(crate) port: u16,
    _directory: TempDir,
}

impl Loopback {
    /// Starts `command` in `directory` and waits until somebody listens at `port`.
    pub(crate) fn start(command: &mut Command, directory: TempDir, port: u16) -> Result<Self> {
        let program = command.get_program().display().to_string();
        let child = command
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("start {program}"))?;
        let server = Self { child, port, _directory: directory };
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if begun.elapsed() >= START_MAX {
                bail!("{program} did not open port {port} within {START_MAX:?}");
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(server)
    }
}

impl Drop for Loopback {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
