//! `esker check [VOLUME…]`

use esker_engine::check::{CheckReport, check};
use serde::Serialize;

use crate::{
    access::Place,
    catalogue,
    exit::Exit,
    output::{Output, Table},
    progress::{Progress, Unit},
    size,
};

/// Options.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The volumes [default: all of the pool]
    volumes: Vec<String>,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    output: Output,
}

/// What was found.
#[derive(Debug, Serialize)]
struct View {
    pool: String,
    volumes: u64,
    heads: u64,
    pieces: u64,
    segments: u64,
    segment_bytes: u64,
    frames: u64,
    blocks: u64,
    problems: Vec<ProblemView>,
}

#[derive(Debug, Serialize)]
struct ProblemView {
    object: String,
    message: String,
}

pub(super) async fn run(args: Args) -> anyhow::Result<Exit> {
    let pool = args.place.open_pool().await?;
    let progress = Progress::new("segments", Unit::Things);
    let report = check(&pool, &args.volumes, |done, total| progress.set(done, total)).await?;
    drop(progress);
    let view = View::of(catalogue::describe(&pool), report);
    args.output.print(&view, || view.text())?;
    Ok(if view.problems.is_empty() { Exit::Done } else { Exit::Failed })
}

impl View {
    fn of(pool: String, report: CheckReport) -> View {
        let problem = |problem: esker_engine::check::Problem| ProblemView {
            object: problem.object,
            message: problem.message,
        };
        View {
            pool,
            volumes: report.volumes,
            heads: report.heads,
            pieces: report.pieces,
            segments: report.segments,
            segment_bytes: report.segment_bytes,
            frames: report.frames,
            blocks: report.blocks,
            problems: report.problems.into_iter().map(problem).collect(),
        }
    }

    fn text(&self) -> String {
        let mut table = Table::new();
        table.fact("pool", &self.pool);
        table.fact("volumes", self.volumes);
        table.fact("heads", self.heads);
        table.fact("pieces", self.pieces);
        table.fact("segments", format!("{} ({})", self.segments, size::show(self.segment_bytes)));
        table.fact("frames", self.frames);
        table.fact("blocks", self.blocks);
        table.fact("problems", self.problems.len());
        let mut text = table.text();
        for problem in &self.problems {
            text.push_str(&format!("{}: {}\n", problem.object, problem.message));
        }
        text
    }
}
