//! Which pool a command means, and whether a daemon is asked.

use std::{path::PathBuf, sync::Arc};

use esker_control::Client;
use esker_engine::{EngineError, pool::Pool};
use esker_io::World;

use crate::{config, data::DataDir, progress::during, store};

/// Decoded frames that a command keeps.
pub(crate) const CACHE_BYTES: usize = 64 << 20;

/// The option that says where the data directory is.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Local {
    #[arg(long, value_name = "DIR", help = config::help("data"))]
    pub(crate) data: Option<PathBuf>,
}

impl Local {
    /// The data directory.
    pub(crate) fn directory(&self) -> PathBuf {
        config::data_dir(self.data.as_deref(), &|name| std::env::var(name))
    }

    /// The daemon that must run on it.
    pub(crate) async fn running_daemon(&self) -> anyhow::Result<Client> {
        let socket = DataDir::new(&self.directory()).control_socket();
        match Client::find(&socket).await? {
            Some(client) => Ok(client),
            None => anyhow::bail!("no daemon answers at {}; esker serve starts one", socket.display()),
        }
    }
}

/// The options that say where things are.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Place {
    #[command(flatten)]
    pub(crate) local: Local,
    /// The pool, opened directly: file://PATH or s3://BUCKET/PREFIX [default: that of the data directory]
    #[arg(long, value_name = "URL")]
    pub(crate) pool: Option<String>,
}

/// Whom a command asks.
pub(crate) enum Access {
    /// The daemon that runs.
    Daemon(Client),
    /// The pool itself.
    Pool(Arc<Pool>),
}

impl Place {
    pub(crate) fn data(&self) -> DataDir {
        DataDir::new(&self.local.directory())
    }

    /// The daemon of the data directory, or the pool where none runs or another pool is named.
    pub(crate) async fn access(&self) -> anyhow::Result<Access> {
        if self.pool.is_none()
            && let Some(client) = self.daemon().await?
        {
            return Ok(Access::Daemon(client));
        }
        Ok(Access::Pool(self.open_pool().await?))
    }

    /// The daemon of the data directory, if one runs.
    pub(crate) async fn daemon(&self) -> anyhow::Result<Option<Client>> {
        Ok(Client::find(&self.data().control_socket()).await?)
    }

    /// The pool's URL.
    pub(crate) fn url(&self) -> anyhow::Result<String> {
        match self.named_pool() {
            Some(url) => Ok(url),
            None => self.data().pool_url(),
        }
    }

    /// The pool that the command line or the environment names.
    pub(crate) fn named_pool(&self) -> Option<String> {
        config::pool_url(self.pool.as_deref(), &|name| std::env::var(name))
    }

    /// Opens the pool itself.
    pub(crate) async fn open_pool(&self) -> anyhow::Result<Arc<Pool>> {
        let edges = store::existing(&self.url()?)?;
        Ok(Arc::new(open_pool(edges.world, CACHE_BYTES).await?))
    }
}

/// Opens the pool at the world's object store.
pub(crate) async fn open_pool(world: World, cache_bytes: usize) -> anyhow::Result<Pool> {
    let url = world.store();
    match during("opening the pool", Pool::open(world, cache_bytes)).await {
        Err(EngineError::NotFound(_)) => Err(store::no_pool(&url)),
        outcome => Ok(outcome?),
    }
}
