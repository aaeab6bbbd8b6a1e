//! `esker fork SOURCE NEW`

use esker_control::api::ForkVolume;

use crate::{access::Place, exit::Exit, output::Output, size, transfer::Maker};

/// Options.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A volume as it is now, or a snapshot: VOLUME or VOLUME@SNAPSHOT
    source: String,
    /// The new volume's name: a-z, 0-9, '.', '_' and '-'
    name: String,
    /// Have the daemon that runs serve it at once
    #[arg(long)]
    open: bool,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(args: Args) -> anyhow::Result<Exit> {
    let Args { source, name, open, place, output } = args;
    let maker = Maker::of(&place, &source).await?;
    let serves = matches!(maker, Maker::Asked(_));
    let made = maker.fork(&source, ForkVolume { name, open: open && serves }).await;
    let exit = maker.end().await;
    let volume = made?;
    output.print(&volume, || {
        let bytes = volume.stored.as_ref().map_or(0, |stored| stored.size_bytes);
        let hint = if serves && !open {
            format!("; serve it: esker volume open {}", volume.name)
        } else {
            String::new()
        };
        format!("forked {} from {source}, {}{hint}", volume.name, size::show(bytes))
    })?;
    anyhow::ensure!(serves || !open, "no daemon runs here, so nobody serves {}", volume.name);
    Ok(exit)
}
