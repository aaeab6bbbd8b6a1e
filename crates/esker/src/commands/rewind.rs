//! `esker rewind VOLUME --to STATE`

use esker_control::api::{RewindVolume, Rewound};
use esker_format::Time;

use super::serve::{Drained, Settings, drain};
use crate::{
    access::Place,
    exit::Exit,
    moment,
    output::{Output, confirm},
    progress::during,
    size, store, time,
};

/// Options.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The volume's name
    volume: String,
    /// The state: a head's number, '10m ago' or -10m, HH:MM in UTC, a time such as 2026-11-21T14:30:00Z, or @SNAPSHOT
    #[arg(long, value_name = "STATE", allow_hyphen_values = true)]
    to: String,
    /// Leave the volume as it is, and make a new one that has the state
    #[arg(long = "as", value_name = "NEW")]
    new: Option<String>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(args: Args) -> anyhow::Result<Exit> {
    let to = moment::parse(&args.to, time::now_ms()).map_err(anyhow::Error::msg)?;
    let request = RewindVolume { to, new: args.new.clone() };
    if args.new.is_none() {
        let question = format!(
            "Volume {} will have its state of {}. The one that it has now is kept as a snapshot.",
            args.volume, args.to
        );
        confirm(args.yes, &question)?;
    }
    let asked = if args.place.pool.is_none() { args.place.daemon().await? } else { None };
    if let Some(client) = asked {
        let rewound = during("going back", client.rewind(&args.volume, &request)).await?;
        args.output.print(&rewound, || text(&args, &rewound))?;
        return Ok(Exit::Done);
    }
    store::must_exist(&args.place.url()?)?;
    let started = during("opening the pool", Settings::of(&args.place).start()).await?;
    let outcome = during("going back", started.daemon.rewind_now(&args.volume, request)).await;
    let drained = drain(&started.daemon, None).await;
    let rewound = outcome?;
    args.output.print(&rewound, || text(&args, &rewound))?;
    Ok(if drained == Drained::All { Exit::Done } else { Exit::NotAllStored })
}

fn text(args: &Args, rewound: &Rewound) -> String {
    let Args { volume, to, .. } = args;
    let Rewound { name, head, written_ms, size_bytes, kept } = rewound;
    let (written, size) = (Time(*written_ms), size::show(*size_bytes));
    let of = if to.starts_with('@') { format!("{volume}{to}") } else { format!("head {head}") };
    let state = format!("the state of {of}, written {written}, {size}");
    match kept {
        Some(kept) => format!("volume {volume} has {state}; the one before is kept as {kept}"),
        None => format!("made volume {name} with {state}"),
    }
}
