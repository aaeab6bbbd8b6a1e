//! `esker serve`: start, open, serve, and on SIGTERM bring everything into the store.

mod descriptors;
mod select;
mod signals;
mod start;
mod stop;

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use esker_control::api::DaemonState;
use esker_frontend::nbd;
use tokio::runtime::Handle;

pub(crate) use select::check_free;
pub(crate) use start::{Settings, Started};
pub(crate) use stop::{Drained, drain};

use crate::{
    access::Local,
    catalogue,
    config::{self, Config, Given, VolumeArg, checked, help, parse_read_only, parse_volume},
    daemon::Daemon,
    exit::Exit,
    logging,
    output::{complain, say},
    progress::during,
};
use select::Selected;
use signals::Signals;

/// How long serving waits for volumes that are slow to open; they come later then.
const OPEN_PATIENCE: Duration = Duration::from_secs(5);

/// Options.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Settings in a file [default: esker.toml in the data directory, if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    local: Local,
    #[arg(long, value_name = "URL", help = help("pool"))]
    pool: Option<String>,
    /// A volume to serve; made with this size if it is missing. May be given often
    #[arg(long, value_name = "NAME[=SIZE]", value_parser = parse_volume)]
    volume: Vec<VolumeArg>,
    /// A volume to serve read-only, as of its last commit, beside whoever writes it. May be given often
    #[arg(long, value_name = "NAME", value_parser = parse_read_only)]
    read_only: Vec<VolumeArg>,
    #[arg(long, value_name = "ADDR", help = help("tcp"), value_parser = checked("tcp"))]
    tcp: Option<String>,
    #[arg(long, value_name = "SIZE", help = help("dirty_bound"), value_parser = checked("dirty_bound"))]
    dirty_bound: Option<String>,
    #[arg(
        long, value_name = "SIZE", help = help("dirty_bound_total"), value_parser = checked("dirty_bound_total")
    )]
    dirty_bound_total: Option<String>,
    #[arg(long, value_name = "SIZE", help = help("cache"), value_parser = checked("cache"))]
    cache: Option<String>,
    #[arg(long, value_name = "SIZE", help = help("map_bound"), value_parser = checked("map_bound"))]
    map_bound: Option<String>,
    #[arg(long, value_name = "SIZE", help = help("disk_cache"), value_parser = checked("disk_cache"))]
    disk_cache: Option<String>,
    #[arg(long, value_name = "N", help = help("cpu_threads"), value_parser = checked("cpu_threads"))]
    cpu_threads: Option<String>,
    #[arg(long, value_name = "TIME", help = help("grace"), value_parser = checked("grace"))]
    grace: Option<String>,
}

impl Args {
    fn config(self) -> anyhow::Result<Config> {
        let flags = [
            ("pool", self.pool),
            ("tcp", self.tcp),
            ("dirty_bound", self.dirty_bound),
            ("dirty_bound_total", self.dirty_bound_total),
            ("cache", self.cache),
            ("map_bound", self.map_bound),
            ("disk_cache", self.disk_cache),
            ("cpu_threads", self.cpu_threads),
            ("grace", self.grace),
        ];
        let given = Given {
            file: self.config,
            data: self.local.data,
            flags: flags.into_iter().filter_map(|(key, text)| Some((key, text?))).collect(),
            volumes: self.volume.into_iter().chain(self.read_only).collect(),
            environment: &|name| std::env::var(name),
        };
        config::load(given).config()
    }
}

pub(super) async fn run(args: Args) -> anyhow::Result<Exit> {
    let config = args.config()?;
    logging::start(&config.log)?;
    descriptors::allow_many();
    let mut signals = Signals::install()?;
    let started = tokio::select! {
        started = during("opening the pool", Settings::of_config(&config).start()) => started?,
        () = signals.next() => return Ok(Exit::Done),
    };
    let daemon = started.daemon.clone();
    let control = esker_control::Server::start(
        &started.data.control_socket(),
        daemon.clone(),
        esker_control::Limits::default(),
    )?;
    let selected = tokio::select! {
        selected = select::select(&started, &config.volumes) => selected?,
        () = signals.next() => return Ok(Exit::Done),
    };
    let mut opening = tokio::spawn(select::open_all(daemon.clone(), selected.clone()));
    let mut stopping = false;
    tokio::select! {
        _ = tokio::time::timeout(OPEN_PATIENCE, &mut opening) => {}
        () = signals.next() => stopping = true,
    }
    let mut failed = None;
    let mut server = None;
    if !stopping {
        match listen(&started, config.tcp) {
            Ok(nbd) => {
                // Whoever started this may not read it any more.
                let _ = say(&ready(&started, &nbd));
                server = Some(nbd);
                let again =
                    tokio::spawn(select::open_again(daemon.clone(), started.directory, selected.clone()));
                let reclaim = tokio::spawn(daemon.clone().reclaim_for_ever());
                signals.next().await;
                // A round may end after any of its steps.
                reclaim.abort();
                again.abort();
            }
            Err(error) => failed = Some(error),
        }
    }
    opening.abort();
    daemon.set_state(DaemonState::Draining);
    daemon.host.stop_reclaim();
    let exit = stop(&started, &selected, server, &mut signals).await;
    drop(control);
    match failed {
        Some(error) => Err(error.into()),
        None => Ok(exit),
    }
}

fn listen(started: &Started, tcp: Option<SocketAddr>) -> Result<Arc<nbd::Server>, nbd::ServerError> {
    let socket: PathBuf = started.data.nbd_socket();
    let listeners = nbd::Listeners { unix: Some(socket), tcp, allow_remote: false };
    let host = started.daemon.host.clone();
    let server = Arc::new(nbd::Server::start(listeners, host, Handle::current())?);
    started.daemon.serves(server.clone());
    started.daemon.set_state(DaemonState::Ready);
    Ok(server)
}

/// One line that says where what is served.
fn ready(started: &Started, nbd: &nbd::Server) -> String {
    let daemon: &Daemon = &started.daemon;
    let names = |names: Vec<String>| names.join(",");
    let mut line = format!("ready: nbd={}", started.data.nbd_socket().display());
    if let Some(tcp) = nbd.tcp_address() {
        line.push_str(&format!(" tcp={tcp}"));
    }
    line.push_str(&format!(" control={}", started.data.control_socket().display()));
    line.push_str(&format!(" pool={}", catalogue::describe(daemon.host.pool())));
    let exports = daemon.host.volumes().iter().map(|volume| volume.name().to_owned()).collect();
    line.push_str(&format!(" exports={}", names(exports)));
    let (opening, failed) = (daemon.opening(), daemon.failures());
    if !opening.is_empty() {
        line.push_str(&format!(" opening={}", names(opening)));
    }
    if !failed.is_empty() {
        line.push_str(&format!(" failed={}", names(failed.into_iter().map(|(name, _)| name).collect())));
    }
    line
}

/// Ends the front ends, drains, and says what is left.
async fn stop(
    started: &Started,
    selected: &Selected,
    server: Option<Arc<nbd::Server>>,
    signals: &mut Signals,
) -> Exit {
    let daemon = &started.daemon;
    if let Some(server) = server {
        let stopped = tokio::task::spawn_blocking(move || server.stop());
        tokio::select! {
            _ = stopped => {}
            () = signals.next() => daemon.host.abandon(),
        }
    }
    let drained = drain(daemon, Some(signals)).await;
    daemon.host.pool().fetcher().close_disk_cache().await;
    let left = selected.left_in_logs(started);
    for name in &left {
        let _ = complain(&format!("volume {name} was not open: what its log holds may not be in the store"));
    }
    if drained == Drained::All && left.is_empty() { Exit::Done } else { Exit::NotAllStored }
}
