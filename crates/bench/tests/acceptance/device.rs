//! A real block device of an export, without a kernel module: `nbdfuse` makes a file of it, `losetup` a device of
//! the file.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use crate::tools::{as_root, needs_block_devices, root, run};

const PATIENCE: Duration = Duration::from_secs(20);

/// A block device, and where its file system is mounted. Taken away when dropped.
pub(crate) struct Device {
    directory: tempfile::TempDir,
    nbdfuse: Child,
    /// The device.
    pub(crate) node: String,
}

impl Device {
    /// Makes a block device of an export.
    pub(crate) fn attach(uri: &str) -> Self {
        needs_block_devices();
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::create_dir(path("fuse")).unwrap();
        fs::create_dir(path("mounted")).unwrap();
        let disk = path("fuse/disk").display().to_string();
        let mut command = as_root("nbdfuse", &[&disk, uri]);
        let nbdfuse = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn();
        let nbdfuse = nbdfuse.expect("nbdfuse cannot be started: apt-get install libnbd-bin");
        let mut device = Self { directory, nbdfuse, node: String::new() };
        let begun = Instant::now();
        while run(as_root("test", &["-f", &disk])).code != Some(0) {
            assert!(begun.elapsed() < PATIENCE, "nbdfuse made no file of {uri} within {PATIENCE:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
        device.node = root("losetup", &["--find", "--show", "--direct-io=on", &disk]).trim().to_owned();
        device
    }

    /// Where its file system is mounted.
    pub(crate) fn mounted(&self) -> PathBuf {
        self.directory.path().join("mounted")
    }

    /// Mounts its file system, whose top directory anybody may write.
    pub(crate) fn mount(&self) {
        let mounted = self.mounted().display().to_string();
        root("mount", &[&self.node, &mounted]);
        root("chmod", &["0777", &mounted]);
    }

    /// Unmounts it, which writes everything.
    pub(crate) fn unmount(&self) {
        root("umount", &[&self.mounted().display().to_string()]);
    }

    /// Takes the device away, and what the kernel remembers of it.
    pub(crate) fn detach(mut self) {
        root("losetup", &["--detach", &self.node]);
        self.node.clear();
        root("umount", &[&self.fuse().display().to_string()]);
        assert!(self.nbdfuse.wait().unwrap().success(), "nbdfuse");
    }

    fn fuse(&self) -> PathBuf {
        self.directory.path().join("fuse")
    }
}

impl Drop for Device {
    /// After a failure anything may be gone already.
    fn drop(&mut self) {
        let unmount =
            |path: &Path| run(as_root("umount", &["--quiet", "--lazy", &path.display().to_string()]));
        unmount(&self.mounted());
        if !self.node.is_empty() {
            run(as_root("losetup", &["--detach", &self.node]));
        }
        unmount(&self.fuse());
        let _ = self.nbdfuse.wait();
    }
}
