//! A daemon's state, and what it answers to requests of the control API.

mod figures;
mod fork;
mod history;
mod metrics;
mod reclaim;
pub(crate) mod space;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Instant,
};

use esker_control::{Answer, ApiError, ErrorKind, api};
use esker_engine::{EngineError, host::Host, volume::Status};
use esker_frontend::nbd;

pub(crate) use metrics::Told;

use crate::{catalogue, data::DataDir, errors, store};

/// A daemon that runs.
pub(crate) struct Daemon {
    pub(crate) host: Arc<Host>,
    traffic: store::Traffic,
    data: DataDir,
    told: Told,
    nbd: OnceLock<Arc<nbd::Server>>,
    began: Instant,
    inside: Mutex<Inside>,
}

struct Inside {
    state: api::DaemonState,
    /// Volumes that are wanted and not open.
    wanted: BTreeMap<String, Wanted>,
    reclaim: reclaim::Totals,
}

enum Wanted {
    Opening,
    Failed(Failed),
}

/// Why a volume that is wanted is not open.
struct Failed {
    reason: String,
    /// The same opening may succeed later without anybody's doing.
    may_pass: bool,
}

impl Daemon {
    pub(crate) fn new(host: Host, traffic: store::Traffic, data: DataDir, told: Told) -> Arc<Self> {
        let inside = Inside {
            state: api::DaemonState::Opening,
            wanted: BTreeMap::new(),
            reclaim: reclaim::Totals::default(),
        };
        Arc::new(Self {
            host: Arc::new(host),
            traffic,
            data,
            told,
            nbd: OnceLock::new(),
            began: Instant::now(),
            inside: Mutex::new(inside),
        })
    }

    /// NBD is served.
    pub(crate) fn serves(&self, nbd: Arc<nbd::Server>) {
        assert!(self.nbd.set(nbd).is_ok(), "a daemon has one NBD server");
    }

    /// What the daemon does from now on.
    pub(crate) fn set_state(&self, state: api::DaemonState) {
        self.inside().state = state;
    }

    /// Opens a volume, and keeps the reason when it cannot be.
    pub(crate) async fn open_volume(
        &self,
        name: &str,
        request: &api::OpenVolume,
    ) -> Result<api::Opened, EngineError> {
        if catalogue::is_snapshot(name) && !request.read_only {
            // Refused, not failed: nobody wants it to be open from now on.
            return Err(EngineError::Invalid(format!(
                "{name} is a snapshot, which nobody writes; fork it: esker fork {name} NEW"
            )));
        }
        let serves = |status: &Status| matches!(status, Status::Running | Status::ReadOnly);
        let already_open = self.host.volume(name).is_some_and(|volume| serves(&volume.status().status));
        self.inside().wanted.insert(name.to_owned(), Wanted::Opening);
        let opened = self.open_now(name, request).await;
        match &opened {
            Ok(_) => {
                self.inside().wanted.remove(name);
            }
            Err(error) => self.not_opened(name, error),
        }
        opened.map(|opened| api::Opened { already_open, ..opened })
    }

    async fn open_now(&self, name: &str, request: &api::OpenVolume) -> Result<api::Opened, EngineError> {
        if request.read_only {
            self.host.open_read_only(name).await?;
            return Ok(figures::opened(name, esker_engine::recover::Report::default()));
        }
        let (_, report) = self.host.open(name, request.discard_after).await?;
        Ok(figures::opened(name, report))
    }

    /// A volume could not be opened.
    pub(crate) fn failed(&self, name: &str, error: &dyn std::fmt::Display) {
        self.keep_failure(name, Failed { reason: error.to_string(), may_pass: false });
    }

    /// The engine could not open a volume.
    pub(crate) fn not_opened(&self, name: &str, error: &EngineError) {
        self.keep_failure(name, Failed { reason: error.to_string(), may_pass: errors::may_pass(error) });
    }

    fn keep_failure(&self, name: &str, failed: Failed) {
        tracing::error!(volume = name, error = failed.reason, "the volume cannot be opened");
        self.inside().wanted.insert(name.to_owned(), Wanted::Failed(failed));
    }

    /// The volumes whose opening failed for a reason that may pass: the store, or a full disk.
    pub(crate) fn worth_another_try(&self) -> Vec<String> {
        let worth = |(name, wanted): (&String, &Wanted)| {
            matches!(wanted, Wanted::Failed(Failed { may_pass: true, .. })).then(|| name.clone())
        };
        self.inside().wanted.iter().filter_map(worth).collect()
    }

    /// The volumes that could not be opened.
    pub(crate) fn failures(&self) -> Vec<(String, String)> {
        let failed = |(name, wanted): (&String, &Wanted)| match wanted {
            Wanted::Failed(failed) => Some((name.clone(), failed.reason.clone())),
            Wanted::Opening => None,
        };
        self.inside().wanted.iter().filter_map(failed).collect()
    }

    /// The volumes that are being opened.
    pub(crate) fn opening(&self) -> Vec<String> {
        let opening =
            |(name, wanted): (&String, &Wanted)| matches!(wanted, Wanted::Opening).then(|| name.clone());
        self.inside().wanted.iter().filter_map(opening).collect()
    }

    /// Log bytes of all volumes that the store does not hold.
    pub(crate) fn dirty_bytes(&self) -> u64 {
        self.host.volumes().iter().map(|volume| volume.dirty_bytes()).sum()
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        // No change of it can be left half done.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every volume that is open, or was to be.
    fn served(&self) -> Vec<api::Served> {
        let open = self.host.volumes();
        let mut served: BTreeMap<String, api::Served> =
            open.iter().map(|volume| (volume.name().to_owned(), figures::served(&volume.status()))).collect();
        for (name, wanted) in &self.inside().wanted {
            let (state, problem) = match wanted {
                Wanted::Opening => (api::VolumeState::Opening, None),
                Wanted::Failed(failed) => (api::VolumeState::Failed, Some(failed.reason.clone())),
            };
            let absent = || api::Served { name: name.clone(), state, problem, figures: None };
            served.entry(name.clone()).or_insert_with(absent);
        }
        served.into_values().collect()
    }

    fn served_one(&self, name: &str) -> Option<api::Served> {
        self.served().into_iter().find(|served| served.name == name)
    }

    fn check_not_draining(&self) -> Result<(), ApiError> {
        let state = self.inside().state;
        if state == api::DaemonState::Draining {
            return Err(ApiError::new(ErrorKind::Unavailable, "the daemon is stopping and takes no changes"));
        }
        Ok(())
    }

    fn status_now(&self) -> api::Status {
        let usage = self.host.pool().fetcher().usage();
        let nbd = self.nbd.get();
        // A guard inside the expression below would live to its end, where the lock is taken again.
        let state = self.inside().state;
        api::Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            state,
            run: self.host.run().to_string(),
            data: self.data.root().display().to_string(),
            pool: catalogue::pool(self.host.pool()),
            nbd: api::Nbd {
                socket: self.data.nbd_socket().display().to_string(),
                tcp: nbd.and_then(|nbd| nbd.tcp_address()).map(|address| address.to_string()),
                connections: nbd.map_or(0, |nbd| nbd.connections() as u64),
            },
            uptime_ms: self.began.elapsed().as_millis() as u64,
            volumes: self.served(),
            requests: figures::requests(&self.traffic.counted.snapshot()),
            cache: api::Cache {
                frame_bytes: usage.frame_bytes,
                index_bytes: usage.index_bytes,
                page_bytes: usage.page_bytes,
                hits: usage.frame_hits,
                misses: usage.frame_misses,
                ahead_fetched: usage.ahead_fetched,
                ahead_used: usage.ahead_used,
                ahead_wasted: usage.ahead_wasted,
                disk: figures::disk_cache(&usage.disk),
            },
        }
    }

    fn metrics_now(&self) -> api::Metrics {
        // As in `status_now`, which is called below.
        let reclaim = self.inside().reclaim;
        metrics::metrics(&metrics::Look {
            told: self.told,
            reclaim,
            sealed_bytes: self.host.pool().sealed_bytes(),
            holds: self.host.pool().holds().into(),
            status: self.status_now(),
            dirty_bytes: self.host.dirty_bytes(),
            dirty_bytes_max: self.host.dirty_bytes_max(),
            maps: self.host.map_memory().into(),
            pieces: self.host.piece_memory().into(),
            strain: self.traffic.sheltered.strain(),
            traffic: self.nbd.get().map(|nbd| nbd.traffic()).unwrap_or_default(),
        })
    }

    async fn create_now(&self, request: api::CreateVolume) -> Result<api::Volume, ApiError> {
        self.check_not_draining()?;
        let failed = |error: EngineError| errors::api(&error);
        let properties = catalogue::check_new(&request).map_err(failed)?;
        let pool = self.host.pool();
        pool.create_volume(&request.name, request.size_bytes, properties).await.map_err(failed)?;
        // It exists from here on. If it cannot be served now, its status says why.
        let _ = self.open_volume(&request.name, &api::OpenVolume::default()).await;
        self.volume_now(&request.name).await
    }

    async fn volume_now(&self, name: &str) -> Result<api::Volume, ApiError> {
        let volume = catalogue::volume(self.host.pool(), name).await.map_err(|error| errors::api(&error))?;
        Ok(api::Volume { served: self.served_one(name), ..volume })
    }
}

impl esker_control::Daemon for Daemon {
    fn status(self: Arc<Self>) -> Answer<api::Status> {
        Box::pin(async move { Ok(self.status_now()) })
    }

    fn requests(self: Arc<Self>) -> Answer<api::Requests> {
        Box::pin(async move { Ok(figures::requests(&self.traffic.counted.snapshot())) })
    }

    fn metrics(self: Arc<Self>) -> Answer<api::Metrics> {
        Box::pin(async move { Ok(self.metrics_now()) })
    }

    fn volumes(self: Arc<Self>) -> Answer<api::Volumes> {
        Box::pin(async move {
            let pool = self.host.pool();
            let mut volumes = catalogue::volumes(pool).await.map_err(|error| errors::api(&error))?;
            for volume in &mut volumes {
                volume.served = self.served_one(&volume.name);
            }
            Ok(api::Volumes { pool: catalogue::pool(pool), volumes })
        })
    }

    fn volume(self: Arc<Self>, name: String) -> Answer<api::Volume> {
        Box::pin(async move { self.volume_now(&name).await })
    }

    fn create(self: Arc<Self>, request: api::CreateVolume) -> Answer<api::Volume> {
        Box::pin(async move { self.create_now(request).await })
    }

    fn delete(self: Arc<Self>, name: String) -> Answer<api::Deleted> {
        Box::pin(async move {
            self.check_not_draining()?;
            self.host.delete(&name).await.map_err(|error| errors::api(&error))?;
            self.inside().wanted.remove(&name);
            tracing::info!(volume = %name, "deleted");
            Ok(api::Deleted { deleted: name })
        })
    }

    fn resize(self: Arc<Self>, name: String, request: api::ResizeVolume) -> Answer<api::Volume> {
        Box::pin(async move {
            self.check_not_draining()?;
            self.host.resize(&name, request.size_bytes).await.map_err(|error| errors::api(&error))?;
            tracing::info!(volume = %name, size_bytes = request.size_bytes, "resized");
            self.volume_now(&name).await
        })
    }

    fn set(self: Arc<Self>, name: String, request: api::SetProperties) -> Answer<api::Volume> {
        Box::pin(async move {
            self.check_not_draining()?;
            let change = catalogue::change(&request).map_err(|error| errors::api(&error))?;
            self.host.set(&name, change).await.map_err(|error| errors::api(&error))?;
            tracing::info!(volume = %name, ?request, "properties were set");
            self.volume_now(&name).await
        })
    }

    fn history(self: Arc<Self>, name: String) -> Answer<api::History> {
        Box::pin(async move { self.history_now(&name).await })
    }

    fn rewind(self: Arc<Self>, name: String, request: api::RewindVolume) -> Answer<api::Rewound> {
        Box::pin(async move { self.rewind_now(&name, request).await })
    }

    fn snapshots(self: Arc<Self>) -> Answer<api::Snapshots> {
        Box::pin(async move { self.snapshots_now().await })
    }

    fn snapshot(self: Arc<Self>, volume: String, request: api::CreateSnapshot) -> Answer<api::Snapshot> {
        Box::pin(async move { self.snapshot_now(&volume, request).await })
    }

    fn groups(self: Arc<Self>) -> Answer<api::Groups> {
        Box::pin(async move { self.groups_now().await })
    }

    fn group(self: Arc<Self>, request: api::CreateGroup) -> Answer<api::Group> {
        Box::pin(async move { self.group_now(request).await })
    }

    fn label(self: Arc<Self>, name: String, request: api::LabelSnapshot) -> Answer<api::Snapshot> {
        Box::pin(async move { self.label_now(&name, request).await })
    }

    fn fork(self: Arc<Self>, source: String, request: api::ForkVolume) -> Answer<api::Volume> {
        Box::pin(async move { self.fork_now(&source, request).await })
    }

    fn reclaim(self: Arc<Self>, request: api::ReclaimPool) -> Answer<api::Reclaimed> {
        Box::pin(async move { self.reclaim_asked(request).await })
    }

    fn space(self: Arc<Self>) -> Answer<api::Space> {
        Box::pin(self.space_now())
    }

    fn open(self: Arc<Self>, name: String, request: api::OpenVolume) -> Answer<api::Opened> {
        Box::pin(async move {
            self.check_not_draining()?;
            self.open_volume(&name, &request).await.map_err(|error| errors::api(&error))
        })
    }
}
