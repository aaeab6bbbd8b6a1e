//! The servers that are measured, each in a directory of its own, on a unix socket, and killed when dropped.

mod esker;
mod peers;

use std::{
    fs::File,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::AtomicBool,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

pub use esker::EskerSettings;

use crate::{client::Client, load::stopped, process};

const START_MAX: Duration = Duration::from_secs(30);

/// Who can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// Us.
    Esker,
    /// Memory behind the reference server.
    NbdkitMemory,
    /// Nothing behind the reference server.
    NbdkitNull,
    /// A file behind the reference server.
    NbdkitFile,
    /// A raw file behind QEMU's server.
    QemuRaw,
    /// A qcow2 image behind QEMU's server.
    QemuQcow2,
    /// An object store behind s3backer, with a directory as store.
    S3backer,
}

/// All, in the order of the tables.
pub const PEERS: [Peer; 7] = [
    Peer::Esker,
    Peer::NbdkitMemory,
    Peer::NbdkitNull,
    Peer::NbdkitFile,
    Peer::QemuRaw,
    Peer::QemuQcow2,
    Peer::S3backer,
];

impl Peer {
    /// Its name in tables and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Esker => "esker",
            Self::NbdkitMemory => "nbdkit-memory",
            Self::NbdkitNull => "nbdkit-null",
            Self::NbdkitFile => "nbdkit-file",
            Self::QemuRaw => "qemu-raw",
            Self::QemuQcow2 => "qemu-qcow2",
            Self::S3backer => "s3backer",
        }
    }

    /// Whether it is on this machine.
    pub fn is_installed(self) -> bool {
        match self {
            Self::Esker => true,
            Self::NbdkitMemory | Self::NbdkitNull | Self::NbdkitFile => in_path("nbdkit"),
            Self::QemuRaw | Self::QemuQcow2 => in_path("qemu-nbd") && in_path("qemu-img"),
            Self::S3backer => in_path("s3backer"),
        }
    }

    /// Whether it gives back what it was given.
    pub fn keeps_contents(self) -> bool {
        self != Self::NbdkitNull
    }

    /// Whether one process of it serves many exports.
    pub fn has_many_exports(self) -> bool {
        matches!(self, Self::Esker | Self::NbdkitMemory | Self::NbdkitNull)
    }
}

/// Whether a program is in PATH.
pub fn in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

/// What a server is to serve.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How Esker is set up.
    pub esker: EskerSettings,
    /// How many exports, named `v0`, `v1` and so on.
    pub exports: usize,
    /// The size of each.
    pub size_bytes: u64,
}

/// A server that runs.
pub struct Server {
    /// Which.
    pub peer: Peer,
    child: Child,
    /// Where it listens.
    pub socket: PathBuf,
    /// Its files.
    pub directory: PathBuf,
}

impl Server {
    /// Starts one with its files in `directory`, which is made, and waits until it serves.
    pub fn start(peer: Peer, directory: &Path, plan: &Plan, stop: &AtomicBool) -> Result<Self> {
        std::fs::create_dir_all(directory)?;
        let (command, socket) = match peer {
            Peer::Esker => esker::command(directory, &plan.esker),
            _ => peers::command(peer, directory, plan)?,
        };
        let mut server = Self::spawn(peer, command, socket, directory)?;
        if peer == Peer::Esker {
            server.wait_until(stop, |server| Ok(server.socket.exists()))?;
            esker::make_volumes(directory, plan)?;
        }
        server.wait_until(stop, |server| Ok(Client::connect(&server.socket, "v0").is_ok()))?;
        Ok(server)
    }

    /// Starts the program in a process group of its own: ^C is for us, who then end it.
    fn spawn(peer: Peer, mut command: Command, socket: PathBuf, directory: &Path) -> Result<Self> {
        let log = File::options().create(true).append(true).open(directory.join("server.log"))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()
            .with_context(|| format!("start {}", peer.name()))?;
        Ok(Self { peer, child, socket, directory: directory.to_owned() })
    }

    fn wait_until(&mut self, stop: &AtomicBool, mut ready: impl FnMut(&Self) -> Result<bool>) -> Result<()> {
        let begun = Instant::now();
        while !ready(self)? {
            ensure!(!stopped(stop), "interrupted");
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended with {status}: {}", self.peer.name(), self.log_tail());
            }
            ensure!(
                begun.elapsed() < START_MAX,
                "{} did not get ready: {}",
                self.peer.name(),
                self.log_tail()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it does nothing for a moment (work behind the guest's back is over), at most so long.
    pub fn settle(&self, patience: Duration, stop: &AtomicBool) {
        let begun = Instant::now();
        let mut quiet = 0;
        let mut before = process::threads_cpu(self.pid());
        while quiet < 2 && begun.elapsed() < patience && !stopped(stop) {
            std::thread::sleep(Duration::from_millis(10));
            let now = process::threads_cpu(self.pid());
            quiet = if now.saturating_sub(before) < Duration::from_micros(500) { quiet + 1 } else { 0 };
            before = now;
        }
    }

    /// Asks it to end in order, and waits.
    pub fn terminate(mut self) -> Result<()> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let status = self.child.wait()?;
        ensure!(status.success(), "{} ended with {status}: {}", self.peer.name(), self.log_tail());
        Ok(())
    }

    fn log_tail(&self) -> String {
        let log = std::fs::read_to_string(self.directory.join("server.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
