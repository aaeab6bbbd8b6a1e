//! `esker import FORMAT FILE|- VOLUME`

mod copy;
mod resume;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, bail, ensure};
use esker_control::api::CreateVolume;
use esker_image::{Image, PIECE_BYTES, Stream};
use serde::Serialize;
use tokio::runtime::Handle;

use crate::{
    access::Place,
    catalogue::SIZE_BYTES_MIN,
    exit::Exit,
    output::Output,
    size,
    transfer::{BLOCK, Facts, ImageFacts, Partial, Session, is_stream, resumed},
};
use copy::{Copied, Job};

/// Options.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The image's format
    #[arg(value_enum)]
    format: Format,
    /// The image, or - for standard input
    file: PathBuf,
    /// The volume; made with the image's size if it is missing
    volume: String,
    /// The size of a volume that is made [default: that of the image]
    #[arg(long, value_parser = size::parse)]
    size: Option<u64>,
    /// Overwrite a volume that is not empty
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// The bytes of the disk
    Raw,
    /// That of qemu, versions 2 and 3, also compressed, without a backing file
    Qcow2,
    /// What the first bytes say: only for images from people you trust
    Auto,
}

/// What was done.
#[derive(Debug, Serialize)]
struct View {
    volume: String,
    id: String,
    size_bytes: u64,
    /// Of the disk that the image holds.
    image_bytes: u64,
    /// Written by this command; the rest were zeros, or done before.
    written_bytes: u64,
    /// Where this command went on; 0 when it began anew.
    resumed_bytes: u64,
    /// Whether everything is in the store. A daemon brings it there in the background.
    stored: bool,
}

pub(super) async fn run(args: Args) -> anyhow::Result<Exit> {
    let image = open(&args)?;
    if let (Some(wanted), Some(holds)) = (args.size, image.size_bytes()) {
        ensure!(wanted >= holds, "the image holds a disk of {holds} bytes, more than --size {wanted}");
    }
    let session = Arc::new(Session::to_write(&args.place).await?);
    let outcome = import(&args, image, &session).await;
    // What came of it belongs into the store, also when the rest did not come.
    let exit = session.end().await;
    let (facts, copied) = outcome?;
    let view = View {
        volume: args.volume.clone(),
        id: facts.id,
        size_bytes: facts.size_bytes,
        image_bytes: copied.image_bytes,
        written_bytes: copied.written_bytes,
        resumed_bytes: copied.resumed_bytes,
        stored: !session.is_asked() && exit == Exit::Done,
    };
    args.output.print(&view, || view.text(&args.file))?;
    Ok(exit)
}

fn open(args: &Args) -> anyhow::Result<Box<dyn Image>> {
    if is_stream(&args.file) {
        ensure!(args.format == Format::Raw, "only raw images come through a pipe: say raw, or name a file");
        return Ok(Box::new(Stream::new(io::stdin())));
    }
    let format = match args.format {
        Format::Raw => Some(esker_image::Format::Raw),
        Format::Qcow2 => Some(esker_image::Format::Qcow2),
        Format::Auto => None,
    };
    let opened = esker_image::open(&args.file, format);
    opened.with_context(|| format!("cannot import {}", args.file.display()))
}

async fn import(
    args: &Args,
    image: Box<dyn Image>,
    session: &Arc<Session>,
) -> anyhow::Result<(Facts, Copied)> {
    let facts = volume(args, image.size_bytes(), session).await?;
    let partial = if is_stream(&args.file) {
        None
    } else {
        let image = ImageFacts::of(&args.file).context("the image cannot be looked at")?;
        Some((Partial::of_import(&args.file, &args.volume), image))
    };
    let job = Job {
        session: session.clone(),
        runtime: Handle::current(),
        name: args.volume.clone(),
        facts: facts.clone(),
        partial,
        force: args.force,
    };
    let copied = tokio::task::spawn_blocking(move || job.run(image)).await??;
    Ok((facts, copied))
}

/// Opens the volume; makes it if it is missing.
async fn volume(args: &Args, image_bytes: Option<u64>, session: &Session) -> anyhow::Result<Facts> {
    let name = &args.volume;
    if session.find(name).await?.is_none() {
        let Some(bytes) = args.size.or(image_bytes) else {
            bail!(
                "volume {name} does not exist, and only the end of the input tells its size: say --size SIZE"
            )
        };
        let size_bytes = bytes.next_multiple_of(BLOCK as u64).max(SIZE_BYTES_MIN);
        let wanted = CreateVolume {
            name: name.clone(),
            size_bytes,
            durability: None,
            compression: None,
            on_lag: None,
            history: None,
        };
        session.create(&wanted).await?;
    }
    let volume = session.find(name).await?.with_context(|| format!("volume {name} is gone"))?;
    let facts = session.open(&volume).await?;
    if let Some(bytes) = image_bytes.filter(|bytes| *bytes > facts.size_bytes) {
        bail!(
            "the image holds a disk of {} ({bytes} bytes), and volume {name} has {} ({} bytes)",
            size::show(bytes),
            size::show(facts.size_bytes),
            facts.size_bytes
        );
    }
    Ok(facts)
}

impl View {
    fn text(&self, file: &Path) -> String {
        let from = if is_stream(file) { "standard input".to_owned() } else { file.display().to_string() };
        let text = format!(
            "imported {from} into {}: {} of {}, the rest is holes",
            self.volume,
            size::show(self.written_bytes),
            size::show(self.image_bytes),
        );
        text + &resumed(self.resumed_bytes)
    }
}

/// A write is one record of the log: `resume` counts on it.
const _: () = assert!(PIECE_BYTES as u64 == esker_format::chunk::RECORD_BLOCKS_MAX * BLOCK as u64);
