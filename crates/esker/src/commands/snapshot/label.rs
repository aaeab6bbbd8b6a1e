//! `esker snapshot label VOLUME@NAME KEY=VALUE… KEY-…`

use esker_control::api::LabelSnapshot;
use esker_format::head::valid_label;

use super::{check_name, parse_label, show_labels};
use crate::{
    access::{Access, Place},
    catalogue::Made,
    exit::Exit,
    output::Output,
    progress::during,
    transfer::passing,
};

/// Options.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The snapshot: VOLUME@SNAPSHOT
    name: String,
    /// KEY=VALUE sets a label, KEY- takes one away
    #[arg(required = true, value_name = "KEY=VALUE|KEY-")]
    change: Vec<String>,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(args: Args) -> anyhow::Result<Exit> {
    let name = &args.name;
    check_name(name)?;
    let mut request = LabelSnapshot::default();
    for change in &args.change {
        match change.strip_suffix('-').filter(|_| !change.contains('=')) {
            Some(key) => {
                valid_label(key, "")?;
                request.remove.push(key.to_owned());
            }
            None => {
                let (key, value) = parse_label(change).map_err(anyhow::Error::msg)?;
                request.set.insert(key, value);
            }
        }
    }
    let snapshot = match args.place.access().await? {
        Access::Daemon(client) => during("labelling", client.label(name, &request)).await?,
        Access::Pool(pool) => {
            let set = request.set.into_iter().collect();
            let host = passing(pool);
            let head = during("labelling", host.label(name, &set, &request.remove)).await?;
            Made(name, &head).told()
        }
    };
    args.output.print(&snapshot, || match snapshot.labels.is_empty() {
        true => format!("{name} has no labels"),
        false => format!("{name}: {}", show_labels(&snapshot.labels)),
    })?;
    Ok(Exit::Done)
}
