//! `esker quarantine ROOT`

use esker_engine::reclaim;
use esker_format::ids::VolumeId;
use serde::Serialize;

use crate::{
    access::Place,
    catalogue,
    exit::Exit,
    output::{Output, Table},
};

/// Options.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The volume that cannot be read: its name, or its id where the name says nothing any more
    root: String,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    output: Output,
}

/// What was done.
#[derive(Debug, Serialize)]
struct View {
    volume: String,
    object: String,
}

pub(super) async fn run(args: Args) -> anyhow::Result<Exit> {
    let pool = args.place.open_pool().await?;
    let volume = match args.root.parse::<VolumeId>() {
        Ok(volume) => volume,
        Err(_) => {
            let found = pool.lookup(&args.root).await?;
            let what = if catalogue::is_snapshot(&args.root) { "snapshot" } else { "volume" };
            found.ok_or_else(|| anyhow::anyhow!("{what} {} does not exist", args.root))?
        }
    };
    anyhow::ensure!(
        !pool.head_numbers(volume).await?.is_empty(),
        "volume {volume} has no heads in this pool"
    );
    reclaim::quarantine(&pool, volume).await?;
    let view = View { volume: volume.to_string(), object: esker_format::names::quarantine(volume) };
    args.output.print(&view, || {
        let mut table = Table::new();
        table.fact("volume", &view.volume);
        table.fact("set aside by", &view.object);
        table.text()
    })?;
    Ok(Exit::Done)
}
