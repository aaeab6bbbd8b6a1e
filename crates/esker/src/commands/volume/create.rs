//! `esker volume create NAME SIZE`

use esker_control::api::CreateVolume;

use crate::{
    access::{Access, Place},
    catalogue,
    exit::Exit,
    output::Output,
    progress::during,
    size,
};

/// Options.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The volume's name: a-z, 0-9, '.', '_' and '-'
    name: String,
    /// Its size, from 1M to 1P; it takes space as it is written to
    #[arg(value_parser = size::parse)]
    size: u64,
    /// What may be lost with the host: ephemeral, bounded(Ns), or sync [default: as the pool says]
    #[arg(long, value_name = "VALUE")]
    durability: Option<String>,
    /// How it is compressed: off, lz4, or zstd:LEVEL [default: as the pool says]
    #[arg(long, value_name = "VALUE")]
    compression: Option<String>,
    /// What happens while the store lags behind that: alarm, or stall (writes wait) [default: as the pool says]
    #[arg(long, value_name = "VALUE")]
    on_lag: Option<String>,
    /// How long old states stay reachable, from 0s to 3650d [default: as the pool says]
    #[arg(long, value_name = "TIME")]
    history: Option<String>,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(args: Args) -> anyhow::Result<Exit> {
    let wanted = CreateVolume {
        name: args.name,
        size_bytes: args.size,
        durability: args.durability,
        compression: args.compression,
        on_lag: args.on_lag,
        history: args.history,
    };
    let properties = catalogue::check_new(&wanted)?;
    let volume = match args.place.access().await? {
        Access::Daemon(client) => during("creating", client.create(&wanted)).await?,
        Access::Pool(pool) => {
            during("creating", pool.create_volume(&wanted.name, wanted.size_bytes, properties)).await?;
            catalogue::volume(&pool, &wanted.name).await?
        }
    };
    args.output.print(&volume, || format!("created {}, {}", volume.name, size::show(wanted.size_bytes)))?;
    Ok(Exit::Done)
}
