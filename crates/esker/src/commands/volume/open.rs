//! `esker volume open NAME`

use anyhow::Context;
use esker_control::api::OpenVolume;

use crate::{access::Place, exit::Exit, output::Output, progress::during};

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
    let daemon = args.place.daemon().await?;
    let daemon = daemon.context("no daemon runs here; esker serve opens volumes at its start")?;
    let opened = during("opening", daemon.open(&args.name, &OpenVolume::default())).await?;
    args.output.print(&opened, || match opened.already_open {
        true => format!("volume {} is open already", opened.name),
        false => format!("volume {} is open, with {} records of its log", opened.name, opened.replayed),
    })?;
    Ok(Exit::Done)
}
