//! What an earlier run left: the catalogue of each file is read, the entries are not.

use std::sync::Arc;

use esker_format::{
    cache::{CacheCatalogue, catalogue_bytes},
    error::FormatError,
    ids::PoolId,
};
use esker_io::{Bug, Disk, File, planted};

use super::{DIRECTORY, State, path};
use crate::core::kept::Shape;

/// Finds the files that are of use and removes all others. Nothing is left of a cache that is switched off.
pub(super) fn load(disk: &dyn Disk, pool: PoolId, shape: Option<Shape>) -> Option<State> {
    let Some(shape) = shape else {
        remove_all(disk);
        return None;
    };
    let mut state = State::new(shape);
    for entry in disk.list(DIRECTORY).unwrap_or_default() {
        let number = entry.name.parse().ok().filter(|number| *number < shape.files_max);
        let file = number.filter(|number| path(*number).ends_with(&entry.name));
        let file = file.and_then(|number| Some((number, of_size(disk, &path(number), shape.file_bytes)?)));
        let Some((number, file)) = file else {
            let name = format!("{DIRECTORY}/{}", entry.name);
            if let Err(error) = disk.remove(&name) {
                tracing::warn!(%error, "a file of an earlier disk cache could not be removed");
            }
            continue;
        };
        match catalogue(&*file, pool, shape) {
            Ok(catalogue) => state.kept.adopt(number, catalogue),
            Err(error) => tracing::debug!(number, %error, "a file of the disk cache is free"),
        }
        state.files.insert(number, file);
    }
    Some(state)
}

fn remove_all(disk: &dyn Disk) {
    if disk.list(DIRECTORY).is_ok_and(|entries| !entries.is_empty())
        && let Err(error) = disk.remove_dir(DIRECTORY)
    {
        tracing::warn!(%error, "the files of the disk cache could not be removed");
    }
}

fn of_size(disk: &dyn Disk, path: &str, bytes: u64) -> Option<Arc<dyn File>> {
    let file = disk.open(path).ok()?;
    (file.size().ok()? == bytes).then_some(file)
}

fn catalogue(file: &dyn File, pool: PoolId, shape: Shape) -> Result<CacheCatalogue, FormatError> {
    let mut bytes = vec![0; catalogue_bytes(shape.file_bytes) as usize];
    if let Err(error) = file.read_at(&mut bytes, 0) {
        tracing::warn!(%error, "a file of the disk cache cannot be read");
        bytes.clear();
    }
    let parsed = CacheCatalogue::parse(&bytes)?;
    let pool = if planted(Bug::CachePoolIgnored) { parsed.peek().pool } else { pool };
    parsed.verify(pool, shape.file_bytes)
}
