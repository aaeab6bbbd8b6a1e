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

use crate::{client::Client, control, load::stopped, process};

const START_MAX: Duration = Duration::from_secs(30);

/// Who can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// Us.
    Esker,
    /// Us, another build.
    EskerBefore,
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
pub const PEERS: [Peer; 8] = [
    Peer::Esker,
    Peer::EskerBefore,
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
            Self::EskerBefore => "esker-before",
            Self::NbdkitMemory => "nbdkit-memory",
            Self::NbdkitNull => "nbdkit-null",
            Self::NbdkitFile => "nbdkit-file",
            Self::QemuRaw => "qemu-raw",
            Self::QemuQcow2 => "qemu-qcow2",
            Self::S3backer => "s3backer",
        }
    }

    /// Whether it is a build of Esker.
    pub fn is_esker(self) -> bool {
        matches!(self, Self::Esker | Self::EskerBefore)
    }

    /// Whether it is on this machine; another build of Esker is only where somebody says that it is.
    pub fn is_installed(self) -> bool {
        match self {
            Self::Esker => true,
            Self::EskerBefore => false,
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
        self.is_esker() || matches!(self, Self::NbdkitMemory | Self::NbdkitNull)
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
    /// Another build of Esker, that is set up the same way.
    pub before: Option<PathBuf>,
    /// How many exports, named `v0`, `v1` and so on.
    pub exports: usize,
    /// The size of each.
    pub size_bytes: u64,
}

impl Plan {
    /// How a peer that is Esker is set up; none of others.
    fn esker(&self, peer: Peer) -> Result<Option<EskerSettings>> {
        Ok(match peer {
            Peer::Esker => Some(self.esker.clone()),
            Peer::EskerBefore => {
                let program = self.before.clone().context("no other build of esker was named")?;
                Some(EskerSettings { program, ..self.esker.clone() })
            }
            _ => None,
        })
    }
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
        let esker = plan.esker(peer)?;
        let (command, socket) = match &esker {
            Some(settings) => esker::command(directory, settings),
            None => peers::command(peer, directory, plan)?,
        };
        let mut server = Self::spawn(peer, command, socket, directory)?;
        if let Some(settings) = &esker {
            server.wait_until(stop, |server| Ok(server.socket.exists()))?;
            esker::make_volumes(directory, settings, plan)?;
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

    /// Waits until Esker's store holds all of a volume.
    pub fn wait_until_stored(&self, volume: &str, patience: Duration, stop: &AtomicBool) -> Result<()> {
        let begun = Instant::now();
        loop {
            let dirty_bytes = control::figures(&self.directory, volume)?.dirty_bytes;
            if dirty_bytes == 0 {
                return Ok(());
            }
            ensure!(!stopped(stop), "interrupted");
            let lagging = begun.elapsed() > patience;
            ensure!(!lagging, "after {patience:?} the store lacks {dirty_bytes} bytes of {volume}'s log");
            std::thread::sleep(Duration::from_millis(20));
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
