//! `esker volume list`

use esker_control::api::{Origin, Volume, Volumes};

use crate::{
    access::{Access, Place},
    catalogue,
    exit::Exit,
    output::{Output, Table},
    progress::during,
    size,
};

/// Options.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(args: Args) -> anyhow::Result<Exit> {
    let volumes = match args.place.access().await? {
        Access::Daemon(client) => during("listing", client.volumes()).await?,
        Access::Pool(pool) => Volumes {
            pool: catalogue::pool(&pool),
            volumes: during("listing", catalogue::volumes(&pool)).await?,
        },
    };
    args.output.print(&volumes, || text(&volumes))?;
    Ok(Exit::Done)
}

fn text(volumes: &Volumes) -> String {
    if volumes.volumes.is_empty() {
        return format!("no volumes in {}", volumes.pool.url);
    }
    let mut table = Table::with_head(["NAME", "SIZE", "DURABILITY", "COMPRESSION", "HEAD", "HERE", "FROM"]);
    for volume in &volumes.volumes {
        table.row(row(volume));
    }
    table.text()
}

fn row(volume: &Volume) -> [String; 7] {
    let here = volume.served.as_ref().map_or_else(|| "-".to_owned(), |served| served.state.to_string());
    match &volume.stored {
        Some(stored) => [
            volume.name.clone(),
            size::show(stored.size_bytes),
            stored.durability.value.clone(),
            stored.compression.value.clone(),
            format!("{} {}", stored.head, stored.kind),
            here,
            stored.source.as_ref().map_or_else(|| "-".to_owned(), from),
        ],
        None => {
            let problem = volume.problem.clone().unwrap_or_default();
            [volume.name.clone(), "?".into(), "?".into(), "?".into(), problem, here, "?".into()]
        }
    }
}

/// What a volume was forked from.
fn from(source: &Origin) -> String {
    source.name.clone().unwrap_or_else(|| format!("{} (gone)", source.id))
}
