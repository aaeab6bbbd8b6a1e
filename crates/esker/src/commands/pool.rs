//! `esker pool …`

mod create;
mod show;

use clap::Subcommand;

use crate::exit::Exit;

/// What to do with pools.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a pool, once the store has shown that it can hold one
    Create(create::Args),
    /// Describe the pool
    Show(show::Args),
}

pub(super) async fn run(command: Command) -> anyhow::Result<Exit> {
    match command {
        Command::Create(args) => create::run(args).await,
        Command::Show(args) => show::run(args).await,
    }
}
