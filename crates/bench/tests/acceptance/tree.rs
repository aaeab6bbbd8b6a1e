//! Files of this machine as contents of disks.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Read,
    path::Path,
};

/// Where files are taken from, a part of the bytes from each.
const SOURCES: [&str; 3] = ["/usr/share", "/usr/lib", "/usr/bin"];
/// Small files cost every tool more time than they are worth.
const FILES_MAX: u64 = 1_500;

/// Copies files of this machine into `to` until they have about so many bytes.
pub(crate) fn fill(to: &Path, bytes: u64) {
    let mut missing = 0;
    for (source, others) in SOURCES.iter().zip((1..=SOURCES.len() as u64).rev()) {
        // What one has too little of comes from the next.
        let mut left = Left { bytes: bytes / SOURCES.len() as u64 + missing / others, files: FILES_MAX };
        copy(Path::new(source), &to.join(source.trim_start_matches('/')), &mut left);
        missing += left.bytes;
    }
    assert!(missing < bytes, "this machine has too few files in {SOURCES:?}");
}

struct Left {
    bytes: u64,
    files: u64,
}

fn copy(from: &Path, to: &Path, left: &mut Left) {
    let Ok(listing) = fs::read_dir(from) else { return };
    fs::create_dir_all(to).unwrap();
    let mut entries: Vec<_> = listing.flatten().collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let Ok(metadata) = entry.metadata() else { continue };
        let target = to.join(entry.file_name());
        if metadata.is_dir() {
            copy(&entry.path(), &target, left);
        } else if metadata.is_file() && metadata.len() <= left.bytes && left.files > 0 {
            // What this user may not read is left out.
            if let Ok(copied) = fs::copy(entry.path(), target) {
                left.bytes = left.bytes.saturating_sub(copied.max(1));
                left.files -= 1;
            }
        }
    }
}

/// Each file below a directory, with its length and checksum.
pub(crate) type Digest = BTreeMap<String, (u64, u32)>;

/// Reads every file below a directory.
pub(crate) fn digest(root: &Path) -> Digest {
    let mut found = Digest::new();
    read_all(root, root, &mut found);
    found
}

fn read_all(root: &Path, directory: &Path, found: &mut Digest) {
    for entry in fs::read_dir(directory).unwrap() {
        let (path, kind) = entry.map(|entry| (entry.path(), entry.file_type().unwrap())).unwrap();
        if kind.is_dir() && path.file_name() != Some("lost+found".as_ref()) {
            read_all(root, &path, found);
        } else if kind.is_file() {
            let contents = fs::read(&path).unwrap();
            let name = path.strip_prefix(root).unwrap().display().to_string();
            found.insert(name, (contents.len() as u64, crc_fast::crc32_iscsi(&contents)));
        }
    }
}

/// Fails at the first byte that two files do not share.
pub(crate) fn assert_same(left: &Path, right: &Path) {
    let (mut left_file, mut right_file) = (File::open(left).unwrap(), File::open(right).unwrap());
    let lengths = (left_file.metadata().unwrap().len(), right_file.metadata().unwrap().len());
    assert_eq!(lengths.0, lengths.1, "lengths of {} and {}", left.display(), right.display());
    let (mut a, mut b) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    let mut at = 0;
    while at < lengths.0 {
        let length = (lengths.0 - at).min(a.len() as u64) as usize;
        left_file.read_exact(&mut a[..length]).unwrap();
        right_file.read_exact(&mut b[..length]).unwrap();
        if let Some(index) = (0..length).find(|index| a[*index] != b[*index]) {
            panic!("{} and {} differ at byte {}", left.display(), right.display(), at + index as u64);
        }
        at += length as u64;
    }
}
