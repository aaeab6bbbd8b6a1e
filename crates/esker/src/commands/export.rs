//! `esker export VOLUME FILE|-`

mod copy;
mod sink;

use std::{path::PathBuf, sync::Arc};

use anyhow::{Context, ensure};
use serde::Serialize;
use tokio::runtime::Handle;

use crate::{
    access::Place,
    exit::Exit,
    output::{Output, complain},
    size,
    transfer::{Facts, Session, is_stream, resumed},
};
use copy::{Copied, Job};

/// Options.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The volume
    volume: String,
    /// The image that is made, or - for standard output
    file: PathBuf,
    /// The image's format
    #[arg(long, value_enum, default_value = "raw")]
    format: Format,
    /// Overwrite a file that is there
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Format {
    /// The bytes of the disk; holes stay holes
    Raw,
}

/// What was done.
#[derive(Debug, Serialize)]
struct View {
    volume: String,
    id: String,
    size_bytes: u64,
    /// The state of the volume that the image holds.
    sequence: u64,
    /// Written by this command; the rest are holes, or were there before.
    written_bytes: u64,
    /// Where this command went on; 0 when it began anew.
    resumed_bytes: u64,
}

pub(super) async fn run(args: Args) -> anyhow::Result<Exit> {
    let Format::Raw = args.format;
    let session = Arc::new(Session::to_read(&args.place, &args.volume).await?);
    let outcome = export(&args, &session).await;
    let exit = session.end().await;
    let (facts, copied) = outcome?;
    let view = View {
        volume: args.volume.clone(),
        id: facts.id,
        size_bytes: facts.size_bytes,
        sequence: facts.sequence,
        written_bytes: copied.written_bytes,
        resumed_bytes: copied.resumed_bytes,
    };
    if is_stream(&args.file) {
        // Standard output is the image's.
        complain(&if args.output.json {
            serde_json::to_string(&view)?
        } else {
            view.text("standard output")
        })?;
    } else {
        args.output.print(&view, || view.text(&args.file.display().to_string()))?;
    }
    Ok(exit)
}

async fn export(args: &Args, session: &Arc<Session>) -> anyhow::Result<(Facts, Copied)> {
    let name = &args.volume;
    let volume = session.find(name).await?.with_context(|| format!("volume {name} does not exist"))?;
    let facts = session.open(&volume).await?;
    let job = Job {
        session: session.clone(),
        name: name.clone(),
        facts: facts.clone(),
        file: args.file.clone(),
        force: args.force,
    };
    let runtime = Handle::current();
    let copied = tokio::task::spawn_blocking(move || job.run(&runtime)).await??;
    Ok((facts, copied))
}

/// The volume may not have changed while it was copied.
fn check_unchanged(before: &Facts, now: &Facts, name: &str) -> anyhow::Result<()> {
    ensure!(
        before.sequence == now.sequence && before.id == now.id,
        "volume {name} was written to while it was exported (sequence {} to {}): the image is a mixture of its states \
         and not to be used; export it again while nobody writes",
        before.sequence,
        now.sequence
    );
    Ok(())
}

impl View {
    fn text(&self, file: &str) -> String {
        let text = format!(
            "exported {} to {file}: {} of {}, the rest is holes",
            self.volume,
            size::show(self.written_bytes),
            size::show(self.size_bytes),
        );
        text + &resumed(self.resumed_bytes)
    }
}
