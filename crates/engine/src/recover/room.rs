//! What the local disk must give before a volume is claimed.

use esker_format::ids::LogId;
use esker_io::{Bug, planted};

use super::Opening;
use crate::{
    Result,
    log::scan::{self, Scan},
};

/// The log that an opening goes on with; its first chunk has a file.
pub(super) struct Room {
    pub(super) log: LogId,
    pub(super) scan: Scan,
    /// No head names it.
    fresh: bool,
}

impl Room {
    /// Room in the log that was found, or in a fresh one. `covered` is the newest head's sequence.
    ///
    /// # Errors
    /// [`crate::EngineError::Disk`] when there is none. A directory that was made for it is gone again.
    pub(super) fn make(opening: &Opening, found: Option<(LogId, Scan)>, covered: u64) -> Result<Self> {
        let mut room = match found {
            Some((log, scan)) => Self { log, scan, fresh: false },
            None => Self::fresh(opening, covered)?,
        };
        if planted(Bug::ClaimedWithoutRoom) {
            return Ok(room);
        }
        let aside = opening.directory().make_aside(opening.pool.world(), room.log);
        match aside.and_then(|()| room.scan.files.make_first()) {
            Ok(()) => Ok(room),
            Err(error) => {
                room.give_up(opening);
                Err(error)
            }
        }
    }

    /// The directory of a fresh log, its names durable, as a scan that found nothing.
    fn fresh(opening: &Opening, covered: u64) -> Result<Self> {
        let world = opening.pool.world();
        let directory = opening.directory();
        let log = LogId(world.random.id());
        let made = directory.create(world, log).and_then(|()| {
            scan::scan(&scan::Request { world, directory, log, covered, discard_after: None })
        });
        match made {
            Ok(scan) => Ok(Self { log, scan, fresh: true }),
            Err(error) => {
                remove(opening, log);
                Err(error)
            }
        }
    }

    /// Nobody has claimed anything with it.
    pub(super) fn give_up(self, opening: &Opening) {
        let Self { log, scan, fresh } = self;
        // Its file goes with it.
        drop(scan);
        if fresh {
            remove(opening, log);
        }
    }
}

fn remove(opening: &Opening, log: LogId) {
    // What stays is removed by the next opening that succeeds: it holds no record.
    if let Err(error) = opening.directory().remove(opening.pool.world(), log) {
        tracing::debug!(%error, "the directory of a log that was not begun stays");
    }
}
