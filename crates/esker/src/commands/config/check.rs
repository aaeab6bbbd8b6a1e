//! `esker config check [FILE]`

use std::path::PathBuf;

use serde::Serialize;

use crate::{
    access::Local,
    config::{self, Given, Problem, Setting},
    exit::Exit,
    output::{Output, Table},
};

/// Options.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The file [default: esker.toml in the data directory, if there is one]
    file: Option<PathBuf>,
    #[command(flatten)]
    local: Local,
    #[command(flatten)]
    output: Output,
}

/// What came of it.
#[derive(Debug, Serialize)]
struct View {
    ok: bool,
    /// Absent when there is none.
    file: Option<PathBuf>,
    /// What holds; nothing while something is wrong.
    settings: Vec<Setting>,
    problems: Vec<Problem>,
}

pub(super) fn run(args: Args) -> anyhow::Result<Exit> {
    let loaded = config::load(Given {
        file: args.file,
        data: args.local.data,
        flags: Vec::new(),
        volumes: Vec::new(),
        environment: &|name| std::env::var(name),
    });
    let ok = loaded.problems.is_empty();
    let settings = if ok { loaded.settings } else { Vec::new() };
    let view = View { ok, file: loaded.file, settings, problems: loaded.problems };
    args.output.print(&view, || text(&view))?;
    Ok(if view.ok { Exit::Done } else { Exit::Failed })
}

fn text(view: &View) -> String {
    if !view.ok {
        return view.problems.iter().map(|problem| format!("{problem}\n")).collect();
    }
    let mut table = Table::with_head(["KEY", "VALUE", "FROM"]);
    for setting in &view.settings {
        let value = setting.value.clone().unwrap_or_else(|| "-".to_owned());
        table.row([setting.key.to_owned(), value, setting.source.to_string()]);
    }
    let file = match &view.file {
        Some(path) => path.display().to_string(),
        None => "there is no file".to_owned(),
    };
    format!("OK: {file}\n\n{}", table.text())
}
