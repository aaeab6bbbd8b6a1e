//! What the tests need beside Rust: Debian packages and an S3 server, installed when missing.

use std::{fs, process::Command};

use anyhow::Result;

use crate::{
    gate::gate,
    house::root,
    run::{check, run, weed, weed_environment},
};

/// NBD clients, an NBD peer, load and fault tools, file systems, and what counts instructions.
const PACKAGES: [&str; 12] = [
    "libnbd-bin",
    "python3-libnbd",
    "python3-venv",
    "nbdkit",
    "fio",
    "qemu-utils",
    "strace",
    "e2fsprogs",
    "xfsprogs",
    "btrfs-progs",
    "fuse3",
    "valgrind",
];

/// Installs what is missing, then checks everything, the gate last.
pub(crate) fn ci() -> Result<()> {
    install_packages()?;
    install_weed()?;
    check()?;
    gate(&[])
}

fn install_packages() -> Result<()> {
    let missing = missing(&PACKAGES);
    if missing.is_empty() {
        eprintln!("Debian packages: nothing to install");
        return Ok(());
    }
    eprintln!("Debian packages to install: {}", missing.join(" "));
    let install = ["apt-get", "install", "--yes", "--no-install-recommends"];
    privileged(&["apt-get", "update", "--quiet"])?;
    privileged(&[&install[..], &missing].concat())
}

fn missing(packages: &[&'static str]) -> Vec<&'static str> {
    packages.iter().copied().filter(|package| !installed(package)).collect()
}

fn installed(package: &str) -> bool {
    let query = Command::new("dpkg-query").args(["-W", "-f=${db:Status-Status}", package]).output();
    query.is_ok_and(|output| output.status.success() && output.stdout == b"installed")
}

fn privileged(command: &[&str]) -> Result<()> {
    let environment = ["env", "DEBIAN_FRONTEND=noninteractive"];
    let sudo: &[&str] = if root_user() { &[] } else { &["sudo", "--non-interactive"] };
    let command = [sudo, &environment, command].concat();
    run(command[0], &command[1..])
}

fn root_user() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

fn install_weed() -> Result<()> {
    let wanted = root().join("crates/xtask/seaweedfs.txt");
    // A copy of the requirement lies beside what was installed by it.
    let installed = weed_environment().join("installed.txt");
    if weed().is_file() && fs::read(&installed).ok() == Some(fs::read(&wanted)?) {
        eprintln!("S3 server: nothing to install");
        return Ok(());
    }
    run("python3", &["-m", "venv", "--clear", &weed_environment().display().to_string()])?;
    let pip = weed_environment().join("bin/pip").display().to_string();
    let requirement = wanted.display().to_string();
    run(
        &pip,
        &["install", "--quiet", "--disable-pip-version-check", "--require-hashes", "-r", &requirement],
    )?;
    fs::copy(wanted, installed)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::missing;

    #[test]
    fn a_package_that_is_not_there_is_missing() {
        assert_eq!(missing(&["esker-no-such-package"]), ["esker-no-such-package"]);
    }
}
