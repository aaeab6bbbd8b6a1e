//! Reading members: volumes as their guests do, snapshots as a stranger does.

use std::sync::Arc;

use esker_engine::{EngineError, pool::Pool, recover};
use futures_util::future::join_all;

use super::{
    Family,
    members::{BLOCKS, Presence, is_snapshot},
    runs::CACHE_BYTES,
    steps::{About, BLOCK},
};
use crate::lab::{Outcome, violation};

/// A name, and what was read under it.
type Found = (String, Result<Vec<u8>, EngineError>);

impl Family {
    /// Reads members, and compares them with what they must hold.
    pub(super) fn check(&mut self, about: &About) -> Outcome {
        let names = match about {
            About::All => self.members.all(),
            About::One(name) => self.members.knows(name).then(|| name.clone()).into_iter().collect(),
        };
        let (snapshots, volumes): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| is_snapshot(name));
        for name in volumes {
            let member = self.members.get(&name);
            let there = member.presence == Presence::There;
            let Some(volume) = member.volume.clone().filter(|_| there) else { continue };
            let found = self.read_open(&name, &volume)?;
            self.members.compare(&name, &found)?;
        }
        if snapshots.is_empty() { Ok(()) } else { self.check_stored(snapshots) }
    }

    fn check_stored(&mut self, names: Vec<String>) -> Outcome {
        for (name, found) in self.read_stored(names)? {
            match found {
                Ok(found) => {
                    self.members.compare(&name, &found)?;
                    let member = self.members.get_mut(&name);
                    if member.presence == Presence::Unclear {
                        member.presence = Presence::There;
                    }
                }
                Err(EngineError::NotFound(_) | EngineError::Invalid(_))
                    if self.members.get(&name).presence != Presence::There => {}
                Err(error) => return Err(violation(format!("{name} cannot be read: {error}"))),
            }
        }
        Ok(())
    }

    /// Reads what the store has under these names. A pool that was opened just now knows no page and no index: so what
    /// is read is there.
    pub(super) fn read_stored(&self, names: Vec<String>) -> Outcome<Vec<Found>> {
        let world = self.auditor.world();
        let reading = self.auditor.spawn("audit", async move {
            let pool = Arc::new(Pool::open(world, CACHE_BYTES).await?);
            let read = |name: String| {
                let pool = pool.clone();
                async move { (name.clone(), read(pool, &name).await) }
            };
            Ok::<_, EngineError>(join_all(names.into_iter().map(read)).await)
        });
        self.answer(reading)?.map_err(violation)
    }
}

async fn read(pool: Arc<Pool>, name: &str) -> Result<Vec<u8>, EngineError> {
    let id = pool.lookup(name).await?.ok_or_else(|| EngineError::NotFound(name.to_owned()))?;
    let volume = recover::open_read_only(pool, name, id).await?;
    volume.read_later(0, (BLOCKS * BLOCK) as usize).await
}
