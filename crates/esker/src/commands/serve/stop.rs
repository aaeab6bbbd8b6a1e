//! Draining: everything into the store, and released; or not, if somebody is in a hurry.

use std::time::Duration;

use super::signals::Signals;
use crate::{
    daemon::Daemon,
    output::complain,
    progress::{Progress, Unit},
    size,
};

/// How often the bar moves.
const TICK: Duration = Duration::from_millis(200);
/// How often a line says how far it is where there is no terminal.
const LINE: Duration = Duration::from_secs(5);
/// How long requests to the store may take to end after they were given up.
const GIVE_UP: Duration = Duration::from_secs(3);

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Drained {
    /// Every open volume is in the store and released.
    All,
    /// Something is in the local log only.
    NotAll,
}

/// Drains every open volume. A signal that comes meanwhile makes it give up.
pub(crate) async fn drain(daemon: &Daemon, mut signals: Option<&mut Signals>) -> Drained {
    let total = daemon.dirty_bytes();
    let progress = Progress::new("draining", Unit::Bytes);
    let mut ticks = tokio::time::interval(TICK);
    let mut lines = tokio::time::interval_at(tokio::time::Instant::now() + LINE, LINE);
    let mut drained = Box::pin(daemon.host.drain());
    let failed = loop {
        tokio::select! {
            failed = &mut drained => break failed,
            _ = ticks.tick() => {
                let left = daemon.dirty_bytes();
                progress.set(total.saturating_sub(left), total.max(left));
            }
            _ = lines.tick(), if !progress.is_shown() => {
                let _ = complain(&format!("draining: {} left", size::show(daemon.dirty_bytes())));
            }
            () = next(&mut signals) => {
                daemon.host.abandon();
                let outcome = tokio::time::timeout(GIVE_UP, &mut drained).await;
                drop(progress);
                return abandoned(outcome.unwrap_or_else(|_| Vec::new()), daemon);
            }
        }
    };
    drop(progress);
    for (name, error) in &failed {
        let _ = complain(&format!("volume {name} is not wholly in the store, its log is kept: {error}"));
    }
    if failed.is_empty() { Drained::All } else { Drained::NotAll }
}

async fn next(signals: &mut Option<&mut Signals>) {
    match signals {
        Some(signals) => signals.next().await,
        None => std::future::pending().await,
    }
}

fn abandoned(failed: Vec<(String, esker_engine::EngineError)>, daemon: &Daemon) -> Drained {
    let left = size::show(daemon.dirty_bytes());
    let names: Vec<&str> = failed.iter().map(|(name, _)| name.as_str()).collect();
    let _ = complain(&format!(
        "given up: {left} of the log is in no segment in the store ({}); it stays in the local directory for the next start",
        if names.is_empty() { "volumes still draining".to_owned() } else { names.join(", ") }
    ));
    Drained::NotAll
}
