//! The daemon is killed under a mounted file system.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    device::Device,
    site::Site,
    tools::{as_root, root, run},
};

/// The contents of a file, which only its number decides.
fn contents(number: u32) -> Vec<u8> {
    let mut state = number.wrapping_mul(0x9E37_79B9) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state
    };
    let length = 10_000 + next() % 200_000;
    (0..length).map(|_| next() as u8).collect()
}

fn path(directory: &Path, number: u32) -> PathBuf {
    directory.join(format!("file{number}"))
}

/// Writes and syncs files until that fails; how many were synced.
fn write_until_it_fails(directory: &Path) -> u32 {
    let write = |number: u32| -> std::io::Result<()> {
        let mut file = File::create(path(directory, number))?;
        file.write_all(&contents(number))?;
        file.sync_all()
    };
    (0..).find(|number| write(*number).is_err()).unwrap()
}

/// What e2fsck repaired beyond replaying the journal and recounting what is free, which mounting would do too.
fn repairs(said: &str) -> Vec<&str> {
    let recounted = ["Free blocks count wrong (", "Free inodes count wrong ("];
    let mut before = "";
    let mut found = Vec::new();
    for line in said.lines().filter(|line| !line.trim().is_empty()) {
        // The question stands behind the finding, or on a line of its own.
        let finding = if line.starts_with("Fix? yes") { before } else { line };
        if line.contains("? yes") && !recounted.iter().any(|known| finding.starts_with(known)) {
            found.push(finding);
        }
        before = line;
    }
    found
}

#[test]
fn synced_files_are_there_after_the_daemon_was_killed_under_ext4() {
    let mut site = Site::start(&["disk=1G"]);
    let uri = site.uri("disk");
    let device = Device::attach(&uri);
    root("mkfs.ext4", &["-q", "-F", &device.node]);
    device.mount();
    let directory = device.mounted();
    let synced = std::thread::scope(|scope| {
        let writer = scope.spawn(|| write_until_it_fails(&directory));
        std::thread::sleep(Duration::from_secs(3));
        site.kill();
        writer.join().unwrap()
    });
    assert!(synced > 10, "only {synced} files were synced in three seconds");
    // The file system has lost its device: nothing of it can be written any more.
    drop(device);

    site.again();
    let device = Device::attach(&uri);
    let said = run(as_root("e2fsck", &["-f", "-y", &device.node]));
    assert!(matches!(said.code, Some(0 | 1)), "{}", said.text);
    assert!(said.text.contains("recovering journal"), "{}", said.text);
    assert!(repairs(&said.text).is_empty(), "{}", said.text);
    device.mount();
    for number in 0..synced {
        let found = fs::read(path(&device.mounted(), number)).unwrap();
        assert!(found == contents(number), "file {number} of {synced} is not as it was synced");
    }
    device.unmount();
    root("e2fsck", &["-f", "-n", &device.node]);
    device.detach();
    site.finish();
}

#[test]
fn repairs_are_told_from_recounting() {
    let recounted = "/dev/x: recovering journal\nFree blocks count wrong (1, counted=2).\nFix? yes\n\n";
    assert!(repairs(recounted).is_empty());
    let bitmap = "Block bitmap differences: -7\nFix? yes\n";
    assert_eq!(repairs(bitmap), ["Block bitmap differences: -7"]);
    assert_eq!(repairs("Inode 12, i_blocks is 8, should be 0.  Fix? yes\n").len(), 1);
}
