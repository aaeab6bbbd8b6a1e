//! `esker snapshot list [VOLUME]`

use esker_control::api::{SnapshotSpace, Snapshots};
use esker_format::names;

use super::{all, show_labels};
use crate::{
    access::Place,
    commands::du::measured,
    exit::Exit,
    output::{Output, Table},
    size, time,
};

/// Options.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only those of this volume
    volume: Option<String>,
    /// Measure what each takes in the store: reads the maps of the pool
    #[arg(long)]
    space: bool,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(args: Args) -> anyhow::Result<Exit> {
    if let Some(volume) = &args.volume {
        names::valid_volume_name(volume)?;
    }
    let access = args.place.access().await?;
    let mut snapshots = all(&access).await?;
    if let Some(volume) = &args.volume {
        let of_it = |name: &str| names::snapshot_parts(name).is_some_and(|(of, _)| of == volume);
        snapshots.snapshots.retain(|snapshot| of_it(&snapshot.name));
    }
    if args.space {
        let space = measured(&access).await?;
        for snapshot in &mut snapshots.snapshots {
            let found = space.volumes.iter().find(|volume| volume.id == snapshot.id);
            snapshot.space = found.map(|found| SnapshotSpace {
                shared_bytes: found.shared_bytes,
                exclusive_bytes: found.exclusive_bytes,
            });
        }
    }
    args.output.print(&snapshots, || match (&args.volume, snapshots.snapshots.is_empty()) {
        (Some(volume), true) => format!("no snapshots of volume {volume} in {}", snapshots.pool.url),
        _ => text(&snapshots),
    })?;
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
    let mut table = Table::with_head(["NAME", "MADE (UTC)", "SIZE", "SHARED", "EXCLUSIVE", "LABELS"]);
    let heading =
        |name: String| [name, String::new(), String::new(), String::new(), String::new(), String::new()];
    let mut before = "";
    for ((volume, name), snapshot) in sorted {
        if volume != before {
            table.row(heading(volume.to_owned()));
            before = volume;
        }
        let labels = match (&snapshot.problem, snapshot.state.as_str()) {
            (Some(problem), _) => problem.clone(),
            (None, "frozen") => show_labels(&snapshot.labels),
            (None, _) => "was never finished".to_owned(),
        };
        let made = time::utc(snapshot.created_ms);
        let space =
            snapshot.space.as_ref().map(|space| [space.shared_bytes, space.exclusive_bytes].map(size::show));
        let [shared, exclusive] = space.unwrap_or_else(|| ["-".to_owned(), "-".to_owned()]);
        table.row([format!("  @{name}"), made, size::show(snapshot.size_bytes), shared, exclusive, labels]);
        for fork in &snapshot.forks {
            table.row(heading(format!("    -> {fork}")));
        }
    }
    table.text()
}
