//! `esker serve`: start, open, serve, and on SIGTERM bring everything into the store.

mod descriptors;
mod select;
mod signals;
mod start;
mod stop;

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use esker_control::api::DaemonState;
use esker_engine::volume::Limits;
use esker_frontend::nbd;
use tokio::runtime::Handle;

pub(crate) use select::VolumeArg;
pub(crate) use start::{Settings, Started};
pub(crate) use stop::{Drained, drain};

use crate::{
    access::Place,
    catalogue,
    daemon::Daemon,
    exit::Exit,
    output::{complain, say},
    progress::during,
    size,
};
use select::Selected;
use signals::Signals;

/// How long serving waits for volumes that are slow to open; they come later then.
const OPEN_PATIENCE: Duration = Duration::from_secs(5);

/// Options.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    place: Place,
    /// A volume to serve; made with this size if it is missing. May be given often
    #[arg(long, value_name = "NAME[=SIZE]")]
    volume: Vec<VolumeArg>,
    /// A volume to serve read-only, as of its last commit, beside whoever writes it. May be given often
    #[arg(long, value_name = "NAME")]
    read_only: Vec<String>,
    /// Serve NBD on this loopback address too, such as 127.0.0.1:10809
    #[arg(long, value_name = "ADDR")]
    tcp: Option<SocketAddr>,
    /// The most log bytes of a volume that the store does not hold yet; at it writes wait
    #[arg(long, value_name = "SIZE", default_value = "1G", value_parser = size::parse_bound)]
    dirty_bound: u64,
    /// The same for all volumes of this daemon together
    #[arg(long, value_name = "SIZE", default_value = "8G", value_parser = size::parse_bound)]
    dirty_bound_total: u64,
    /// Memory for decoded frames
    #[arg(long, value_name = "SIZE", default_value = "256M", value_parser = size::parse)]
    cache: u64,
    /// Threads that compress and verify
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=256))]
    cpu_threads: u16,
}

impl Args {
    fn settings(&self) -> Settings {
        Settings {
            limits: Limits {
                dirty_bytes_max: self.dirty_bound,
                daemon_dirty_bytes_max: self.dirty_bound_total,
                ..Limits::default()
            },
            cache_bytes: usize::try_from(self.cache).unwrap_or(usize::MAX),
            cpu_threads: usize::from(self.cpu_threads),
            make_pool: true,
            ..Settings::of(&self.place)
        }
    }
}

pub(super) async fn run(args: Args) -> anyhow::Result<Exit> {
    descriptors::allow_many();
    let mut signals = Signals::install()?;
    let started = tokio::select! {
        started = during("opening the pool", args.settings().start()) => started?,
        () = signals.next() => return Ok(Exit::Done),
    };
    let daemon = started.daemon.clone();
    let control = esker_control::Server::start(
        &started.data.control_socket(),
        daemon.clone(),
        esker_control::Limits::default(),
    )?;
    let selected = tokio::select! {
        selected = select::select(&started, &args.volume, &args.read_only) => selected?,
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
        match listen(&started, args.tcp) {
            Ok(nbd) => {
                // Whoever started this may not read it any more.
                let _ = say(&ready(&started, &nbd));
                server = Some(nbd);
                signals.next().await;
            }
            Err(error) => failed = Some(error),
        }
    }
    opening.abort();
    daemon.set_state(DaemonState::Draining);
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
    let left = selected.left_in_logs(started);
    for name in &left {
        let _ = complain(&format!("volume {name} was not open: what its log holds is not in the store"));
    }
    if drained == Drained::All && left.is_empty() { Exit::Done } else { Exit::NotAllStored }
}
