//! The one binary of Esker: the daemon, and the commands around it.

#![forbid(unsafe_code)]

mod access;
mod catalogue;
mod cli;
mod commands;
mod config;
mod daemon;
mod data;
mod errors;
mod exit;
mod logging;
mod moment;
mod output;
mod progress;
mod size;
mod store;
mod time;
mod transfer;

use std::{process, time::Duration};

use clap::Parser;

use crate::{cli::Cli, exit::Exit};

/// How long work that nobody waits for any more may hold up the end of the process.
const LEFT_OVER: Duration = Duration::from_millis(500);

fn main() {
    let cli = Cli::parse();
    let exit = run(cli).unwrap_or_else(|error| {
        // Nobody may be there to read it.
        let _ = output::complain(&format!("error: {error:#}"));
        Exit::Failed
    });
    process::exit(exit.code());
}

fn run(cli: Cli) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let exit = runtime.block_on(commands::run(cli.command));
    runtime.shutdown_timeout(LEFT_OVER);
    output::unless_closed(exit)
}
