//! Servers of others.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};

use super::{Peer, Plan, zerofs};

pub(super) fn command(peer: Peer, directory: &Path, plan: &Plan) -> Result<(Command, PathBuf)> {
    let socket = directory.join("nbd.sock");
    let size = plan.size_bytes.to_string();
    let command = match peer {
        Peer::NbdkitMemory => nbdkit(&socket, &["memory".into(), size]),
        Peer::NbdkitNull => nbdkit(&socket, &["null".into(), size]),
        Peer::NbdkitFile => {
            let disk = raw_disk(directory, plan.size_bytes)?;
            nbdkit(&socket, &["file".into(), disk.display().to_string()])
        }
        Peer::QemuRaw => qemu_nbd(&socket, "raw", &raw_disk(directory, plan.size_bytes)?),
        Peer::QemuQcow2 => {
            let disk = directory.join("disk.qcow2");
            if !disk.exists() {
                let mut create = Command::new("qemu-img");
                create.args(["create", "-q", "-f", "qcow2"]).arg(&disk).arg(size);
                let status = create.status().context("start qemu-img")?;
                ensure!(status.success(), "qemu-img failed: {status}");
            }
            qemu_nbd(&socket, "qcow2", &disk)
        }
        Peer::Zerofs => zerofs::command(directory, &socket)?,
        Peer::Esker | Peer::EskerBefore | Peer::S3backer => bail!("{} is started elsewhere", peer.name()),
    };
    Ok((command, socket))
}

fn nbdkit(socket: &Path, plugin: &[String]) -> Command {
    let mut command = Command::new("nbdkit");
    command.args(["--foreground", "--unix"]).arg(socket).args(plugin);
    command
}

/// With the cache mode that a machine monitor uses by default: FLUSH syncs the file.
fn qemu_nbd(socket: &Path, format: &str, disk: &Path) -> Command {
    let mut command = Command::new("qemu-nbd");
    command.args(["--persistent", "--shared=0", "--cache=writeback", "--export-name=v0"]);
    command.arg(format!("--format={format}")).arg(format!("--socket={}", socket.display())).arg(disk);
    command
}

/// A file that another server's mount holds.
pub(super) fn of_file(file: &Path, directory: &Path) -> (Command, PathBuf) {
    let socket = directory.join("nbd.sock");
    (nbdkit(&socket, &["file".into(), file.display().to_string()]), socket)
}

fn raw_disk(directory: &Path, size_bytes: u64) -> Result<PathBuf> {
    let disk = directory.join("disk.raw");
    File::options().create(true).append(true).open(&disk)?.set_len(size_bytes)?;
    Ok(disk)
}
