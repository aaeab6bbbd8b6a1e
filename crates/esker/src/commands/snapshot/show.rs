//! `esker snapshot show VOLUME@NAME`

use esker_control::api::Snapshot;

use super::{find, show_labels};
use crate::{
    access::Place,
    exit::Exit,
    output::{Output, Table},
    size, time,
};

/// Options.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The snapshot: VOLUME@SNAPSHOT
    name: String,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(args: Args) -> anyhow::Result<Exit> {
    let (snapshot, _) = find(&args.place, &args.name).await?;
    args.output.print(&snapshot, || text(&snapshot))?;
    Ok(if snapshot.problem.is_none() { Exit::Done } else { Exit::Failed })
}

fn text(snapshot: &Snapshot) -> String {
    let mut table = Table::new();
    table.fact("name", &snapshot.name);
    table.fact("id", &snapshot.id);
    table.fact("state", &snapshot.state);
    if let Some(problem) = &snapshot.problem {
        table.fact("problem", problem);
    }
    table.fact("made", format!("{} UTC", time::utc(snapshot.created_ms)));
    table.fact("size", format!("{} ({} bytes)", size::show(snapshot.size_bytes), snapshot.size_bytes));
    table.fact("holds", format!("up to write {}", snapshot.sequence));
    if let Some(source) = &snapshot.source {
        let name = source.name.as_ref().unwrap_or(&source.id);
        table.fact("made from", format!("{name}, head {}", source.head));
    }
    if !snapshot.labels.is_empty() {
        table.fact("labels", show_labels(&snapshot.labels));
    }
    if !snapshot.forks.is_empty() {
        table.fact("forks", snapshot.forks.join(" "));
    }
    table.text()
}
