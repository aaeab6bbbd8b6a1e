//! From a data directory and a pool to a daemon without open volumes.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use esker_engine::{
    host::{Host, Spawn},
    pool::Pool,
    volume::Limits,
};
use esker_format::{ids::DirectoryId, property::Properties};
use esker_io::DirectoryLock;
use tokio::runtime::Handle;

use crate::{
    access::{Place, open_pool},
    config::{Config, Prices},
    daemon::{Daemon, Told},
    data::DataDir,
    store,
};

/// Decoded frames that a daemon keeps which only recovers.
const CACHE_BYTES: usize = 256 << 20;
const DISK_CACHE_BYTES: u64 = 4 << 30;

/// The disk cache of a daemon that was told nothing of it: none where the store is as near as a cache would be.
fn disk_cache_bytes(url: &str) -> u64 {
    if url.starts_with("file://") || url.starts_with("memory://") { 0 } else { DISK_CACHE_BYTES }
}

/// How to start.
pub(crate) struct Settings {
    pub(crate) data: DataDir,
    /// The pool, when one is named.
    pub(crate) pool: Option<String>,
    pub(crate) limits: Limits,
    pub(crate) cache_bytes: usize,
    /// Bytes of the disk cache, or nothing said of them. Absent for a daemon that leaves it as it is.
    pub(crate) disk_cache: Option<Option<u64>>,
    pub(crate) cpu_threads: usize,
    pub(crate) prices: Prices,
    /// How long dead objects stay.
    pub(crate) grace: Duration,
    /// Whether a missing pool is made.
    pub(crate) make_pool: bool,
}

/// A daemon that holds its data directory.
pub(crate) struct Started {
    pub(crate) daemon: Arc<Daemon>,
    pub(crate) data: DataDir,
    pub(crate) directory: DirectoryId,
    _lock: DirectoryLock,
}

impl Settings {
    /// The settings of a daemon that only recovers a volume.
    pub(crate) fn of(place: &Place) -> Settings {
        Settings {
            data: place.data(),
            pool: place.named_pool(),
            limits: Limits::default(),
            cache_bytes: CACHE_BYTES,
            disk_cache: None,
            cpu_threads: 2,
            prices: Prices::default(),
            grace: Duration::MAX,
            make_pool: false,
        }
    }

    /// The settings of a daemon that serves.
    pub(crate) fn of_config(config: &Config) -> Settings {
        Settings {
            data: DataDir::new(&config.data),
            pool: config.pool.clone(),
            limits: Limits {
                dirty_bytes_max: config.dirty_bound,
                daemon_dirty_bytes_max: config.dirty_bound_total,
                map_bytes_max: config.map_bound,
                ..Limits::default()
            },
            cache_bytes: usize::try_from(config.cache).unwrap_or(usize::MAX),
            disk_cache: Some(config.disk_cache),
            cpu_threads: usize::from(config.cpu_threads),
            prices: config.prices,
            grace: config.grace,
            make_pool: true,
        }
    }

    /// Takes the directory, opens (or makes) the pool, and begins a run.
    pub(crate) async fn start(self) -> anyhow::Result<Started> {
        let Settings { data, pool, limits, cache_bytes, disk_cache, cpu_threads, prices, grace, make_pool } =
            self;
        let lock = DirectoryLock::take(&data.local())
            .with_context(|| format!("the data directory {} cannot be used", data.root().display()))?;
        let url = match &pool {
            Some(url) => url.clone(),
            None => data.pool_url()?,
        };
        let edges = store::with_disk(&url, &data.local(), cpu_threads)?;
        let opened = if make_pool {
            Pool::create(edges.world, Properties::default(), cache_bytes).await?
        } else {
            open_pool(edges.world, cache_bytes).await?
        };
        let opened = match disk_cache {
            Some(told) => opened.with_disk_cache(told.unwrap_or_else(|| disk_cache_bytes(&url))).await,
            None => opened,
        };
        // Only a pool that could be opened is worth remembering.
        if let Some(url) = &pool {
            data.remember_pool(url)?;
        }
        let directory = data.identity()?;
        let runtime = Handle::current();
        let spawn: Spawn = Arc::new(move |work| drop(runtime.spawn(work)));
        let host = Host::new(Arc::new(opened), directory, limits, spawn);
        let told = Told { prices, cache_bytes, grace };
        let daemon = Daemon::new(host, edges.traffic, data.clone(), told);
        Ok(Started { daemon, data, directory, _lock: lock })
    }
}
