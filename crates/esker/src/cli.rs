//! The command line.

use clap::Parser;

use crate::commands::Command;

/// Disks for virtual machines that live in an object store
#[derive(Debug, Parser)]
#[command(name = "esker", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}
