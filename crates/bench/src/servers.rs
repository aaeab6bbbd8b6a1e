//! The servers that are measured, each in a directory of its own, on a unix socket, and killed when dropped.

mod esker;
mod mount;
mod peers;
mod zerofs;

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::AtomicBool,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

pub use esker::EskerSettings;
use mount::Mount;

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
    /// A file system in an object store, with a directory as store.
    Zerofs,
}

/// All, in the order of the tables.
pub const PEERS: [Peer; 9] = [
    Peer::Esker,
    Peer::EskerBefore,
    Peer::NbdkitMemory,
    Peer::NbdkitNull,
    Peer::NbdkitFile,
    Peer::QemuRaw,
    Peer::QemuQcow2,
    Peer::S3backer,
    Peer::Zerofs,
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
            Self::Zerofs => "zerofs",
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
            Self::S3backer => ["s3backer", "nbdkit", "fusermount"].iter().all(|program| in_path(program)),
            Self::Zerofs => in_path("zerofs"),
        }
    }

    /// Whether it gives back what it was given.
    pub fn keeps_contents(self) -> bool {
        self != Self::NbdkitNull
    }

    /// Whether it goes on working after it has answered.
    pub fn works_in_the_background(self) -> bool {
        self.is_esker() || matches!(self, Self::S3backer | Self::Zerofs)
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
    mount: Option<Mount>,
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
        let mount = match peer {
            Peer::S3backer => Some(Mount::start(directory, plan.size_bytes)?),
            _ => None,
        };
        let (command, socket) = match (&esker, &mount) {
            (Some(settings), _) => esker::command(directory, settings),
            (None, Some(mount)) => peers::of_file(&mount.file(), directory),
            (None, None) => peers::command(peer, directory, plan)?,
        };
        let mut server = Self::spawn(peer, (command, mount), socket, directory)?;
        if let Some(settings) = &esker {
            server.wait_until(stop, |server| Ok(server.socket.exists()))?;
            esker::make_volumes(directory, settings, plan)?;
        }
        if peer == Peer::Zerofs {
            server.wait_until(stop, |_| Ok(zerofs::is_up(directory)))?;
            zerofs::make_export(directory, "v0", plan.size_bytes)?;
        }
        server.wait_until(stop, |server| Ok(Client::connect(&server.socket, "v0").is_ok()))?;
        Ok(server)
    }

    fn spawn(
        peer: Peer,
        (mut command, mount): (Command, Option<Mount>),
        socket: PathBuf,
        directory: &Path,
    ) -> Result<Self> {
        let log = File::options().create(true).append(true).open(directory.join("server.log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = process::group_of_its_own(&mut command)
            .spawn()
            .with_context(|| format!("start {}", peer.name()))?;
        Ok(Self { peer, child, mount, socket, directory: directory.to_owned() })
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

    /// The process that serves NBD.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Processor time of all its threads, as [`process::threads_cpu`].
    pub fn threads_cpu(&self) -> Duration {
        self.pids().map(process::threads_cpu).sum()
    }

    /// Its processor time, as [`process::process_cpu`].
    pub fn process_cpu(&self) -> Duration {
        self.pids().map(process::process_cpu).sum()
    }

    /// Its memory, as [`process::memory_bytes`].
    pub fn memory_bytes(&self) -> u64 {
        self.pids().map(process::memory_bytes).sum()
    }

    fn pids(&self) -> impl Iterator<Item = u32> {
        std::iter::once(self.pid()).chain(self.mount.as_ref().map(Mount::pid))
    }

    /// Waits until it does nothing for a moment (work behind the guest's back is over), at most so long.
    pub fn settle(&self, patience: Duration, stop: &AtomicBool) {
        let begun = Instant::now();
        let mut quiet = 0;
        let mut before = self.threads_cpu();
        while quiet < 2 && begun.elapsed() < patience && !stopped(stop) {
            std::thread::sleep(Duration::from_millis(10));
            let now = self.threads_cpu();
            quiet = if now.saturating_sub(before) < Duration::from_micros(500) { quiet + 1 } else { 0 };
            before = now;
        }
    }

    /// Waits until Esker's store holds all of a volume.
    pub fn wait_until_stored(&self, volume: &str, patience: Duration, stop: &AtomicBool) -> Result<()> {
        let begun = Instant::now();
        loop {
            let control::Figures { sequence, committed, .. } = control::figures(&self.directory, volume)?;
            if committed == sequence {
                return Ok(());
            }
            ensure!(!stopped(stop), "interrupted");
            let lagging = begun.elapsed() > patience;
            ensure!(
                !lagging,
                "after {patience:?} the store has {committed} of {sequence} writes of {volume}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Asks it to end in order, and waits.
    pub fn terminate(mut self) -> Result<()> {
        self.end()
    }

    /// The same; what is left is a server that does not run.
    pub fn end(&mut self) -> Result<()> {
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
