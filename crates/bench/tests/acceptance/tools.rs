//! The programs that users have, run as processes.

use std::{io::ErrorKind, path::Path, process::Command};

/// Debian's package of each tool.
const PACKAGES: [(&str, &str); 17] = [
    ("nbdinfo", "libnbd-bin"),
    ("nbdcopy", "libnbd-bin"),
    ("nbdfuse", "libnbd-bin"),
    ("qemu-img", "qemu-utils"),
    ("qemu-io", "qemu-utils"),
    ("fio", "fio"),
    ("mke2fs", "e2fsprogs"),
    ("mkfs.ext4", "e2fsprogs"),
    ("e2fsck", "e2fsprogs"),
    ("mkfs.xfs", "xfsprogs"),
    ("xfs_repair", "xfsprogs"),
    ("mkfs.btrfs", "btrfs-progs"),
    ("btrfs", "btrfs-progs"),
    ("fusermount3", "fuse3"),
    ("losetup", "mount"),
    ("fstrim", "util-linux"),
    ("sudo", "sudo"),
];

/// What a process said.
pub(crate) struct Said {
    /// Its exit code; none after a signal.
    pub(crate) code: Option<i32>,
    /// What it printed, standard output first.
    pub(crate) text: String,
}

/// Runs a program to its end. Panics, naming the package, when it is not installed.
pub(crate) fn run(mut command: Command) -> Said {
    // Where Debian keeps tools of the administrator.
    let path = std::env::var("PATH").unwrap_or_default();
    let output = command.env("PATH", format!("{path}:/usr/sbin:/sbin")).output();
    let tool = command.get_program().to_string_lossy().into_owned();
    let output = output.unwrap_or_else(|error| match error.kind() {
        ErrorKind::NotFound => panic!("{tool} is not installed and this test needs it: {}", install(&tool)),
        _ => panic!("{tool}: {error}"),
    });
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    Said { code: output.status.code(), text: text.into_owned() }
}

fn install(tool: &str) -> String {
    let package = PACKAGES.iter().find(|(name, _)| *name == tool).map_or("(unknown)", |(_, package)| package);
    format!("apt-get install {package}")
}

/// Runs a program that must succeed; what it printed.
pub(crate) fn succeeds(command: Command) -> String {
    let shown = format!("{command:?}");
    let said = run(command);
    assert_eq!(said.code, Some(0), "{shown}\n{}", said.text);
    said.text
}

/// A tool that must succeed; what it printed.
pub(crate) fn ok(tool: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(tool);
    command.args(arguments);
    succeeds(command)
}

/// A command as root: through sudo where this process is somebody else.
pub(crate) fn as_root(tool: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(if rustix::process::geteuid().is_root() { tool } else { "sudo" });
    if command.get_program() == "sudo" {
        command.args(["--non-interactive", tool]);
    }
    command.args(arguments);
    command
}

/// A tool that must succeed as root; what it printed.
pub(crate) fn root(tool: &str, arguments: &[&str]) -> String {
    succeeds(as_root(tool, arguments))
}

/// Fails, saying why, where block devices cannot be made. A test that is skipped in silence would be worse.
pub(crate) fn needs_block_devices() {
    let mut missing: Vec<String> = ["/dev/fuse", "/dev/loop-control"]
        .iter()
        .filter(|path| !Path::new(path).exists())
        .map(ToString::to_string)
        .collect();
    let sudo = as_root("true", &[]).output();
    if !sudo.is_ok_and(|output| output.status.success()) {
        missing.push("root, or sudo without a password".to_owned());
    }
    assert!(
        missing.is_empty(),
        "this test makes block devices and misses {}; `cargo xtask test --fast` leaves it out",
        missing.join(", ")
    );
}
