//! `esker diff FROM TO`

use std::io::{self, BufWriter, Write};

use esker_engine::{
    diff::{Change, Kind, NamedState, Walk},
    pool::Pool,
};
use esker_format::BLOCK_BYTES;
use futures_util::future::try_join;
use serde::Serialize;

use crate::{access::Place, exit::Exit, output::Output, size};

/// Options.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A state is VOLUME (its last commit), VOLUME@SNAPSHOT, or VOLUME#N (head N of its history)."
)]
pub(crate) struct Args {
    /// The older state
    from: String,
    /// The newer state: what it holds where the two differ is what is printed
    to: String,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    output: Output,
}

/// A state that was compared.
#[derive(Debug, Serialize)]
struct StateView {
    name: String,
    volume: String,
    head: u64,
    size_bytes: u64,
}

/// Blocks that differ.
#[derive(Debug, Serialize)]
struct ChangeView {
    offset: u64,
    length: u64,
    kind: &'static str,
}

/// Bytes that differ, by what they are in the newer state.
#[derive(Debug, Default, Serialize)]
struct Totals {
    ranges: u64,
    data_bytes: u64,
    zero_bytes: u64,
    hole_bytes: u64,
}

pub(super) async fn run(args: Args) -> anyhow::Result<Exit> {
    let pool = args.place.open_pool().await?;
    let (from, to) = try_join(NamedState::find(&pool, &args.from), NamedState::find(&pool, &args.to)).await?;
    let from = from.against(to.volume);
    let out = BufWriter::new(io::stdout().lock());
    if args.output.json {
        json(&pool, &from, &to, out).await?;
    } else {
        text(&pool, &from, &to, out).await?;
    }
    Ok(Exit::Done)
}

/// Hands over each range as it is found: there may be more of them than fit in memory.
async fn compare(
    pool: &Pool,
    (from, to): (&NamedState, &NamedState),
    mut found: impl FnMut(ChangeView) -> io::Result<()>,
) -> anyhow::Result<Totals> {
    let mut walk = Walk::new(pool.fetcher(), &from.state, &to.state, 0..to.state.blocks);
    let mut totals = Totals::default();
    let mut held: Option<Change> = None;
    while let Some(changes) = walk.next().await? {
        for change in changes {
            match &mut held {
                Some(last) if last.kind == change.kind && last.lba + last.blocks == change.lba => {
                    last.blocks += change.blocks;
                }
                held => {
                    if let Some(before) = held.replace(change) {
                        found(totals.count(before))?;
                    }
                }
            }
        }
    }
    if let Some(last) = held {
        found(totals.count(last))?;
    }
    Ok(totals)
}

async fn text(pool: &Pool, from: &NamedState, to: &NamedState, mut out: impl Write) -> anyhow::Result<()> {
    writeln!(out, "{:>20}  {:>20}  KIND", "OFFSET", "LENGTH")?;
    let row = |view: ChangeView| writeln!(out, "{:>20}  {:>20}  {}", view.offset, view.length, view.kind);
    let totals = compare(pool, (from, to), row).await?;
    let changed = totals.data_bytes + totals.zero_bytes + totals.hole_bytes;
    writeln!(
        out,
        "{} of {} changed in {} ranges: {} data, {} zeros, {} holes",
        size::show(changed),
        size::show(to.size_bytes),
        totals.ranges,
        size::show(totals.data_bytes),
        size::show(totals.zero_bytes),
        size::show(totals.hole_bytes),
    )?;
    if from.size_bytes != to.size_bytes {
        writeln!(out, "the size changed from {} to {} bytes", from.size_bytes, to.size_bytes)?;
    }
    Ok(out.flush()?)
}

/// One object; what is not known before the end stands at its end.
async fn json(pool: &Pool, from: &NamedState, to: &NamedState, mut out: impl Write) -> anyhow::Result<()> {
    write!(out, "{{\n  \"from\": ")?;
    serde_json::to_writer(&mut out, &StateView::of(from))?;
    write!(out, ",\n  \"to\": ")?;
    serde_json::to_writer(&mut out, &StateView::of(to))?;
    write!(out, ",\n  \"changed\": [")?;
    let mut separator = "";
    let range = |view: ChangeView| {
        write!(out, "{separator}\n    ")?;
        separator = ",";
        Ok(serde_json::to_writer(&mut out, &view)?)
    };
    let totals = compare(pool, (from, to), range).await?;
    write!(out, "\n  ],\n  \"totals\": ")?;
    serde_json::to_writer(&mut out, &totals)?;
    writeln!(out, "\n}}")?;
    Ok(out.flush()?)
}

impl StateView {
    fn of(state: &NamedState) -> StateView {
        StateView {
            name: state.name.clone(),
            volume: state.volume.to_string(),
            head: state.head,
            size_bytes: state.size_bytes,
        }
    }
}

impl Totals {
    fn count(&mut self, change: Change) -> ChangeView {
        let block = BLOCK_BYTES as u64;
        let (offset, length) = (change.lba * block, change.blocks * block);
        self.ranges += 1;
        let (kind, bytes) = match change.kind {
            Kind::Data => ("data", &mut self.data_bytes),
            Kind::Zero => ("zero", &mut self.zero_bytes),
            Kind::Hole => ("hole", &mut self.hole_bytes),
        };
        *bytes += length;
        ChangeView { offset, length, kind }
    }
}
