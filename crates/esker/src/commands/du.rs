//! `esker du`

use esker_control::api::{Objects, Space, VolumeSpace};
use esker_engine::{core::grace::Verdict, pool::Pool, space::measure};

use crate::{
    access::{Access, Place},
    daemon,
    exit::Exit,
    output::{Output, Table},
    progress::{Progress, Unit, during},
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
    let space = measured(&args.place.access().await?).await?;
    args.output.print(&space, || text(&space))?;
    Ok(Exit::Done)
}

/// Asks the daemon, or measures the pool.
pub(super) async fn measured(access: &Access) -> anyhow::Result<Space> {
    match access {
        Access::Daemon(client) => Ok(during("measuring", client.space()).await?),
        Access::Pool(pool) => alone(pool).await,
    }
}

/// Without a daemon. How long what is dead is known to the run that reclaims.
async fn alone(pool: &Pool) -> anyhow::Result<Space> {
    let progress = Progress::new("segments", Unit::Things);
    let space = measure(pool, &|done, total| progress.set(done, total)).await?;
    Ok(daemon::space::told(pool, &space, &Verdict { due: Vec::new(), waiting: Vec::new() }))
}

fn text(space: &Space) -> String {
    let mut text = volumes(&space.volumes);
    text.push('\n');
    let mut table = Table::new();
    let objects = |objects: &Objects| format!("{} objects", objects.objects);
    let mut line = |what: &str, bytes: u64, more: &str| {
        table.row([what.to_owned(), size::show(bytes), more.to_owned()]);
    };
    line("stored", space.stored.bytes, &objects(&space.stored));
    line("  exclusive", space.exclusive_bytes, "blocks that one volume or snapshot reaches");
    line("  shared", space.shared_bytes, "blocks that several reach");
    line("  dead", space.dead_bytes, "blocks that nothing reaches, in segments that live");
    line("  due", space.due.bytes, "dead segments and packs: the next round deletes them");
    line("  waiting", space.waiting.bytes, "dead segments and packs, until the grace is over");
    line("  in flight", space.in_flight.bytes, "uploaded, not committed yet");
    line("  index", space.index_bytes, "headers, indexes and trailers of segments");
    line("  pages", space.pages.bytes, "the maps");
    line("  records", space.records.bytes, "heads, names and the like");
    line("reclaimable", space.reclaimable_bytes, "due, and dead");
    text.push_str(&table.text());
    if !space.pinned.is_empty() {
        text.push('\n');
        let mut table = Table::with_head(["PINNED BY", "BYTES"]);
        space.pinned.iter().for_each(|pinned| table.row([pinned.by.clone(), size::show(pinned.bytes)]));
        text.push_str(&table.text());
    }
    text
}

fn volumes(volumes: &[VolumeSpace]) -> String {
    let head = ["NAME", "SIZE", "MAPPED", "REFERENCED", "SHARED", "EXCLUSIVE", "HISTORY"];
    let mut table = Table::with_head(head);
    for volume in volumes {
        let bytes = [
            volume.size_bytes,
            volume.mapped_bytes,
            volume.referenced_bytes,
            volume.shared_bytes,
            volume.exclusive_bytes,
            volume.history_bytes,
        ];
        let [size, mapped, referenced, shared, exclusive, history] = bytes.map(size::show);
        table.row([volume.name.clone(), size, mapped, referenced, shared, exclusive, history]);
    }
    table.text()
}
