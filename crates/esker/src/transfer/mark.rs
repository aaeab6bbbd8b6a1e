//! How far an import or export has come: a small file beside the image, there as long as it is not complete.
//!
//! An export in numbered steps. A crash after each leaves a mark that is true, or none beside a file that is whole:
//! 1. A mark says that nothing is done. Only then the file is made, or emptied.
//! 2. A window of the volume is written, then the file is synced.
//! 3. A mark says that the window is done.
//! 4. After the last one the file is synced, and the mark removed.
//!
//! A mark counts only for the volume that it names, with the same size, at the same sequence: equal sequences mean
//! equal contents. Else the export starts again.
//!
//! An import does the same with FLUSH for sync. Its own writes change the sequence: see `commands/import/resume.rs`.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use anyhow::Context;
use serde::{Deserialize, Serialize};

/// The version of the file; another one is as good as none.
const VERSION: u32 = 1;

/// What is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    version: u32,
    /// The volume's id.
    pub(crate) volume: String,
    /// The volume's size.
    pub(crate) size_bytes: u64,
    /// The volume's sequence when this was written.
    pub(crate) sequence: u64,
    /// Bytes of the disk, from its beginning, that are moved.
    pub(crate) done_bytes: u64,
    /// The image that is imported; none of an export.
    pub(crate) image: Option<ImageFacts>,
}

/// What tells an image from what it was before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ImageFacts {
    bytes: u64,
    inode: u64,
    modified_s: i64,
    modified_ns: i64,
}

impl ImageFacts {
    pub(crate) fn of(path: &Path) -> io::Result<ImageFacts> {
        let file = fs::metadata(path)?;
        let (modified_s, modified_ns) = (file.mtime(), file.mtime_nsec());
        Ok(ImageFacts { bytes: file.len(), inode: file.ino(), modified_s, modified_ns })
    }
}

impl Mark {
    /// A mark that says that nothing is done.
    pub(crate) fn new(facts: &super::Facts, image: Option<ImageFacts>) -> Mark {
        Mark {
            version: VERSION,
            volume: facts.id.clone(),
            size_bytes: facts.size_bytes,
            sequence: facts.sequence,
            done_bytes: 0,
            image,
        }
    }

    /// Whether this mark is of the same volume and image as `now`, whatever was done since.
    pub(crate) fn is_of(&self, now: &Mark) -> bool {
        (&self.volume, self.size_bytes, self.image) == (&now.volume, now.size_bytes, now.image)
    }
}

/// The file of a mark.
#[derive(Debug)]
pub(crate) struct Partial {
    path: PathBuf,
}

impl Partial {
    /// That of an export to `file`.
    pub(crate) fn of_export(file: &Path) -> Partial {
        Partial { path: with_ending(file, ".esker-partial") }
    }

    /// That of an import of `file` to a volume: an image may go to several at once.
    pub(crate) fn of_import(file: &Path, volume: &str) -> Partial {
        Partial { path: with_ending(file, &format!(".{volume}.esker-partial")) }
    }

    /// The mark, if one is there and can be read.
    pub(crate) fn read(&self) -> Option<Mark> {
        let text = fs::read(&self.path).ok()?;
        serde_json::from_slice::<Mark>(&text).ok().filter(|mark| mark.version == VERSION)
    }

    /// Replaces the mark: the old one or the new one is there at any time.
    pub(crate) fn write(&self, mark: &Mark) -> anyhow::Result<()> {
        let new = with_ending(&self.path, ".new");
        let write = || -> io::Result<()> {
            let mut file = File::create(&new)?;
            file.write_all(&serde_json::to_vec(mark)?)?;
            file.sync_all()?;
            fs::rename(&new, &self.path)?;
            self.sync_directory()
        };
        write().with_context(|| format!("cannot write {}", self.path.display()))
    }

    /// It is complete.
    pub(crate) fn remove(&self) -> anyhow::Result<()> {
        let removed = match fs::remove_file(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            removed => removed.and_then(|()| self.sync_directory()),
        };
        removed.with_context(|| format!("cannot remove {}", self.path.display()))
    }

    fn sync_directory(&self) -> io::Result<()> {
        let parent = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
    }
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::{ImageFacts, Mark, Partial};
    use crate::transfer::Facts;

    #[test]
    fn a_mark_is_there_until_it_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("disk.raw");
        std::fs::write(&file, "x").unwrap();
        let facts = Facts { id: "1".into(), size_bytes: 4096, sequence: 7 };
        let now = Mark::new(&facts, Some(ImageFacts::of(&file).unwrap()));
        let partial = Partial::of_import(&file, "demo");
        assert_eq!(partial.read(), None);
        partial.write(&Mark { done_bytes: 1, ..now.clone() }).unwrap();
        let read = partial.read().unwrap();
        assert!(read.is_of(&now) && read.done_bytes == 1 && read.sequence == 7);
        assert!(!read.is_of(&Mark { volume: "2".into(), ..now.clone() }));
        std::fs::write(&file, "xy").unwrap();
        assert!(!read.is_of(&Mark::new(&facts, Some(ImageFacts::of(&file).unwrap()))));
        std::fs::write(dir.path().join("disk.raw.demo.esker-partial"), "{\"version\": 2}").unwrap();
        assert_eq!(partial.read(), None);
        partial.remove().unwrap();
        partial.remove().unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
