//! `esker snapshot create VOLUME[@NAME]`

use std::time::{SystemTime, UNIX_EPOCH};

use esker_control::api::CreateSnapshot;
use esker_format::names;

use super::parse_label;
use crate::{access::Place, exit::Exit, output::Output, size, time, transfer::Maker};

/// Options.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The volume, and what the snapshot is called [default: the time, UTC]
    #[arg(value_name = "VOLUME[@NAME]")]
    name: String,
    /// A label for it. May be given often
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_label)]
    label: Vec<(String, String)>,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(args: Args) -> anyhow::Result<Exit> {
    let (volume, name) = match names::snapshot_parts(&args.name) {
        Some((volume, name)) => (volume.to_owned(), name.to_owned()),
        None => (args.name.clone(), now()),
    };
    let maker = Maker::of(&args.place, &volume).await?;
    let request = CreateSnapshot { name, labels: args.label.into_iter().collect() };
    let made = maker.snapshot(&volume, request).await;
    let exit = maker.end().await;
    let snapshot = made?;
    args.output.print(&snapshot, || {
        format!(
            "made {}, {}, up to write {}",
            snapshot.name,
            size::show(snapshot.size_bytes),
            snapshot.sequence
        )
    })?;
    Ok(exit)
}

/// The time, as a snapshot can be called.
fn now() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    time::utc(since.as_millis() as u64).replace([' ', ':'], "-")
}
