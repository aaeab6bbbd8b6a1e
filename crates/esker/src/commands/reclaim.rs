//! `esker reclaim`

use std::time::Duration;

use esker_control::api::{Objects, Reasons, ReclaimPool, Reclaimed};

use super::serve::Settings;
use crate::{
    access::Place,
    config::{self, Given, checked, help},
    exit::Exit,
    output::{Output, Table},
    progress::{Progress, Unit, during},
    size, time,
};

/// Segments that are shown one by one.
const SEGMENTS_SHOWN: usize = 20;

/// Options.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Look only: say what lives, what waits and until when, what would be deleted, and why every segment stays
    #[arg(long)]
    dry_run: bool,
    /// Delete however much of the pool it is
    #[arg(long)]
    force: bool,
    /// Leave guests the store and the processors, as the daemon's own rounds do
    #[arg(long)]
    gently: bool,
    #[arg(long, value_name = "TIME", help = help("grace"), value_parser = checked("grace"))]
    grace: Option<String>,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(args: Args) -> anyhow::Result<Exit> {
    let request = ReclaimPool { dry_run: args.dry_run, force: args.force, gently: args.gently };
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
    let work = async { started.daemon.reclaim_now(request, &set).await };
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
    let inside = size::show(report.dead_inside.bytes);
    table.fact(
        "live share",
        format!("{} %: {inside} of blocks are dead in segments that live", report.live_percent),
    );
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
            format!(
                "{}, and {} heads of deleted volumes, or older than the history of released ones",
                show(&report.deleted),
                report.heads_deleted
            ),
        );
    }
    if report.rewritten.objects > 0 || report.resealed > 0 {
        let moved = format!("{}, and {} blocks written anew", show(&report.rewritten), report.resealed);
        table.fact("rewritten", moved);
    }
    let why = report.why.as_ref().map(why).unwrap_or_default();
    table.text() + &why
}

/// Segments by what keeps them, and the largest ones.
fn why(reasons: &Reasons) -> String {
    if reasons.segments.is_empty() {
        return String::new();
    }
    let mut table = Table::with_head(["SEGMENTS", "STORED", "DEAD", "WHY"]);
    for sum in &reasons.reasons {
        let (count, bytes) = (sum.segments.objects.to_string(), size::show(sum.segments.bytes));
        let meaning = meaning(&sum.reason);
        table.row([count, bytes, size::show(sum.dead_bytes), format!("{}: {meaning}", sum.reason)]);
    }
    let mut text = format!("\n{}\n", table.text());
    let mut table = Table::with_head(["SEGMENT", "STORED", "SLOTS", "LIVE", "WHY"]);
    for segment in reasons.segments.iter().take(SEGMENTS_SHOWN) {
        let (slots, live) = (segment.slots.to_string(), segment.live.to_string());
        table.row([segment.object.clone(), size::show(segment.bytes), slots, live, segment.reason.clone()]);
    }
    text.push_str(&table.text());
    let more = (reasons.segments.len().saturating_sub(SEGMENTS_SHOWN)) as u64 + reasons.left_out;
    if more > 0 {
        text.push_str(&format!("… and {more} smaller ones: --json names them\n"));
    }
    text
}

/// What a reason means; one that a newer daemon gives speaks for itself.
fn meaning(reason: &str) -> &'static str {
    match reason {
        "dead" => "nothing reaches it, it goes after the grace",
        "unreadable" => "its index cannot be read, it is left alone",
        "in flight" => "no head names it yet",
        "tail" => "a head names it in its tail, and so it stays until that is in pages or the head is gone",
        "full" => "almost all of it lives",
        "enough" => "enough of the pool lives",
        "bound" => "the round does enough without it",
        "rewrite" => "worth writing its live blocks once more",
        "reseal" => "almost empty, worth sealing its blocks anew",
        _ => "",
    }
}
