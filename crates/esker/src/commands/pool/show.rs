//! `esker pool show`

use esker_control::api::Setting;
use esker_engine::pool::Pool;
use serde::Serialize;

use crate::{
    access::Place,
    catalogue::{self, Settings},
    exit::Exit,
    output::{Output, Table},
};

/// Options.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    output: Output,
}

/// A pool, as it is shown.
#[derive(Debug, Serialize)]
pub(super) struct View {
    url: String,
    id: String,
    created_ms: u64,
    durability: Setting,
    compression: Setting,
    on_lag: Setting,
    history: Setting,
    volumes: usize,
}

impl View {
    pub(super) async fn of(pool: &Pool) -> anyhow::Result<View> {
        let Settings { durability, compression, on_lag, history } =
            catalogue::settings(None, &pool.record().properties);
        Ok(View {
            url: catalogue::describe(pool),
            id: pool.id().to_string(),
            created_ms: pool.record().created_ms,
            durability,
            compression,
            on_lag,
            history,
            volumes: pool.names().await?.len(),
        })
    }

    pub(super) fn text(&self) -> String {
        let mut table = Table::new();
        table.fact("pool", &self.url);
        table.fact("id", &self.id);
        table.fact("durability", format!("{} (from: {})", self.durability.value, self.durability.source));
        table.fact("compression", format!("{} (from: {})", self.compression.value, self.compression.source));
        table.fact("on lag", format!("{} (from: {})", self.on_lag.value, self.on_lag.source));
        table.fact("history", format!("{} (from: {})", self.history.value, self.history.source));
        table.fact("volumes", self.volumes);
        table.text()
    }
}

pub(super) async fn run(args: Args) -> anyhow::Result<Exit> {
    let view = View::of(&*args.place.open_pool().await?).await?;
    args.output.print(&view, || view.text())?;
    Ok(Exit::Done)
}
