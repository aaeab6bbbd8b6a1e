//! `esker inspect OBJECT`

use std::fs;

use anyhow::Context;
use esker_format::{inspect::describe, names};
use esker_io::{Objects, Range, objects::Retry};
use serde::Serialize;

use crate::{access::Place, exit::Exit, output::Output, store};

/// Options.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// An object's name in the pool, such as pool or writers/00000001, or the path of a file
    object: String,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    output: Output,
}

/// An object, as it is shown.
#[derive(Debug, Serialize)]
struct View {
    object: String,
    bytes: usize,
    /// For people; it may change.
    lines: Vec<String>,
}

pub(super) async fn run(args: Args) -> anyhow::Result<Exit> {
    let bytes = match names::parse(&args.object) {
        Some(_) => from_pool(&args).await?,
        None => fs::read(&args.object).with_context(|| {
            format!("{} is not the name of an object, and as a file it cannot be read", args.object)
        })?,
    };
    let text = describe(&args.object, &bytes).with_context(|| args.object.clone())?;
    let view =
        View { object: args.object, bytes: bytes.len(), lines: text.lines().map(str::to_owned).collect() };
    args.output.print(&view, || text.clone())?;
    let wrong = view.lines.iter().any(|line| line.starts_with("WRONG"));
    Ok(if wrong { Exit::Failed } else { Exit::Done })
}

async fn from_pool(args: &Args) -> anyhow::Result<Vec<u8>> {
    let world = store::existing(&args.place.url()?)?.world;
    let objects = Retry::new(world.objects, world.clock, world.random);
    let bytes = objects.get(&args.object, Range::All).await;
    Ok(bytes.with_context(|| format!("in {}", objects.describe()))?.to_vec())
}
