//! `esker snapshot group NAME VOLUME VOLUME…`, `groups`, `delete-group`

use anyhow::{Context, ensure};
use esker_control::api::{CreateGroup, Group, Groups};
use serde::Serialize;

use super::parse_label;
use crate::{
    access::{Access, Local, Place},
    catalogue,
    exit::Exit,
    output::{Output, Table, confirm},
    progress::during,
    time,
};

/// Options.
#[derive(Debug, clap::Args)]
pub(crate) struct Create {
    /// What each of the snapshots is called, behind its volume's name
    name: String,
    /// The volumes, all of which the daemon writes
    #[arg(required = true)]
    volumes: Vec<String>,
    /// A label for each. May be given often
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_label)]
    label: Vec<(String, String)>,
    #[command(flatten)]
    local: Local,
    #[command(flatten)]
    output: Output,
}

/// Options.
#[derive(Debug, clap::Args)]
pub(crate) struct List {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    output: Output,
}

/// Options.
#[derive(Debug, clap::Args)]
pub(crate) struct Delete {
    /// The group's id, as `groups` shows it
    id: String,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    local: Local,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Serialize)]
struct Deleted {
    deleted: Vec<String>,
}

pub(super) async fn create(args: Create) -> anyhow::Result<Exit> {
    let client = args.local.running_daemon().await?;
    let labels = args.label.into_iter().collect();
    let wanted = CreateGroup { name: args.name, volumes: args.volumes, labels };
    let group = during("making the snapshots", client.group(&wanted)).await?;
    args.output.print(&group, || {
        format!("made {}, the snapshots {} of {} volumes", group.id, group.name, group.members.len())
    })?;
    Ok(Exit::Done)
}

pub(super) async fn list(args: List) -> anyhow::Result<Exit> {
    let groups = match args.place.access().await? {
        Access::Daemon(client) => during("listing", client.groups()).await?,
        Access::Pool(pool) => Groups {
            groups: during("listing", catalogue::groups(&pool)).await?,
            pool: catalogue::pool(&pool),
        },
    };
    args.output.print(&groups, || text(&groups))?;
    Ok(Exit::Done)
}

fn text(groups: &Groups) -> String {
    if groups.groups.is_empty() {
        return format!("no groups in {}", groups.pool.url);
    }
    let mut table = Table::with_head(["ID", "NAME", "MADE (UTC)", "SNAPSHOTS"]);
    for group in &groups.groups {
        let names: Vec<_> =
            group.members.iter().map(|member| member.name.as_deref().unwrap_or("deleted")).collect();
        table.row([group.id.clone(), group.name.clone(), time::utc(group.created_ms), names.join(" ")]);
    }
    table.text()
}

pub(super) async fn delete(args: Delete) -> anyhow::Result<Exit> {
    let client = args.local.running_daemon().await?;
    let groups = during("listing", client.groups()).await?.groups;
    let found: Option<Group> = groups.into_iter().find(|group| group.id == args.id);
    let group = found.with_context(|| format!("there is no group {}", args.id))?;
    let names: Vec<String> = group.members.into_iter().filter_map(|member| member.name).collect();
    ensure!(!names.is_empty(), "the snapshots of group {} were deleted already", args.id);
    confirm(args.yes, &format!("Snapshots {} of group {} will be gone.", names.join(", "), args.id))?;
    for name in &names {
        during("deleting", client.delete(name)).await.with_context(|| format!("snapshot {name}"))?;
    }
    let deleted = Deleted { deleted: names };
    args.output.print(&deleted, || format!("deleted {}", deleted.deleted.join(" ")))?;
    Ok(Exit::Done)
}
