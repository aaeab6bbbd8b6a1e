//! `esker reclaim`

use std::time::Duration;

use esker_control::api::{Objects, ReclaimPool, Reclaimed};

use super::serve::Settings;
use crate::{
    access::Place,
    config::{self, Given, checked, help},
    exit::Exit,
    output::{Output, Table},
    progress::{Progress, Unit, during},
    size, time,
};

/// Options.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Look only: say what lives, what waits and until when, and what would be deleted
    #[arg(long)]
    dry_run: bool,
    /// Delete however much of the pool it is
    #[arg(long)]
    force: bool,
    #[arg(long, value_name = "TIME", help = help("grace"), value_parser = checked("grace"))]
    grace: Option<String>,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(args: Args) -> anyhow::Result<Exit> {
    let request = ReclaimPool { dry_run: args.dry_run, force: args.force };
    let report = match args.place.daemon().await? {
        Some(client) => {
            anyhow::ensure!(
                args.grace.is_none(),
                "the daemon that runs has a grace of its own; leave --grace out"
            );
            let named = args.place.named_pool();
            anyhow::ensure!(named.is_none(), "the daemon that runs has a pool of its own; leave --pool out");
            during("reclaiming", client.reclaim(&request)).await?
        }
        None => alone(&args, request).await?,
    };
    args.output.print(&report, || text(&report))?;
    Ok(Exit::Done)
}

/// Without a daemon: as a run of its own, which holds the directory.
async fn alone(args: &Args, request: ReclaimPool) -> anyhow::Result<Reclaimed> {
    let given = Given {
        file: None,
        data: args.place.local.data.clone(),
        flags: args.grace.iter().map(|grace| ("grace", grace.clone())).collect(),
        volumes: Vec::new(),
        environment: &|name| std::env::var(name),
    };
    let grace: Duration = config::load(given).config()?.grace;
    let started = Settings { grace, ..Settings::of(&args.place) }.start().await?;
    let progress = Progress::new("deleting", Unit::Things);
    let set = |done, total| progress.set(done, total);
    let work = async { started.daemon.reclaim_now(request, false, &set).await };
    let report = if progress.is_shown() { work.await } else { during("reclaiming", work).await };
    Ok(report?)
}

fn text(report: &Reclaimed) -> String {
    let show = |objects: &Objects| format!("{} ({})", objects.objects, size::show(objects.bytes));
    let grace = time::show(Duration::from_millis(report.grace_ms));
    let mut table = Table::new();
    table.fact("volumes", report.volumes);
    table.fact("roots", format!("{}, with {} pages", report.roots, report.pages));
    table.fact("live", format!("{}: a head or a reader reaches them", show(&report.live)));
    table.fact("in flight", format!("{}: uploaded, not committed yet", show(&report.in_flight)));
    let next =
        report.next_due_ms.map(|ms| format!(", the next for {} more", time::show(Duration::from_millis(ms))));
    let waits = format!("{}: dead, kept for {grace}{}", show(&report.waiting), next.unwrap_or_default());
    table.fact("waiting", waits);
    match (report.dry_run, report.due.objects) {
        (true, _) => table.fact("would go", show(&report.due)),
        (false, 0) => {}
        (false, _) => table.fact("left", format!("{}: due, for the next round", show(&report.due))),
    }
    if !report.dry_run {
        table.fact(
            "deleted",
            format!("{}, and {} heads of deleted volumes", show(&report.deleted), report.heads_deleted),
        );
    }
    if report.rewritten.objects > 0 || report.resealed > 0 {
        let moved = format!("{}, and {} blocks written anew", show(&report.rewritten), report.resealed);
        table.fact("rewritten", moved);
    }
    table.text()
}
