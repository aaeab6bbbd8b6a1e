//! `esker snapshot`: what a volume was at some moments.

mod create;
mod delete;
mod group;
mod label;
mod list;
mod show;

use std::collections::BTreeMap;

use anyhow::Context;
use clap::Subcommand;
use esker_control::api::{Snapshot, Snapshots};
use esker_format::names;

use crate::{
    access::{Access, Place},
    catalogue,
    exit::Exit,
    progress::during,
};

/// What to do with snapshots.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a snapshot of a volume as it is now
    Create(create::Args),
    /// Make a snapshot of each of several volumes, all at one point
    Group(group::Create),
    /// List the groups of such snapshots
    Groups(group::List),
    /// Delete all snapshots of a group
    DeleteGroup(group::Delete),
    /// List snapshots and what was forked from them
    List(list::Args),
    /// Say what is known of one
    Show(show::Args),
    /// Delete one
    Delete(delete::Args),
    /// Give one labels, or take them away
    Label(label::Args),
}

pub(super) async fn run(command: Command) -> anyhow::Result<Exit> {
    match command {
        Command::Create(args) => create::run(args).await,
        Command::Group(args) => group::create(args).await,
        Command::Groups(args) => group::list(args).await,
        Command::DeleteGroup(args) => group::delete(args).await,
        Command::List(args) => list::run(args).await,
        Command::Show(args) => show::run(args).await,
        Command::Delete(args) => delete::run(args).await,
        Command::Label(args) => label::run(args).await,
    }
}

/// Every snapshot of the pool.
async fn all(access: &Access) -> anyhow::Result<Snapshots> {
    Ok(match access {
        Access::Daemon(client) => during("listing", client.snapshots()).await?,
        Access::Pool(pool) => {
            let snapshots = during("listing", catalogue::snapshots(pool)).await?;
            Snapshots { pool: catalogue::pool(pool), snapshots }
        }
    })
}

/// Whether a snapshot may have that name.
fn check_name(name: &str) -> anyhow::Result<()> {
    anyhow::ensure!(
        catalogue::is_snapshot(name),
        "{name:?} is no name of a snapshot: expected VOLUME@SNAPSHOT"
    );
    Ok(names::valid_name(name)?)
}

/// The snapshot of that name, and who was asked for it.
async fn find(place: &Place, name: &str) -> anyhow::Result<(Snapshot, Access)> {
    check_name(name)?;
    let access = place.access().await?;
    let found = all(&access).await?.snapshots.into_iter().find(|snapshot| snapshot.name == name);
    Ok((found.with_context(|| format!("snapshot {name} does not exist"))?, access))
}

/// Reads `KEY=VALUE`.
fn parse_label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("expected KEY=VALUE, found {text:?}"))?;
    esker_format::head::valid_label(key, value).map_err(|error| error.to_string())?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Labels as a line shows them.
fn show_labels(labels: &BTreeMap<String, String>) -> String {
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
}
