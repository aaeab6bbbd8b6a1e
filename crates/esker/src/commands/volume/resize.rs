//! `esker volume resize NAME SIZE`

use anyhow::Context;
use esker_control::api::ResizeVolume;

use crate::{access::Place, exit::Exit, output::Output, size, transfer::Session};

/// Options.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The volume's name
    name: String,
    /// Its new size, from 1M to 1P; smaller only where everything behind that is holes
    #[arg(value_parser = size::parse)]
    size: u64,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(args: Args) -> anyhow::Result<Exit> {
    let session = Session::to_write(&args.place).await?;
    let outcome = resize(&args, &session).await;
    let exit = session.end().await;
    let text = outcome?;
    let name = &args.name;
    let volume = session.find(name).await?.with_context(|| format!("volume {name} is gone"))?;
    args.output.print(&volume, || text)?;
    Ok(exit)
}

/// Does it, and says what it means for guests.
async fn resize(args: &Args, session: &Session) -> anyhow::Result<String> {
    let name = &args.name;
    let volume = session.find(name).await?.with_context(|| format!("volume {name} does not exist"))?;
    let before = session.open(&volume).await?.size_bytes;
    session.resize(name, &ResizeVolume { size_bytes: args.size }).await?;
    let (before, now) = (size::show(before), size::show(args.size));
    Ok(if session.is_asked() {
        format!("resized {name} from {before} to {now}; connections that are open keep the old size")
    } else {
        format!("resized {name} from {before} to {now}; no daemon runs here, so nobody has it open")
    })
}
