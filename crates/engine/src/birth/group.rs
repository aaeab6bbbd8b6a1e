//! Snapshots of several volumes at one point: all of them are born, or none (rule W12).
//!
//! ```text
//! v1  … │997 998┃999 …      F1/1 unborn, group G ─┐                    ┌─ F1/2 frozen
//! v2  … │ 41  42┃ 43 …      F2/1 unborn, group G ─┼─ groups/G: true ───┼─ F2/2 frozen
//! v3  … │  7   8┃  9 …      F3/1 unborn, group G ─┘   one record       └─ F3/2 frozen
//!             one point: every map is held while the stops are made
//! ```
//! In numbered steps:
//! 1. Hold: the exclusive guards of all maps, in the order of the volumes' ids. A write has the shared one from the log
//!    to its answer, so now none is under way. Take all points, let go. So whoever writes to one volume after he had the
//!    answer of another is behind both points, or before the other's.
//! 2. Wait until the store has every volume up to its point.
//! 3. Pin each, with the group's random id, and give it its name; look whether each source is still there (`birth.rs`).
//! 4. PUT groups/G, true, with all members. From here on they all exist.
//! 5. Give birth to each.
//! 6. Or give up: PUT groups/G, buried; then bury each.
//!
//! A member is born if its second head is frozen, or if the record names it. Who meets an unborn member asks the record:
//! if it is true he gives birth to it, else he may bury it, after he has made the record say so for all of them.
//!
//! **After a crash**, or a request that is late for ever:
//! - before 4: members that nobody can open, until somebody buries the group. A late record finds "buried" there.
//! - after 4: the group exists. Who opens or lists a member finishes it; reclaim does too, instead of burying it.
//! - a member whose first head is late: the record says what it is to be. One that a true record does not name was
//!   given up before the record was made.

use esker_format::{
    group::{GroupFate, GroupRecord},
    head::HeadKind,
    ids::{AttemptId, GroupId},
    names::{self, ObjectName},
};
use esker_io::{BoxFuture, Bug, planted, sync::Arc};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::{Fate, Pin};
use crate::{
    EngineError, Result,
    pool::{Pool, create},
    upload::Settled,
    volume::{Point, Volume},
};

/// How many records are got at once.
const GETS_AT_ONCE: usize = 16;

/// Step 1: the points of all volumes, no write between any two of them.
pub(crate) fn points(volumes: &[Arc<Volume>]) -> Result<Vec<Point<'_>>> {
    let mut order: Vec<_> = volumes.iter().collect();
    // One order for everybody, so that two groups never wait for each other.
    order.sort_by_key(|volume| volume.id());
    let Some(pool) = order.first().map(|volume| &volume.pool) else { return Ok(Vec::new()) };
    let clock = &*pool.world().clock;
    let began = clock.monotonic();
    let held: Vec<_> = order.iter().map(|volume| volume.map.write()).collect();
    let points = volumes.iter().map(|volume| volume.begin_point()).collect();
    drop(held);
    pool.holds().count(volumes.len() as u64, clock.monotonic().saturating_sub(began));
    points
}

impl Pool {
    /// What became of a group; `None` when nobody has decided.
    pub async fn group(&self, group: GroupId) -> Result<Option<GroupRecord>> {
        let Some(bytes) = self.fetcher().object(&names::group(group)).await? else { return Ok(None) };
        self.read_group(group, &bytes).map(Some)
    }

    /// All groups of which something became, in the order in which they were made.
    pub async fn groups(&self) -> Result<Vec<GroupRecord>> {
        let listed = self.fetcher().list(&names::groups()).await?;
        let id = |name: &str| match names::parse(name) {
            Some(ObjectName::Group(group)) => Some(group),
            _ => None,
        };
        let gets: Vec<_> =
            listed.iter().filter_map(|listed| id(&listed.name)).map(|group| self.group(group)).collect();
        let records: Vec<_> = stream::iter(gets).buffered(GETS_AT_ONCE).try_collect().await?;
        let mut records: Vec<GroupRecord> = records.into_iter().flatten().collect();
        records.sort_by_key(|record| (record.written_ms, record.group));
        Ok(records)
    }

    /// Decides about a group, unless somebody has: what holds of it.
    pub(crate) async fn decide(&self, group: GroupId, fate: GroupFate) -> Result<GroupRecord> {
        let record = GroupRecord {
            pool: self.id(),
            group,
            attempt: AttemptId(self.world().random.id()),
            written_ms: self.world().clock.wall_ms(),
            fate,
        };
        match create(self.world(), &names::group(group), record.encode()).await? {
            Settled::Ours => Ok(record),
            Settled::Theirs(bytes) => self.read_group(group, &bytes),
        }
    }

    fn read_group(&self, group: GroupId, bytes: &[u8]) -> Result<GroupRecord> {
        let record = GroupRecord::parse(bytes).and_then(|record| record.verify(self.id(), group));
        record
            .map_err(|error| EngineError::Damaged { object: names::group(group), message: error.to_string() })
    }
}

impl Pin {
    /// Gives birth to it if its group says so, and tells whether it did.
    pub(crate) fn finish<'a>(&'a self, pool: &'a Pool) -> BoxFuture<'a, Result<bool>> {
        Box::pin(async move {
            let Some(group) = self.head().lineage.group else { return Ok(false) };
            let Some(record) = pool.group(group).await? else { return Ok(false) };
            self.finish_as(pool, &record).await
        })
    }

    /// Before it is buried: nobody will be born of its group, unless all are.
    pub(super) fn bury_group<'a>(&'a self, pool: &'a Pool) -> BoxFuture<'a, Result<Fate>> {
        Box::pin(async move {
            let Some(group) = self.head().lineage.group else { return Ok(Fate::Buried) };
            if planted(Bug::MemberBuriedAlone) {
                return Ok(Fate::Buried);
            }
            let record = match pool.group(group).await? {
                Some(record) => record,
                None => pool.decide(group, GroupFate::Buried).await?,
            };
            Ok(if self.finish_as(pool, &record).await? { Fate::Born } else { Fate::Buried })
        })
    }

    async fn finish_as(&self, pool: &Pool, record: &GroupRecord) -> Result<bool> {
        match &record.fate {
            GroupFate::True { members, .. } if members.binary_search(&self.volume()).is_ok() => {
                self.born(pool, HeadKind::Frozen).await?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}
