//! `esker config …`

mod check;
mod init;

use clap::Subcommand;

use crate::exit::Exit;

/// What to do with the file of settings.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write a file in which every setting is explained
    Init(init::Args),
    /// Say what settings a daemon would have and who says so, or all that is wrong with them
    Check(check::Args),
}

pub(super) fn run(command: Command) -> anyhow::Result<Exit> {
    match command {
        Command::Init(args) => init::run(&args),
        Command::Check(args) => check::run(args),
    }
}
