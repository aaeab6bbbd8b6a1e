//! One file a command.

mod check;
mod config;
mod diff;
mod doctor;
mod du;
mod export;
mod fork;
mod import;
mod inspect;
mod metrics;
mod pool;
mod quarantine;
mod reclaim;
mod recover;
mod rewind;
pub(crate) mod serve;
mod snapshot;
mod status;
mod volume;

use clap::Subcommand;

use crate::{exit::Exit, logging};

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve volumes of a pool over NBD, in the foreground
    Serve(serve::Args),
    /// Make, list, describe and delete volumes
    #[command(subcommand)]
    Volume(volume::Command),
    /// Keep what volumes were at some moments
    #[command(subcommand)]
    Snapshot(snapshot::Command),
    /// Make a volume whose first state is that of another, or of a snapshot
    Fork(fork::Args),
    /// Make and describe pools
    #[command(subcommand)]
    Pool(pool::Command),
    /// Write and check the file of settings
    #[command(subcommand)]
    Config(config::Command),
    /// Copy an image of a disk into a volume
    Import(import::Args),
    /// Copy a volume into an image of a disk
    Export(export::Args),
    /// Print which ranges differ between two states
    Diff(diff::Args),
    /// Say what the running daemon does
    Status(status::Args),
    /// Print what the running daemon measures, as Prometheus reads it
    Metrics(metrics::Args),
    /// Verify every object and address that volumes can reach
    Check(check::Args),
    /// Say how much of the pool is whose, and what could come back
    Du(du::Args),
    /// Delete what nothing in the pool reaches any more
    Reclaim(reclaim::Args),
    /// Set a volume aside that cannot be read, so that reclaim goes on without it
    Quarantine(quarantine::Args),
    /// Ask a store for everything that Esker relies on
    Doctor(doctor::Args),
    /// Print a stored object readably
    Inspect(inspect::Args),
    /// Open a volume whose log is damaged, without what lies behind a position
    Recover(recover::Args),
    /// Give a volume, or a new one, a state that the volume had before
    Rewind(rewind::Args),
}

/// Runs a command.
pub(crate) async fn run(command: Command) -> anyhow::Result<Exit> {
    // A daemon begins to log when it knows how much.
    if !matches!(command, Command::Serve(_)) {
        logging::start_command()?;
    }
    match command {
        Command::Serve(args) => serve::run(args).await,
        Command::Volume(command) => volume::run(command).await,
        Command::Snapshot(command) => snapshot::run(command).await,
        Command::Fork(args) => fork::run(args).await,
        Command::Pool(command) => pool::run(command).await,
        Command::Config(command) => config::run(command),
        Command::Import(args) => import::run(args).await,
        Command::Export(args) => export::run(args).await,
        Command::Diff(args) => diff::run(args).await,
        Command::Status(args) => status::run(args).await,
        Command::Metrics(args) => metrics::run(args).await,
        Command::Check(args) => check::run(args).await,
        Command::Du(args) => du::run(args).await,
        Command::Reclaim(args) => reclaim::run(args).await,
        Command::Quarantine(args) => quarantine::run(args).await,
        Command::Doctor(args) => doctor::run(args).await,
        Command::Inspect(args) => inspect::run(args).await,
        Command::Recover(args) => recover::run(args).await,
        Command::Rewind(args) => rewind::run(args).await,
    }
}
