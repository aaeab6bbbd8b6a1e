//! `esker pool create URL`

use esker_engine::{EngineError, pool::Pool};

use super::show;
use crate::{catalogue, exit::Exit, output::Output, progress::during, store};

/// Options.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where: file://PATH, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX
    url: String,
    /// What volumes may lose with their host, when they say nothing: ephemeral, bounded(Ns), or sync
    #[arg(long, value_name = "VALUE")]
    durability: Option<String>,
    /// How volumes are compressed, when they say nothing: off, lz4, or zstd:LEVEL
    #[arg(long, value_name = "VALUE")]
    compression: Option<String>,
    /// What happens while the store lags behind, when they say nothing: alarm, or stall (writes wait)
    #[arg(long, value_name = "VALUE")]
    on_lag: Option<String>,
    /// How long their old states stay reachable, when they say nothing: from 0s to 3650d
    #[arg(long, value_name = "TIME")]
    history: Option<String>,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(args: Args) -> anyhow::Result<Exit> {
    let (durability, compression) = (args.durability.as_deref(), args.compression.as_deref());
    let (on_lag, history) = (args.on_lag.as_deref(), args.history.as_deref());
    let properties = catalogue::properties(durability, compression, on_lag, history)?;
    let edges = store::without_disk(&args.url)?;
    match Pool::open(edges.world.clone(), 0).await {
        Err(EngineError::NotFound(_)) => {}
        Err(error) => return Err(error.into()),
        Ok(pool) => anyhow::bail!("there is a pool at {} already: {}", catalogue::describe(&pool), pool.id()),
    }
    let pool = during("probing the store", Pool::create(edges.world, properties, 0)).await?;
    let view = show::View::of(&pool).await?;
    args.output.print(&view, || view.text())?;
    Ok(Exit::Done)
}
