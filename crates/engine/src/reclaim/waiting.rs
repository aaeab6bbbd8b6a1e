//! The list of dead objects, kept in the daemon's directory between rounds.
//!
//! `reclaim/NUMBER`: a new file is written whole and synced before the one before it is removed. A list that is lost, or
//! cannot be read, or is of another pool, is no list: the grace begins anew.

use std::{io::IoSlice, time::Duration};

use esker_format::{PoolId, WaitingList};
use esker_io::{Disk, World};

use crate::{EngineError, Result};

const DIRECTORY: &str = "reclaim";
/// A longer file was not written here.
const FILE_BYTES_MAX: u64 = 128 << 20;

/// The list that the last round left. One that was cut off while it was written gives way to the one before.
pub(crate) fn load(world: &World, pool: PoolId) -> Option<WaitingList> {
    let numbers = numbers(&*world.disk).ok()?;
    numbers.into_iter().rev().find_map(|number| {
        let list = read(world, pool, number);
        list.inspect_err(|error| tracing::warn!(%error, "a list of dead objects is lost")).ok()
    })
}

fn read(world: &World, pool: PoolId, number: u64) -> Result<WaitingList> {
    let file = world.disk.open(&path(number))?;
    let bytes = file.size()?;
    if bytes > FILE_BYTES_MAX {
        return Err(EngineError::Invalid(format!("{} is {bytes} bytes long", path(number))));
    }
    let mut text = vec![0; bytes as usize];
    file.read_at(&mut text, 0)?;
    Ok(WaitingList::parse(&text)?.verify(pool)?)
}

/// Replaces the list.
pub(super) fn save(world: &World, list: &WaitingList) -> Result<()> {
    let disk = &*world.disk;
    disk.create_dir(DIRECTORY)?;
    let number = numbers(disk)?.last().map_or(1, |number| number + 1);
    let file = disk.create(&path(number))?;
    file.write_at(&[IoSlice::new(&list.encode())], 0)?;
    file.sync()?;
    disk.sync_dir(DIRECTORY)?;
    disk.sync_dir("")?;
    for entry in disk.list(DIRECTORY)? {
        if entry.name != name(number) {
            disk.remove(&format!("{DIRECTORY}/{}", entry.name))?;
        }
    }
    Ok(())
}

/// How long it is since the round that wrote `list`. `since` is known where that was in this run; else clocks are
/// asked, and believed for no more than half of the grace, so that one that jumps ends no grace by itself.
pub(crate) fn elapsed(
    world: &World,
    list: &WaitingList,
    since: Option<Duration>,
    grace: Duration,
) -> Duration {
    match since {
        Some(at) => world.clock.monotonic().saturating_sub(at),
        None => Duration::from_millis(world.clock.wall_ms().saturating_sub(list.wall_ms)).min(grace / 2),
    }
}

/// Ascending.
fn numbers(disk: &dyn Disk) -> Result<Vec<u64>> {
    let mut numbers: Vec<u64> =
        disk.list(DIRECTORY)?.iter().filter_map(|entry| entry.name.parse().ok()).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

fn name(number: u64) -> String {
    format!("{number:020}")
}

fn path(number: u64) -> String {
    format!("{DIRECTORY}/{}", name(number))
}
