//! `esker volume set NAME KEY=VALUE… KEY-…`

use anyhow::{Context, ensure};
use esker_control::api::{SetProperties, Setting, Volume};
use esker_format::names;

use crate::{access::Place, catalogue, exit::Exit, output::Output, transfer::Session};

/// Options.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The volume's name
    name: String,
    /// KEY=VALUE sets a property, KEY- gives it back to the pool: durability, compression, on_lag, history
    #[arg(required = true, value_name = "KEY=VALUE|KEY-")]
    change: Vec<String>,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(args: Args) -> anyhow::Result<Exit> {
    let name = &args.name;
    let wanted = parse(&args.change)?;
    names::valid_name(name)?;
    ensure!(
        !catalogue::is_snapshot(name),
        "{name} is a snapshot, which never changes; fork it: esker fork {name} NEW"
    );
    // Before a volume is opened for nothing.
    catalogue::change(&wanted)?;
    let session = Session::to_write(&args.place).await?;
    let outcome = set(name, &session, &wanted).await;
    let exit = session.end().await;
    outcome?;
    let volume = session.find(name).await?.with_context(|| format!("volume {name} is gone"))?;
    args.output.print(&volume, || text(&volume))?;
    Ok(exit)
}

async fn set(name: &str, session: &Session, wanted: &SetProperties) -> anyhow::Result<()> {
    let volume = session.find(name).await?.with_context(|| format!("volume {name} does not exist"))?;
    session.open(&volume).await?;
    session.set(name, wanted).await
}

/// What is to be changed, each property once.
fn parse(changes: &[String]) -> anyhow::Result<SetProperties> {
    let mut wanted = SetProperties::default();
    for change in changes {
        let first = match (change.split_once('='), change.strip_suffix('-')) {
            (Some((key, value)), _) => wanted.set.insert(key.to_owned(), value.to_owned()).is_none(),
            (None, Some(key)) => wanted.inherit.insert(key.to_owned()),
            (None, None) => anyhow::bail!("expected KEY=VALUE or KEY-, found {change:?}"),
        };
        ensure!(first, "{change} changes a property that was changed already; expected each one once");
    }
    Ok(wanted)
}

/// All of its properties.
fn text(volume: &Volume) -> String {
    let Some(stored) = &volume.stored else { return format!("{} is set", volume.name) };
    let show = |key: &str, Setting { value, source }: &Setting| format!("{key}={value} (from: {source})");
    let all = [
        show("durability", &stored.durability),
        show("compression", &stored.compression),
        show("on_lag", &stored.on_lag),
        show("history", &stored.history),
    ];
    format!("{}: {}", volume.name, all.join(", "))
}
