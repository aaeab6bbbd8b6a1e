//! `esker volume history NAME`

use std::time::Duration;

use anyhow::Context;
use esker_control::api::{History, Point, Target};

use crate::{
    access::{Access, Place},
    catalogue,
    exit::Exit,
    moment,
    output::{Output, Table},
    progress::during,
    size, time,
};

/// Options.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The volume's name
    name: String,
    /// Only the state that a rewind to there would give: a head's number, '10m ago' or -10m, HH:MM in UTC, or a time such as
    /// 2026-11-21T14:30:00Z
    #[arg(long, value_name = "STATE", allow_hyphen_values = true)]
    at: Option<String>,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(args: Args) -> anyhow::Result<Exit> {
    let mut history = match args.place.access().await? {
        Access::Daemon(client) => during("reading the history", client.history(&args.name)).await?,
        Access::Pool(pool) => {
            let volume = pool.lookup(&args.name).await?;
            let volume = volume.with_context(|| format!("volume {} does not exist", args.name))?;
            let points = during("reading the history", pool.history(volume)).await?;
            catalogue::history(&pool, &args.name, &points).await?
        }
    };
    if let Some(at) = &args.at {
        let point = resolve(&history.points, at)?;
        history.points = vec![point];
    }
    args.output.print(&history, || text(&history))?;
    Ok(Exit::Done)
}

fn resolve(points: &[Point], at: &str) -> anyhow::Result<Point> {
    let found = match moment::parse(at, time::now_ms()).map_err(anyhow::Error::msg)? {
        Target::Head(number) => points.iter().find(|point| point.number == number),
        Target::TimeMs(ms) => points.iter().rev().find(|point| point.reachable && point.written_ms <= ms),
        Target::Snapshot(_) => anyhow::bail!("a snapshot is a state by itself: esker rewind --to {at}"),
    };
    found.cloned().with_context(|| format!("no state is left from {at}"))
}

fn text(history: &History) -> String {
    let mut table = Table::with_head(["HEAD", "WRITTEN (UTC)", "AGE", "KIND", "SEQUENCE", "SIZE", ""]);
    for point in &history.points {
        table.row([
            point.number.to_string(),
            point.written.clone(),
            time::show(Duration::from_millis(point.age_ms)),
            point.kind.clone(),
            point.sequence.to_string(),
            size::show(point.size_bytes),
            if point.reachable { String::new() } else { "out of reach: pieces are gone".to_owned() },
        ]);
    }
    format!("{}history: {} (from: {})", table.text(), history.history.value, history.history.source)
}
