//! `esker snapshot delete VOLUME@NAME`

use super::find;
use crate::{
    access::Place,
    exit::Exit,
    output::{Output, confirm},
    transfer::delete,
};

/// Options.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The snapshot: VOLUME@SNAPSHOT
    name: String,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(args: Args) -> anyhow::Result<Exit> {
    let (snapshot, access) = find(&args.place, &args.name).await?;
    let stays = match snapshot.forks.len() {
        0 => String::new(),
        forks => format!(" What was forked from it ({forks}) stays."),
    };
    confirm(args.yes, &format!("Snapshot {} ({}) will be gone.{stays}", snapshot.name, snapshot.id))?;
    let deleted = delete(access, &args.name).await?;
    args.output.print(&deleted, || format!("deleted {}", deleted.deleted))?;
    Ok(Exit::Done)
}
