//! `esker status`

use esker_control::api::{Served, Status};

use crate::{
    access::Local,
    exit::Exit,
    output::{Output, Table},
    size,
};

/// Options.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    local: Local,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(args: Args) -> anyhow::Result<Exit> {
    let status = args.local.running_daemon().await?.status().await?;
    args.output.print(&status, || text(&status))?;
    Ok(Exit::Done)
}

fn text(status: &Status) -> String {
    let mut facts = Table::new();
    facts.fact(
        "daemon",
        format!("{}, version {}, up {} s", status.state, status.version, status.uptime_ms / 1000),
    );
    facts.fact("pool", &status.pool.url);
    facts.fact("NBD", &status.nbd.socket);
    if let Some(tcp) = &status.nbd.tcp {
        facts.fact("NBD over TCP", tcp);
    }
    facts.fact("connections", status.nbd.connections);
    let requests = &status.requests;
    let (up, down) = (size::show(requests.bytes_up), size::show(requests.bytes_down));
    let counts = format!(
        "{} PUT, {} GET, {} LIST, {} DELETE, {} failed, {up} up, {down} down",
        requests.puts, requests.gets, requests.lists, requests.deletes, requests.errors
    );
    facts.fact("requests", counts);
    facts.fact("cache", size::show(status.cache.frame_bytes));
    let mut text = facts.text();
    if !status.volumes.is_empty() {
        text.push('\n');
        text.push_str(&volumes(&status.volumes));
    }
    text
}

fn volumes(served: &[Served]) -> String {
    let mut table = Table::with_head([
        "VOLUME",
        "STATE",
        "SIZE",
        "IN NO SEGMENT",
        "WRITTEN",
        "IN STORE",
        "LAG",
        "PROBLEM",
    ]);
    for volume in served {
        let figure = |show: fn(&esker_control::api::Figures) -> String| {
            volume.figures.as_ref().map_or_else(|| "-".to_owned(), show)
        };
        table.row([
            volume.name.clone(),
            volume.state.to_string(),
            figure(|figures| size::show(figures.size_bytes)),
            figure(|figures| size::show(figures.dirty_bytes)),
            figure(|figures| figures.sequence.to_string()),
            figure(|figures| figures.committed_sequence.to_string()),
            figure(|figures| format!("{:.1} s", figures.lag_ms as f64 / 1000.0)),
            volume.problem.clone().unwrap_or_default(),
        ]);
    }
    table.text()
}
