//! Which pool a command means, and whether a daemon is asked.

use std::{path::PathBuf, sync::Arc};

use esker_control::Client;
use esker_engine::pool::Pool;

use crate::{data::DataDir, progress::during, store};

/// Decoded frames that a command keeps.
const CACHE_BYTES: usize = 64 << 20;

/// The options that say where things are.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Place {
    /// The data directory; a daemon that runs on it is asked
    #[arg(long, value_name = "DIR", default_value = "./esker-data")]
    pub(crate) data: PathBuf,
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
        DataDir::new(&self.data)
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
        match &self.pool {
            Some(url) => Ok(url.clone()),
            None => self.data().pool_url(),
        }
    }

    /// Opens the pool itself.
    pub(crate) async fn open_pool(&self) -> anyhow::Result<Arc<Pool>> {
        let edges = store::existing(&self.url()?)?;
        Ok(Arc::new(during("opening the pool", Pool::open(edges.world, CACHE_BYTES)).await?))
    }
}
