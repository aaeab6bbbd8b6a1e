//! Snapshots and forks by a daemon.

use std::sync::Arc;

use esker_control::{ApiError, api};

use super::Daemon;
use crate::{
    catalogue::{self, Made},
    errors,
};

impl Daemon {
    pub(super) async fn snapshots_now(&self) -> Result<api::Snapshots, ApiError> {
        let pool = self.host.pool();
        let snapshots = catalogue::snapshots(pool).await.map_err(|error| errors::api(&error))?;
        Ok(api::Snapshots { pool: catalogue::pool(pool), snapshots })
    }

    pub(crate) async fn snapshot_now(
        &self,
        volume: &str,
        request: api::CreateSnapshot,
    ) -> Result<api::Snapshot, ApiError> {
        self.check_not_draining()?;
        let labels = request.labels.into_iter().collect();
        let made = self.host.snapshot(volume, &request.name, labels).await;
        let head = made.map_err(|error| errors::api(&error))?;
        let name = format!("{volume}@{}", request.name);
        tracing::info!(snapshot = %name, sequence = head.sequence, "made");
        Ok(Made(&name, &head).told())
    }

    pub(super) async fn groups_now(&self) -> Result<api::Groups, ApiError> {
        let pool = self.host.pool();
        let groups = catalogue::groups(pool).await.map_err(|error| errors::api(&error))?;
        Ok(api::Groups { pool: catalogue::pool(pool), groups })
    }

    pub(super) async fn group_now(&self, request: api::CreateGroup) -> Result<api::Group, ApiError> {
        self.check_not_draining()?;
        let labels = request.labels.into_iter().collect();
        let made = self.host.snapshot_group(&request.name, &request.volumes, labels).await;
        let record = made.map_err(|error| errors::api(&error))?;
        tracing::info!(group = %record.group, snapshots = %request.name, volumes = request.volumes.len(), "made");
        let names = catalogue::names(self.host.pool()).await.map_err(|error| errors::api(&error))?;
        Ok(catalogue::group(&record, &names).expect("what was made just now exists"))
    }

    pub(super) async fn label_now(
        &self,
        name: &str,
        request: api::LabelSnapshot,
    ) -> Result<api::Snapshot, ApiError> {
        let set = request.set.into_iter().collect();
        let head = self.host.label(name, &set, &request.remove).await.map_err(|error| errors::api(&error))?;
        Ok(Made(name, &head).told())
    }

    pub(crate) async fn fork_now(
        self: Arc<Self>,
        source: &str,
        request: api::ForkVolume,
    ) -> Result<api::Volume, ApiError> {
        self.check_not_draining()?;
        let name = &request.name;
        let head = self.host.fork(source, name).await.map_err(|error| errors::api(&error))?;
        tracing::info!(volume = %name, source, sequence = head.sequence, "forked");
        if request.open {
            // It exists from here on. If it cannot be served now, its status says why.
            let _ = self.open_volume(name, &api::OpenVolume::default()).await;
        }
        let served = self.served_one(name);
        Ok(api::Volume { served, ..catalogue::made(self.host.pool(), name, &head) })
    }
}
