//! `esker recover VOLUME --discard-after POSITION`

use esker_control::api::{OpenVolume, Opened};

use super::serve::{Drained, Settings, drain};
use crate::{
    access::Place,
    exit::Exit,
    output::{Output, confirm},
    progress::during,
};

/// Options.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The volume's name
    volume: String,
    /// The log position that the message about the damage names; what the log holds from there on is given up
    #[arg(long, value_name = "POSITION")]
    discard_after: u64,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(args: Args) -> anyhow::Result<Exit> {
    let question = format!(
        "What the local log of volume {} holds at and behind position {} will be given up.",
        args.volume, args.discard_after
    );
    confirm(args.yes, &question)?;
    let request = OpenVolume { discard_after: Some(args.discard_after), read_only: false };
    if let Some(client) = args.place.daemon().await? {
        let opened = during("opening", client.open(&args.volume, &request)).await?;
        anyhow::ensure!(!opened.already_open, "volume {} is open already; nothing was given up", args.volume);
        args.output.print(&opened, || format!("{}\nthe daemon serves it", text(&opened)))?;
        return Ok(Exit::Done);
    }
    let started = Settings::of(&args.place).start().await?;
    let opened = during("opening", started.daemon.open_volume(&args.volume, &request)).await?;
    let drained = drain(&started.daemon, None).await;
    args.output.print(&opened, || text(&opened))?;
    Ok(if drained == Drained::All { Exit::Done } else { Exit::NotAllStored })
}

fn text(opened: &Opened) -> String {
    let lost = match &opened.torn {
        Some(torn) => format!(
            "given up: the log at and behind position {}, with {} records that could be read",
            torn.position, torn.records
        ),
        None => "given up: nothing, the log is whole up to its end".to_owned(),
    };
    let mut text =
        format!("volume {} is open again, with {} records of its log\n{lost}", opened.name, opened.replayed);
    for path in &opened.set_aside {
        text.push_str(&format!("\nset aside, not replayed: {path}"));
    }
    text
}
