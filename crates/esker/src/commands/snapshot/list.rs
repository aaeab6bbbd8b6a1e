//! `esker snapshot list [VOLUME]`

use esker_control::api::Snapshots;
use esker_format::names;

use super::{all, show_labels};
use crate::{
    access::Place,
    exit::Exit,
    output::{Output, Table},
    size, time,
};

/// Options.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only those of this volume
    volume: Option<String>,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(args: Args) -> anyhow::Result<Exit> {
    let access = args.place.access().await?;
    let mut snapshots = all(&access).await?;
    if let Some(volume) = &args.volume {
        let of_it = |name: &str| names::snapshot_parts(name).is_some_and(|(of, _)| of == volume);
        snapshots.snapshots.retain(|snapshot| of_it(&snapshot.name));
    }
    args.output.print(&snapshots, || text(&snapshots))?;
    Ok(Exit::Done)
}

/// By volume, the oldest first, each with what was forked from it below.
fn text(snapshots: &Snapshots) -> String {
    if snapshots.snapshots.is_empty() {
        return format!("no snapshots in {}", snapshots.pool.url);
    }
    let mut sorted: Vec<_> = snapshots
        .snapshots
        .iter()
        .map(|snapshot| (names::snapshot_parts(&snapshot.name).unwrap_or((&snapshot.name, "")), snapshot))
        .collect();
    sorted.sort_by_key(|((volume, name), snapshot)| (*volume, snapshot.created_ms, *name));
    let mut table = Table::with_head(["NAME", "MADE (UTC)", "SIZE", "LABELS"]);
    let mut before = "";
    for ((volume, name), snapshot) in sorted {
        if volume != before {
            table.row([volume.to_owned(), String::new(), String::new(), String::new()]);
            before = volume;
        }
        let labels = match (&snapshot.problem, snapshot.state.as_str()) {
            (Some(problem), _) => problem.clone(),
            (None, "frozen") => show_labels(&snapshot.labels),
            (None, _) => "was never finished".to_owned(),
        };
        let made = time::utc(snapshot.created_ms);
        table.row([format!("  @{name}"), made, size::show(snapshot.size_bytes), labels]);
        for fork in &snapshot.forks {
            table.row([format!("    -> {fork}"), String::new(), String::new(), String::new()]);
        }
    }
    table.text()
}
