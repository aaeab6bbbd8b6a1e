//! The guest's root: an archive in the form that the kernel unpacks (cpio, `newc`).

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::debian::Debian;

const INIT: &str = include_str!("init.sh");
/// Drivers of the disk; the file system is in the kernel.
const MODULES: [&str; 2] = ["virtio_pci", "virtio_blk"];
const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const CONSOLE: u32 = 0o020_600;

/// Builds the archive.
pub(super) fn build(debian: &Debian) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    for directory in ["bin", "sbin", "dev", "lib", "lib64", "modules"] {
        archive.add(directory, DIRECTORY, &[]);
    }
    archive.add("dev/console", CONSOLE, &[]);
    archive.add("init", PROGRAM, INIT.as_bytes());
    archive.copy("bin/busybox", &debian.file(&["bin/busybox", "usr/bin/busybox"])?)?;
    archive.copy("lib64/ld-linux-x86-64.so.2", &debian.loader()?)?;
    let mut libraries = BTreeSet::new();
    for (name, packed) in [("mkfs.ext4", "mke2fs"), ("e2fsck", "e2fsck")] {
        let program = debian.file(&[&format!("sbin/{packed}"), &format!("usr/sbin/{packed}")])?;
        archive.copy(&format!("sbin/{name}"), &program)?;
        libraries.extend(debian.libraries(&program)?);
    }
    for library in libraries {
        let name = library.file_name().context("a library has a name")?.to_string_lossy().into_owned();
        archive.copy(&format!("lib/{name}"), &library)?;
    }
    let mut order = String::new();
    for module in modules(debian)? {
        let name = module.file_name().context("a module has a name")?.to_string_lossy().into_owned();
        archive.copy(&format!("modules/{name}"), &module)?;
        order.push_str(&name);
        order.push('\n');
    }
    archive.add("modules/order", PROGRAM, order.as_bytes());
    Ok(archive.end())
}

/// The drivers and what they need, in the order of loading. What is in the kernel is no file.
fn modules(debian: &Debian) -> Result<Vec<PathBuf>> {
    let all = debian.entry("lib/modules", "").or_else(|_| debian.entry("usr/lib/modules", ""))?;
    let mut order = Vec::new();
    for module in MODULES {
        load(&all.join("kernel"), module, &mut order)?;
    }
    Ok(order)
}

fn load(all: &Path, name: &str, order: &mut Vec<PathBuf>) -> Result<()> {
    let Some(path) = find(all, &format!("{name}.ko"))? else { return Ok(()) };
    if order.contains(&path) {
        return Ok(());
    }
    for needed in needs(&fs::read(&path)?) {
        load(all, &needed, order)?;
    }
    order.push(path);
    Ok(())
}

/// A module's own list of those it needs.
fn needs(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = module.windows(KEY.len()).position(|window| window == KEY) else { return Vec::new() };
    let list = module[at + KEY.len()..].split(|byte| *byte == 0).next().unwrap_or_default();
    let list = String::from_utf8_lossy(list).into_owned();
    list.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn find(directory: &Path, name: &str) -> Result<Option<PathBuf>> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            if let Some(found) = find(&path, name)? {
                return Ok(Some(found));
            }
        } else if path.file_name().is_some_and(|file| file.to_string_lossy().replace('-', "_") == name) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    fn add(&mut self, name: &str, mode: u32, contents: &[u8]) {
        self.entries += 1;
        // The only device is the console, number 5, 1.
        let device = if mode == CONSOLE { [5, 1] } else { [0, 0] };
        let (length, name_length) = (contents.len() as u32, name.len() as u32 + 1);
        let fields = [self.entries, mode, 0, 0, 1, 0, length, 0, 0, device[0], device[1], name_length, 0];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08X}").bytes());
        }
        self.bytes.extend(name.bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(contents);
        self.pad();
    }

    fn copy(&mut self, name: &str, from: &Path) -> Result<()> {
        let contents = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
        self.add(name, PROGRAM, &contents);
        Ok(())
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn end(mut self) -> Vec<u8> {
        self.add("TRAILER!!!", 0, &[]);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::{Archive, PROGRAM, needs};

    #[test]
    fn a_module_names_what_it_needs() {
        assert_eq!(needs(b"x\0depends=virtio,virtio_ring\0y"), ["virtio", "virtio_ring"]);
        assert!(needs(b"x\0depends=\0y").is_empty() && needs(b"").is_empty());
    }

    #[test]
    fn entries_are_aligned() {
        let mut archive = Archive::default();
        archive.add("init", PROGRAM, b"12345");
        let bytes = archive.end();
        assert_eq!(&bytes[..6], b"070701");
        assert_eq!(&bytes[110..115], b"init\0");
        assert_eq!(&bytes[116..121], b"12345");
        assert_eq!(&bytes[124..130], b"070701");
    }
}
