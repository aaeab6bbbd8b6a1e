//! `esker doctor URL`

use esker_engine::pool::{ProbeLine, probe};
use serde::Serialize;

use crate::{
    exit::Exit,
    output::{Output, Table},
    progress::during,
    store,
};

/// Options.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The store: file://PATH, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX
    url: String,
    #[command(flatten)]
    output: Output,
}

/// What was found.
#[derive(Debug, Serialize)]
struct View {
    store: String,
    passed: bool,
    checks: Vec<Check>,
}

#[derive(Debug, Serialize)]
struct Check {
    check: &'static str,
    passed: bool,
    detail: String,
}

pub(super) async fn run(args: Args) -> anyhow::Result<Exit> {
    let edges = store::without_disk(&args.url)?;
    let lines = during("probing the store", probe(&edges.world)).await;
    let check = |line: ProbeLine| Check { check: line.check, passed: line.passed, detail: line.detail };
    let view = View {
        store: edges.world.objects.describe(),
        passed: lines.iter().all(|line| line.passed),
        checks: lines.into_iter().map(check).collect(),
    };
    args.output.print(&view, || text(&view))?;
    Ok(if view.passed { Exit::Done } else { Exit::Failed })
}

fn text(view: &View) -> String {
    let mut table = Table::with_head(["CHECK", "RESULT", "FOUND"]);
    for check in &view.checks {
        let result = if check.passed { "ok" } else { "FAILED" };
        table.row([check.check.to_owned(), result.to_owned(), check.detail.clone()]);
    }
    let verdict = if view.passed { "can hold a pool" } else { "cannot hold a pool safely" };
    format!("{}\n{} {verdict}", table.text(), view.store)
}
