//! Debian's packages, unpacked and not installed: neither root nor what is installed here matters.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};

use crate::run::run;

const PACKAGES: [&str; 4] = ["qemu-system-x86", "busybox-static", "e2fsprogs", "linux-image-cloud-amd64"];
/// Where shared libraries lie.
const LIBRARIES: [&str; 2] = ["lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"];

/// A directory with packages and everything they depend on.
pub(super) struct Debian {
    root: PathBuf,
}

impl Debian {
    /// Downloads and unpacks, once.
    pub(super) fn unpacked(directory: &Path) -> Result<Self> {
        let debian = Self { root: directory.join("root") };
        let done = directory.join("unpacked");
        if done.is_file() {
            return Ok(debian);
        }
        let archives = directory.join("archives");
        fs::create_dir_all(archives.join("partial"))?;
        fs::create_dir_all(&debian.root)?;
        // With no package installed, apt brings every dependency.
        let status = directory.join("status");
        fs::write(&status, "")?;
        let options = [
            format!("Dir::State::status={}", status.display()),
            format!("Dir::Cache::archives={}", archives.display()),
            "Debug::NoLocking=1".to_owned(),
        ];
        let mut arguments: Vec<&str> = options.iter().flat_map(|option| ["-o", option]).collect();
        arguments.extend(["install", "--download-only", "--yes", "--quiet", "--no-install-recommends"]);
        arguments.extend(PACKAGES);
        run("apt-get", &arguments).context("apt-get update may help")?;
        for archive in fs::read_dir(&archives)? {
            let archive = archive?.path();
            if archive.extension().is_some_and(|extension| extension == "deb") {
                let unpacked = Command::new("dpkg").arg("-x").arg(&archive).arg(&debian.root).status()?;
                ensure!(unpacked.success(), "dpkg cannot unpack {}", archive.display());
            }
        }
        fs::remove_dir_all(archives)?;
        fs::write(done, "")?;
        Ok(debian)
    }

    /// A file of the packages; the first of the paths that exists.
    pub(super) fn file(&self, paths: &[&str]) -> Result<PathBuf> {
        let found = paths.iter().map(|path| self.root.join(path)).find(|path| path.exists());
        found.with_context(|| format!("the packages have none of {paths:?}"))
    }

    /// The one entry of a directory whose name begins so.
    pub(super) fn entry(&self, directory: &str, begins: &str) -> Result<PathBuf> {
        for entry in fs::read_dir(self.root.join(directory))? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(begins) {
                return Ok(entry.path());
            }
        }
        bail!("nothing in {directory} begins with {begins:?}")
    }

    /// The loader of dynamic programs.
    pub(super) fn loader(&self) -> Result<PathBuf> {
        self.file(&["lib64/ld-linux-x86-64.so.2", "usr/lib64/ld-linux-x86-64.so.2"])
    }

    /// Runs one of the programs with the packages' libraries.
    pub(super) fn command(&self, program: &Path) -> Result<Command> {
        let libraries = LIBRARIES.map(|path| self.root.join(path).display().to_string()).join(":");
        let mut command = Command::new(self.loader()?);
        command.args(["--library-path", &libraries]).arg(program);
        Ok(command)
    }

    /// The shared libraries that a program needs.
    pub(super) fn libraries(&self, program: &Path) -> Result<Vec<PathBuf>> {
        let mut list = self.command(program)?;
        let program = list.get_args().last().context("a program")?.to_owned();
        let libraries = list.get_args().nth(1).context("libraries")?.to_owned();
        list = Command::new(self.loader()?);
        let output = list.arg("--library-path").arg(libraries).arg("--list").arg(&program).output()?;
        ensure!(output.status.success(), "{program:?}: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let paths = text.lines().filter_map(|line| line.split("=> ").nth(1)?.split(" (").next());
        Ok(paths.map(PathBuf::from).filter(|path| path.starts_with(&self.root)).collect())
    }

    /// QEMU, which finds its firmware.
    pub(super) fn qemu(&self) -> Result<Command> {
        let mut command = self.command(&self.file(&["usr/bin/qemu-system-x86_64"])?)?;
        command.env("QEMU_MODULE_DIR", self.file(&["usr/lib/x86_64-linux-gnu/qemu"])?);
        for data in ["usr/share/qemu", "usr/share/seabios"] {
            command.arg("-L").arg(self.root.join(data));
        }
        Ok(command)
    }
}
