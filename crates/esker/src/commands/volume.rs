//! `esker volume …`

mod create;
mod delete;
mod history;
mod list;
mod open;
mod resize;
mod set;
mod show;

use clap::Subcommand;

use crate::exit::Exit;

/// What to do with volumes.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a volume; a running daemon serves it at once
    Create(create::Args),
    /// List the pool's volumes
    List(list::Args),
    /// Describe a volume: what the store holds of it, and how it is served
    Show(show::Args),
    /// Have the daemon open a volume that it does not serve, or that has stopped
    Open(open::Args),
    /// Give a volume another size; what is cut off must be holes
    Resize(resize::Args),
    /// Change properties of a volume, while it is served or not
    Set(set::Args),
    /// List the states that a volume can go back to
    History(history::Args),
    /// Delete a volume, for ever
    Delete(delete::Args),
}

pub(super) async fn run(command: Command) -> anyhow::Result<Exit> {
    match command {
        Command::Create(args) => create::run(args).await,
        Command::List(args) => list::run(args).await,
        Command::Show(args) => show::run(args).await,
        Command::Open(args) => open::run(args).await,
        Command::Resize(args) => resize::run(args).await,
        Command::Set(args) => set::run(args).await,
        Command::History(args) => history::run(args).await,
        Command::Delete(args) => delete::run(args).await,
    }
}
