//! What commands say on stdout: JSON, or text in columns.

use std::io::{self, IsTerminal, Write};

use anyhow::Context;
use serde::Serialize;

use crate::exit::Exit;

/// How a command answers.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Output {
    /// Answer in JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

impl Output {
    /// Prints `value` as JSON, or the text that `text` makes.
    pub(crate) fn print(self, value: &impl Serialize, text: impl FnOnce() -> String) -> anyhow::Result<()> {
        if self.json {
            say(&serde_json::to_string_pretty(value).context("the answer cannot be written as JSON")?)
        } else {
            say(&text())
        }
    }
}

/// One piece of text on stdout, with a line end.
pub(crate) fn say(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", text.trim_end()).and_then(|()| out.flush())?;
    Ok(())
}

/// One piece of text on stderr, with a line end.
pub(crate) fn complain(text: &str) -> io::Result<()> {
    writeln!(io::stderr().lock(), "{text}")
}

/// A reader that has seen enough, such as `head`, is no failure.
pub(crate) fn unless_closed(outcome: anyhow::Result<Exit>) -> anyhow::Result<Exit> {
    match outcome {
        Err(error)
            if error
                .downcast_ref::<io::Error>()
                .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) =>
        {
            Ok(Exit::Done)
        }
        outcome => outcome,
    }
}

/// Asks a question whose answer `yes` lets a command go on. Where there is nobody to ask, `--yes` must have been given.
pub(crate) fn confirm(yes: bool, question: &str) -> anyhow::Result<()> {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        anyhow::bail!("{question} There is no terminal to ask on: say --yes");
    }
    let mut err = io::stderr().lock();
    write!(err, "{question} Type yes to go on: ").and_then(|()| err.flush())?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    anyhow::ensure!(answer.trim() == "yes", "nothing was done: expected yes, found {:?}", answer.trim());
    Ok(())
}

/// Rows of text, in columns as wide as they need.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without a head.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A table with a head.
    pub(crate) fn with_head<const N: usize>(head: [&str; N]) -> Self {
        Self { rows: vec![head.iter().map(ToString::to_string).collect()] }
    }

    /// Adds a row.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into());
    }

    /// Adds a line of a list of facts.
    pub(crate) fn fact(&mut self, what: &str, value: impl ToString) {
        self.row([what.to_owned(), value.to_string()]);
    }

    /// The text.
    pub(crate) fn text(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(move |row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                let gap = width - cell.chars().count() + 2;
                line.push_str(cell);
                line.extend(std::iter::repeat_n(' ', gap));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::Table;

    #[test]
    fn columns_are_as_wide_as_they_need() {
        let mut table = Table::with_head(["NAME", "SIZE"]);
        table.row(["a-long-name".into(), "1".into()]);
        table.row(["b".into(), String::new()]);
        assert_eq!(table.text(), "NAME         SIZE\na-long-name  1\nb\n");
    }
}
