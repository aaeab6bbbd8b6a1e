//! `esker volume show NAME`

use std::time::Duration;

use esker_control::api::{Figures, Served, Setting, Stored, Volume};

use crate::{
    access::{Access, Place},
    catalogue,
    exit::Exit,
    output::{Output, Table},
    size, time,
};

/// Options.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The volume's name
    name: String,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(args: Args) -> anyhow::Result<Exit> {
    let volume = match args.place.access().await? {
        Access::Daemon(client) => client.volume(&args.name).await?,
        Access::Pool(pool) => catalogue::volume(&pool, &args.name).await?,
    };
    args.output.print(&volume, || text(&volume))?;
    Ok(if volume.stored.is_some() { Exit::Done } else { Exit::Failed })
}

fn text(volume: &Volume) -> String {
    let mut table = Table::new();
    table.fact("name", &volume.name);
    table.fact("id", &volume.id);
    if let Some(stored) = &volume.stored {
        in_store(&mut table, stored);
    }
    if let Some(problem) = &volume.problem {
        table.fact("problem", problem);
    }
    match &volume.served {
        Some(served) => here(&mut table, served),
        None => table.fact("here", "not served"),
    }
    table.text()
}

fn in_store(table: &mut Table, stored: &Stored) {
    table.fact("size", format!("{} ({} bytes)", size::show(stored.size_bytes), stored.size_bytes));
    table.fact("durability", setting(&stored.durability));
    table.fact("compression", setting(&stored.compression));
    table.fact("on lag", setting(&stored.on_lag));
    table.fact("history", setting(&stored.history));
    table.fact("head", format!("{}, {}, epoch {}", stored.head, stored.kind, stored.epoch));
    if let Some(source) = &stored.source {
        table.fact(
            "forked from",
            format!("{}, head {}", source.name.as_ref().unwrap_or(&source.id), source.head),
        );
    }
    table.fact("in the store", format!("up to sequence {}", stored.sequence));
    table.fact("tail", format!("{} segments, {} pieces", stored.tail_segments, stored.tail_pieces));
}

fn setting(setting: &Setting) -> String {
    format!("{} (from: {})", setting.value, setting.source)
}

fn here(table: &mut Table, served: &Served) {
    table.fact("here", served.state);
    if let Some(problem) = &served.problem {
        table.fact("problem here", problem);
    }
    if let Some(figures) = &served.figures {
        let Figures { sequence, synced_sequence, committed_sequence, .. } = figures;
        table.fact("written", format!("up to sequence {sequence}, on the local disk {synced_sequence}"));
        let lag = if figures.lags { ", more than promised" } else { "" };
        let age = time::show(Duration::from_millis(figures.lag_ms));
        table.fact("in the store", format!("up to sequence {committed_sequence}, behind by {age}{lag}"));
        let (dirty, bound) = (size::show(figures.dirty_bytes), size::show(figures.dirty_bytes_max));
        table.fact("in no segment", format!("{dirty} of at most {bound}"));
        table.fact("map", size::show(figures.map_bytes));
    }
}
