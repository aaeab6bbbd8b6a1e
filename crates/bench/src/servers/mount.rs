//! s3backer: a FUSE mount with one file in it, which another server has to serve.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use crate::process::group_of_its_own;

const START_MAX: Duration = Duration::from_secs(30);
const BLOCK_BYTES: u64 = 64 << 10;
/// Memory for blocks, as much as Esker has for frames.
const CACHE_BYTES: u64 = 1 << 30;

/// A mount; unmounted when dropped.
pub(super) struct Mount {
    child: Child,
    directory: PathBuf,
}

impl Mount {
    /// Mounts below `directory`, with files in a directory as store, and waits until the file is there.
    pub(super) fn start(directory: &Path, size_bytes: u64) -> Result<Self> {
        let (store, mounted) = (directory.join("store"), directory.join("mount"));
        std::fs::create_dir_all(&store)?;
        std::fs::create_dir_all(&mounted)?;
        let log = File::options().create(true).append(true).open(directory.join("mount.log"))?;
        let mut command = Command::new("s3backer");
        command.args(["-f", "--test", "--quiet", &format!("--blockSize={BLOCK_BYTES}")]);
        // Without large writes it reads each block before it is written, at a block in a tenth of a second.
        command.args(["-o", "big_writes", &format!("--size={size_bytes}")]);
        command.arg(format!("--blockCacheSize={}", CACHE_BYTES / BLOCK_BYTES));
        command.arg(&store).arg(&mounted).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = group_of_its_own(&mut command).spawn().context("start s3backer")?;
        let mut mount = Self { child, directory: mounted };
        let begun = Instant::now();
        while !mount.file().exists() {
            if let Some(status) = mount.child.try_wait()? {
                let log = std::fs::read_to_string(directory.join("mount.log")).unwrap_or_default();
                bail!("s3backer ended with {status}: {log}");
            }
            ensure!(begun.elapsed() < START_MAX, "s3backer did not mount");
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(mount)
    }

    /// The file that holds the disk.
    pub(super) fn file(&self) -> PathBuf {
        self.directory.join("file")
    }

    /// The process.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // What it holds is not needed. Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        // It fails only when nothing is mounted.
        let mut unmount = Command::new("fusermount");
        let _ = unmount.args(["-u", "-z", "-q"]).arg(&self.directory).stderr(Stdio::null()).status();
    }
}
