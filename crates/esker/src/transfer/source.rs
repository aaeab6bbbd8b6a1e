//! Who makes or deletes a volume, a snapshot or a fork: the daemon that runs, or this process.

use std::sync::Arc;

use esker_control::{Client, api};
use esker_engine::{host::Host, pool::Pool, volume::Limits};
use esker_format::ids::DirectoryId;

use crate::{
    access::{Access, Place},
    catalogue::{self, Made},
    commands::serve::{Drained, Settings, Started, drain},
    exit::Exit,
    progress::during,
    store,
};

/// Who is asked.
pub(crate) enum Maker {
    /// The daemon that runs.
    Asked(Client),
    /// This process, which has opened what is in a log here.
    Here(Box<Started>),
    /// This process, from what the store has.
    Store(Arc<Host>),
}

impl Maker {
    /// For making something of `source`. Where no daemon runs, a log here may hold what the store has not: then the
    /// volume is opened as `serve` does, and given back at the end.
    pub(crate) async fn of(place: &Place, source: &str) -> anyhow::Result<Maker> {
        let pool = match place.access().await? {
            Access::Daemon(client) => return Ok(Maker::Asked(client)),
            Access::Pool(pool) => pool,
        };
        let volume = pool.lookup(source).await?;
        let logs = place.data().volumes_with_log().unwrap_or_default();
        if volume.is_none_or(|volume| !logs.contains(&volume)) || catalogue::is_snapshot(source) {
            return Ok(Maker::Store(Arc::new(passing(pool))));
        }
        store::must_exist(&place.url()?)?;
        let started = during("opening the pool", Settings::of(place).start()).await?;
        during("opening", started.daemon.open_volume(source, &api::OpenVolume::default())).await?;
        Ok(Maker::Here(Box::new(started)))
    }

    /// Makes a snapshot.
    pub(crate) async fn snapshot(
        &self,
        volume: &str,
        request: api::CreateSnapshot,
    ) -> anyhow::Result<api::Snapshot> {
        Ok(match self {
            Maker::Asked(client) => during("making the snapshot", client.snapshot(volume, &request)).await?,
            Maker::Here(started) => {
                during("making the snapshot", started.daemon.snapshot_now(volume, request)).await?
            }
            Maker::Store(host) => {
                let labels = request.labels.into_iter().collect();
                let made = host.snapshot(volume, &request.name, labels);
                let head = during("making the snapshot", made).await?;
                Made(&format!("{volume}@{}", request.name), &head).told()
            }
        })
    }

    /// Makes a fork.
    pub(crate) async fn fork(&self, source: &str, request: api::ForkVolume) -> anyhow::Result<api::Volume> {
        Ok(match self {
            Maker::Asked(client) => during("forking", client.fork(source, &request)).await?,
            Maker::Here(started) => {
                during("forking", started.daemon.clone().fork_now(source, request)).await?
            }
            Maker::Store(host) => {
                let head = during("forking", host.fork(source, &request.name)).await?;
                catalogue::made(host.pool(), &request.name, &head)
            }
        })
    }

    /// Gives back what this process has opened.
    pub(crate) async fn end(&self) -> Exit {
        let Maker::Here(started) = self else { return Exit::Done };
        match drain(&started.daemon, None).await {
            Drained::All => Exit::Done,
            Drained::NotAll => Exit::NotAllStored,
        }
    }
}

/// Deletes a volume or a snapshot: a claim whose head says so.
pub(crate) async fn delete(access: Access, name: &str) -> anyhow::Result<api::Deleted> {
    Ok(match access {
        Access::Daemon(client) => during("deleting", client.delete(name)).await?,
        Access::Pool(pool) => {
            during("deleting", passing(pool).delete(name)).await?;
            api::Deleted { deleted: name.to_owned() }
        }
    })
}

/// A run that opens nothing.
pub(crate) fn passing(pool: Arc<Pool>) -> Host {
    let directory = DirectoryId(pool.world().random.id());
    Host::new(pool, directory, Limits::default(), Arc::new(|_| {}))
}
