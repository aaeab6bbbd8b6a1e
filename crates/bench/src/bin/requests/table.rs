//! The figures as a table in Markdown.

use std::time::Duration;

use crate::counts::{Counts, Requests};

/// The most a segment stores.
const SEGMENT_BYTES: u64 = 32 << 20;
/// N of `bounded(N)`, as it is unless a volume says otherwise.
const BOUND: Duration = Duration::from_secs(5);
const MIB: f64 = 1_048_576.0;

/// One line.
pub(crate) struct Row(Vec<String>);

const HEAD: [&str; 10] = [
    "what",
    "written, MiB",
    "in segments, MiB",
    "dirty, s",
    "PUT",
    "of these segments + heads + page packs",
    "least: segments of 32 MiB + dirty s / 5",
    "GET",
    "LIST",
    "DELETE",
];

fn since(before: &Requests, after: &Requests) -> Requests {
    Requests {
        puts: after.puts - before.puts,
        gets: after.gets - before.gets,
        lists: after.lists - before.lists,
        deletes: after.deletes - before.deletes,
        bytes_up: after.bytes_up - before.bytes_up,
        bytes_down: after.bytes_down - before.bytes_down,
    }
}

fn row(name: &str, written: [String; 3], puts: [String; 3], requests: &Requests) -> Row {
    let others = [requests.gets, requests.lists, requests.deletes].map(|count| count.to_string());
    let cells = [name.to_owned()].into_iter().chain(written).chain(puts).chain(others);
    Row(cells.collect())
}

fn nothing() -> String {
    "–".to_owned()
}

impl Row {
    /// Making the pool (with its probe) and the volume, and opening it.
    pub(crate) fn start(counts: &Counts) -> Self {
        let puts = [counts.requests.puts.to_string(), nothing(), nothing()];
        row("pool made, volume made and opened", [nothing(), nothing(), nothing()], puts, &counts.requests)
    }

    /// A load, until everything was committed and the store was left alone.
    pub(crate) fn load(name: &str, written: u64, dirty: Duration, before: &Counts, after: &Counts) -> Self {
        let requests = since(&before.requests, &after.requests);
        let stored = after.segment_bytes - before.segment_bytes;
        let least = stored.div_ceil(SEGMENT_BYTES) as f64 + dirty.as_secs_f64() / BOUND.as_secs_f64();
        let written = [
            (written >> 20).to_string(),
            format!("{:.0}", stored as f64 / MIB),
            format!("{:.1}", dirty.as_secs_f64()),
        ];
        let kinds = format!(
            "{} + {} + {}",
            after.segments - before.segments,
            after.heads - before.heads,
            after.packs - before.packs
        );
        let puts = [requests.puts.to_string(), kinds, format!("{least:.0}")];
        row(name, written, puts, &requests)
    }

    /// A time in which nothing is written.
    pub(crate) fn quiet(name: &str, before: &Counts, after: &Counts) -> Self {
        let requests = since(&before.requests, &after.requests);
        let puts = [requests.puts.to_string(), nothing(), "0".to_owned()];
        row(name, ["0".to_owned(), "0".to_owned(), "0".to_owned()], puts, &requests)
    }

    /// The end of the daemon, of which only the objects tell.
    pub(crate) fn drain(before: &Counts, after: &Counts) -> Self {
        let objects = after.objects.saturating_sub(before.objects).to_string();
        let kinds = format!("{} + ? + {}", after.segments - before.segments, after.packs - before.packs);
        let mut row = row(
            "drain (by its objects)",
            ["0".to_owned(), "0".to_owned(), "0".to_owned()],
            [objects, kinds, "1".to_owned()],
            &Requests::default(),
        );
        row.0.truncate(HEAD.len() - 3);
        row.0.extend([nothing(), nothing(), nothing()]);
        row
    }
}

/// The table.
pub(crate) fn text(rows: &[Row]) -> String {
    let line =
        |cells: &mut dyn Iterator<Item = &str>| format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "));
    let mut text = line(&mut HEAD.into_iter());
    text.push_str(&line(&mut HEAD.iter().map(|_| "---")));
    for Row(cells) in rows {
        text.push_str(&line(&mut cells.iter().map(String::as_str)));
    }
    text
}
