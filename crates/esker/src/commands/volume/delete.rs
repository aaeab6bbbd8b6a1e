//! `esker volume delete NAME`

use anyhow::ensure;

use crate::{
    access::{Access, Place},
    catalogue,
    exit::Exit,
    output::{Output, confirm},
    transfer::delete,
};

/// Options.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The volume's name
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
    let name = &args.name;
    ensure!(
        !catalogue::is_snapshot(name),
        "{name:?} is no name of a volume; esker snapshot delete deletes snapshots"
    );
    let access = args.place.access().await?;
    let volume = match &access {
        Access::Daemon(client) => client.volume(&args.name).await?,
        Access::Pool(pool) => catalogue::volume(pool, &args.name).await?,
    };
    confirm(args.yes, &format!("Volume {} ({}) and all its data will be gone.", volume.name, volume.id))?;
    let deleted = delete(access, &args.name).await?;
    args.output.print(&deleted, || format!("deleted {}", deleted.deleted))?;
    Ok(Exit::Done)
}
