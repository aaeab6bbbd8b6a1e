//! Objects as files of a directory, durable before a PUT returns (rule W10).
//!
//! ```text
//! ROOT/.tmp/<random>          a body on its way; never listed
//! ROOT/segments/7f/000001-…   an object: its name is its path
//! ```
//!
//! A body is written and synced under a name of its own, then given its final name in one step that
//! fails when the name is taken, among threads and processes alike. Then every directory on the way
//! is synced. So an object is whole, or not there.

mod dirs;
mod temp;

use std::{
    fs,
    io::{self, ErrorKind},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use rustix::{
    fs::{AtFlags, CWD, RenameFlags},
    io::Errno,
};

use super::{Listed, Objects, Range, Result, StoreError, StoreErrorKind, name};
use crate::{
    BoxFuture, CpuPool,
    disk::local::sync_dir,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// A body from this size on is written by a thread that steps back for guests: what it costs is copying, and that
/// takes a processor for as long as thousands of requests.
const BULK_BYTES: usize = 1 << 20;
/// How many such bodies are written at the same time.
const BULK_THREADS: usize = 3;

/// Objects in a directory. Needs a tokio runtime: file I/O runs on its blocking threads.
pub struct FileObjects {
    shared: Arc<Shared>,
    bulk: CpuPool,
}

struct Shared {
    root: PathBuf,
    temps: temp::Temps,
    durable: dirs::Durable,
    /// A directory's sync failed: the system may have dropped names it was to keep, and a second
    /// sync would not say so. Nothing is promised any more.
    poisoned: AtomicBool,
}

impl FileObjects {
    /// The store at `root`, which is made when it does not exist. Temporary files that an interrupted
    /// PUT left behind more than a day ago are removed.
    pub fn open(root: &Path) -> io::Result<Self> {
        let durable = dirs::Durable::open(root)?;
        let temps = temp::Temps::open(root)?;
        let shared = Shared { root: root.to_owned(), temps, durable, poisoned: AtomicBool::new(false) };
        Ok(Self { shared: Arc::new(shared), bulk: CpuPool::named("esker-put", BULK_THREADS)? })
    }

    /// Runs `work` on a thread that may block. It runs to its end even if nobody waits any more.
    async fn blocking<T: Send + 'static>(
        &self,
        operation: &'static str,
        name: &str,
        work: impl FnOnce(&Shared, &str) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (shared, owned) = (self.shared.clone(), name.to_owned());
        match tokio::task::spawn_blocking(move || work(&shared, &owned)).await {
            Ok(answer) => answer,
            // The runtime is going down, or the work panicked; a PUT may have happened.
            Err(error) => Err(StoreError::new(StoreErrorKind::Transient, operation, name, error.to_string())),
        }
    }
}

impl Objects for FileObjects {
    fn put_new<'a>(&'a self, name: &'a str, body: Bytes) -> BoxFuture<'a, Result<()>> {
        let bulk = body.len() >= BULK_BYTES;
        let put = move |shared: &Shared, name: &str| shared.put_new(name, &body);
        if bulk {
            let (shared, name) = (self.shared.clone(), name.to_owned());
            return crate::run(&self.bulk, move || put(&shared, &name));
        }
        Box::pin(self.blocking("put", name, put))
    }

    fn get<'a>(&'a self, name: &'a str, range: Range) -> BoxFuture<'a, Result<Bytes>> {
        Box::pin(self.blocking("get", name, move |shared, name| shared.get(name, range)))
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<Listed>>> {
        Box::pin(self.blocking("list", prefix, Shared::list))
    }

    fn delete<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.blocking("delete", name, Shared::delete))
    }

    fn describe(&self) -> String {
        format!("file://{}", self.shared.root.display())
    }
}

impl Shared {
    fn put_new(&self, name: &str, body: &[u8]) -> Result<()> {
        name::check_object("put", name)?;
        if self.poisoned.load(Ordering::Relaxed) {
            let message =
                "an earlier sync of a directory failed; nothing is written until the store is opened again";
            return Err(StoreError::new(StoreErrorKind::Permanent, "put", name, message));
        }
        let failed = |error: &io::Error| failed("put", name, error);
        let temp = self.temps.write(body).map_err(|error| failed(&error))?;
        let created = self.create(name, temp.path()).map_err(|error| failed(&error))?;
        // Rule W10: the name is durable before anybody hears of it. The same when it exists: the one
        // who made it may not have come this far, and the caller may find it to be its own.
        self.durable.sync_parent(&self.root, name).map_err(|error| {
            self.poisoned.store(true, Ordering::Relaxed);
            failed(&error)
        })?;
        match created {
            true => Ok(()),
            false => {
                Err(StoreError::new(StoreErrorKind::Exists, "put", name, "an object of that name exists"))
            }
        }
    }

    /// Gives the file its final name; false when the name is taken.
    fn create(&self, name: &str, temp: &Path) -> io::Result<bool> {
        let target = self.root.join(name);
        self.durable.make_parent(&self.root, name)?;
        match create_link(temp, &target) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                // Somebody removed directories that were known to be there.
                self.durable.forget();
                self.durable.make_parent(&self.root, name)?;
                create_link(temp, &target)
            }
            other => other,
        }
    }

    fn get(&self, name: &str, range: Range) -> Result<Bytes> {
        name::check_object("get", name)?;
        let failed = |error: &io::Error| failed("get", name, error);
        let file = fs::File::open(self.root.join(name)).map_err(|error| failed(&error))?;
        let data = file.metadata().map_err(|error| failed(&error))?;
        if !data.is_file() {
            return Err(StoreError::new(StoreErrorKind::NotFound, "get", name, "no object but a directory"));
        }
        let part = range.within(data.len()).ok_or_else(|| name::beyond_end(name, range, data.len()))?;
        let bytes =
            usize::try_from(part.end - part.start).map_err(|error| failed(&io::Error::other(error)))?;
        let mut body = vec![0; bytes];
        file.read_exact_at(&mut body, part.start).map_err(|error| failed(&error))?;
        Ok(body.into())
    }

    fn list(&self, prefix: &str) -> Result<Vec<Listed>> {
        name::check_prefix("list", prefix)?;
        let mut list = Vec::new();
        // Directories still to be read, as names: empty for the root, else ending with a slash.
        let mut todo = vec![prefix.to_owned()];
        while let Some(dir) = todo.pop() {
            self.list_dir(&dir, &mut list, &mut todo).map_err(|error| failed("list", prefix, &error))?;
        }
        list.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(list)
    }

    fn list_dir(&self, dir: &str, list: &mut Vec<Listed>, todo: &mut Vec<String>) -> io::Result<()> {
        let entries = match fs::read_dir(self.root.join(dir)) {
            // No object under this prefix yet.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(());
            }
            other => other?,
        };
        for entry in entries {
            let entry = entry?;
            // What has another kind of name (`.tmp` too) was not put here by this store.
            let Ok(name) = entry.file_name().into_string() else { continue };
            let name = format!("{dir}{name}");
            if name::check_object("list", &name).is_err() {
                continue;
            }
            match entry.metadata() {
                Ok(data) if data.is_dir() => todo.push(name + "/"),
                Ok(data) if data.is_file() => list.push(Listed { name, bytes: data.len() }),
                Ok(_) => {}
                // Deleted since the directory was read.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn delete(&self, name: &str) -> Result<()> {
        name::check_object("delete", name)?;
        let path = self.root.join(name);
        match fs::remove_file(&path) {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(());
            }
            other => other.map_err(|error| failed("delete", name, &error))?,
        }
        // An object that came back after a power loss would be garbage that nobody looks for.
        let parent = path.parent().unwrap_or(&self.root);
        sync_dir(parent).map_err(|error| failed("delete", name, &error))
    }
}

/// Gives `temp` the name `target` in one step; false when the name is taken.
fn create_link(temp: &Path, target: &Path) -> io::Result<bool> {
    let taken = |answer: rustix::io::Result<()>| match answer {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(error) => Err(error.into()),
    };
    match rustix::fs::renameat_with(CWD, temp, CWD, target, RenameFlags::NOREPLACE) {
        // File systems that do not know the flag (NFS) have links, which never replace either.
        // The temporary name goes with its owner.
        Err(Errno::INVAL | Errno::NOSYS) => {
            taken(rustix::fs::linkat(CWD, temp, CWD, target, AtFlags::empty()))
        }
        other => taken(other),
    }
}

fn failed(operation: &'static str, name: &str, error: &io::Error) -> StoreError {
    let kind = match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory if operation == "get" => StoreErrorKind::NotFound,
        // The file became shorter while it was read, which objects never do.
        ErrorKind::UnexpectedEof => StoreErrorKind::Protocol,
        // Somebody has to mend it; a full disk, too.
        ErrorKind::PermissionDenied
        | ErrorKind::StorageFull
        | ErrorKind::QuotaExceeded
        | ErrorKind::ReadOnlyFilesystem
        | ErrorKind::NotADirectory
        | ErrorKind::IsADirectory
        | ErrorKind::InvalidFilename => StoreErrorKind::Permanent,
        _ => StoreErrorKind::Transient,
    };
    StoreError::new(kind, operation, name, error.to_string())
}

#[cfg(test)]
mod tests;
