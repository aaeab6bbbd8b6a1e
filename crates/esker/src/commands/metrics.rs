//! `esker metrics`

use crate::{access::Local, exit::Exit, output::Output};

/// Options.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    local: Local,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(args: Args) -> anyhow::Result<Exit> {
    let metrics = args.local.running_daemon().await?.metrics().await?;
    args.output.print(&metrics, || esker_control::exposition(&metrics))?;
    Ok(Exit::Done)
}
