//! What forks cost: by the size of what is forked, by how many there are of one, and by how deep they are.
//!
//! A volume of 1 TiB, of which so much is written, and a small one, each with a snapshot. Contents compress to next to
//! nothing, so that the store stays small. What is compared takes turns: large and small, shallow and deep. Requests
//! are those that the daemon counts from before a call to after it, the median of all calls; nothing else is done then.
//!
//! *Cold* is a read in a fork just opened, by a daemon just started, with nothing of the store's files in the page cache.
//! The source is open beside it, so the top of the map they share may have been read; leaf, index and frame were not.

mod deep;
mod many;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::{Cell, Scenario, Settings, Table, Target, connect};
use crate::{
    client::{Client, Request},
    control, files,
    load::{Random, Templates, stopped},
    servers::Server,
    statistics::median,
};

const LARGE: &str = "v0";
const SMALL: &str = "small";
const LARGE_BYTES: u64 = 1 << 40;
const SMALL_BYTES: u64 = 1 << 30;
const WRITTEN_BYTES: u64 = 4 << 30;
const SMALL_WRITTEN_BYTES: u64 = 64 << 20;
const DURABILITY: &str = "bounded(5s)";
/// Forks of each source whose times are taken.
const TIMES: usize = 20;
/// Starts of the daemon, each with a cold read of each.
const COLD_TIMES: usize = 5;
/// By so much a fork of the large volume may take longer than one of the small one.
const RATIO_MAX: f64 = 1.5;

/// The daemon and what a scenario leaves behind from one part to the next.
struct Site<'a> {
    settings: &'a Settings<'a>,
    server: Server,
    written_bytes: u64,
    random: Random,
    rows: Vec<Row>,
    targets: Vec<Target>,
}

/// One thing that was done several times.
struct Row {
    name: String,
    times: Vec<Duration>,
    /// PUT, GET, LIST of each time.
    requests: Vec<[u64; 3]>,
    /// Objects and bytes that each left in the store.
    stored: Option<(f64, f64)>,
    /// Memory of the daemon that each costs.
    memory_bytes: Option<f64>,
}

pub(super) fn run(settings: &Settings<'_>) -> Result<Table> {
    let server = start(settings)?;
    let written_bytes = settings.written_bytes.unwrap_or(WRITTEN_BYTES);
    ensure!(written_bytes <= LARGE_BYTES, "the volume of 1 TiB holds no more than that");
    let mut site = Site {
        settings,
        server,
        written_bytes,
        random: Random::new(7),
        rows: Vec::new(),
        targets: Vec::new(),
    };
    site.prepare()?;
    site.by_size()?;
    site.cold()?;
    many::run(&mut site)?;
    deep::run(&mut site)?;
    Ok(site.table())
}

fn start(settings: &Settings<'_>) -> Result<Server> {
    let mut esker = settings.esker.clone();
    (esker.durability, esker.dirty_bound) = (DURABILITY.into(), "2G".into());
    settings.start(esker, 1, LARGE_BYTES)
}

impl Site<'_> {
    /// Writes both volumes and makes their snapshots, which brings all of it into segments.
    fn prepare(&mut self) -> Result<()> {
        let data = &self.server.directory;
        control::create(data, SMALL, SMALL_BYTES, DURABILITY)?;
        for (name, bytes) in [(LARGE, self.written_bytes), (SMALL, SMALL_WRITTEN_BYTES)] {
            let mut connection = connect(&self.server, name, Templates::compressible(), 1)?;
            connection.prepare(bytes, self.settings.stop)?;
            self.server.wait_until_stored(name, Duration::from_secs(600), self.settings.stop)?;
            control::snapshot(data, name, "base")?;
        }
        self.settle();
        Ok(())
    }

    fn settle(&self) {
        self.server.settle(Duration::from_secs(60), self.settings.stop);
    }

    /// Forks of both sources, in turns.
    fn by_size(&mut self) -> Result<()> {
        let written = gib(self.written_bytes);
        let mut rows = [
            (LARGE, Row::new(format!("fork of 1 TiB, {written} written"))),
            (SMALL, Row::new("fork of 1 GiB, 64 MiB written".into())),
            ("v0@base", Row::new(format!("fork of a snapshot of 1 TiB, {written} written"))),
            ("small@base", Row::new("fork of a snapshot of 1 GiB, 64 MiB written".into())),
        ];
        for time in 0..TIMES {
            for (number, (source, row)) in rows.iter_mut().enumerate() {
                self.check()?;
                row.take(&self.server, |data| control::fork(data, source, &format!("s{number}-{time}")))?;
            }
        }
        let [large, small] = [0, 1].map(|row| rows[row].1.median());
        self.targets.push(Target {
            what: "fork of the large volume",
            wanted: format!("at most {RATIO_MAX} × the small one's time, and as many requests"),
            found: format!("{:.2} ×, {} against {}", large / small, rows[0].1.asked(), rows[1].1.asked()),
            met: large <= RATIO_MAX * small && rows[0].1.each() == rows[1].1.each(),
        });
        self.rows.extend(rows.into_iter().map(|(_, row)| row));
        Ok(())
    }

    /// First reads in forks, nothing of which the daemon has read before.
    fn cold(&mut self) -> Result<()> {
        let mut rows = [
            (LARGE, self.written_bytes, opened("1 TiB"), first("1 TiB")),
            (SMALL, SMALL_WRITTEN_BYTES, opened("1 GiB"), first("1 GiB")),
        ];
        for time in 0..COLD_TIMES {
            self.restart()?;
            for (source, bytes, opened, first) in &mut rows {
                let name = format!("cold-{source}-{time}");
                control::fork(&self.server.directory, &format!("{source}@base"), &name)?;
                files::evict(&self.server.directory)?;
                opened.take(&self.server, |data| control::open(data, &name))?;
                let mut client = Client::connect(&self.server.socket, &name)?;
                let offset = self.random.below(*bytes / 4096) * 4096;
                first.take(&self.server, |_| read(&mut client, offset))?;
            }
        }
        self.rows.extend(rows.into_iter().flat_map(|(.., opened, first)| [opened, first]));
        Ok(())
    }

    /// Ends the daemon and starts it again; waits until it serves everything. Returns how long the start took: until it
    /// was ready, and until all was served.
    fn restart(&mut self) -> Result<(Duration, Duration)> {
        self.server.end()?;
        let begun = Instant::now();
        self.server = start(self.settings)?;
        let ready = begun.elapsed();
        while control::running(&self.server.directory)? < control::volumes(&self.server.directory)? {
            self.check()?;
            std::thread::sleep(Duration::from_millis(20));
        }
        let opened = begun.elapsed();
        self.settle();
        Ok((ready, opened))
    }

    fn check(&self) -> Result<()> {
        ensure!(!stopped(self.settings.stop), "interrupted");
        Ok(())
    }

    /// Objects and bytes in the store, where its files can be looked at.
    fn stored(&self) -> Result<Option<(u64, u64)>> {
        let pool = self.server.directory.join("pool");
        if pool.is_dir() { files::contents(&pool).map(Some) } else { Ok(None) }
    }

    fn table(self) -> Table {
        let head = vec![
            "",
            "times",
            "median",
            "longest",
            "PUT",
            "GET",
            "LIST",
            "objects",
            "bytes in the store",
            "memory KiB",
        ];
        let rows = self.rows.iter().map(Row::cells).collect();
        Table { targets: self.targets, ..Table::new(Scenario::Forks, head, rows) }
    }
}

fn opened(what: &str) -> Row {
    Row::new(format!("opening a fork of {what}"))
}

fn first(what: &str) -> Row {
    Row::new(format!("first 4 KiB of it, {what}, cold"))
}

fn read(client: &mut Client, offset: u64) -> Result<()> {
    let block = client.call(Request::Read { offset, length: 4096 })?;
    ensure!(block.iter().any(|byte| *byte != 0), "block {} of a fork is empty", offset / 4096);
    Ok(())
}

fn gib(bytes: u64) -> String {
    match bytes >> 20 {
        mib if mib.is_multiple_of(1024) => format!("{} GiB", mib >> 10),
        mib => format!("{mib} MiB"),
    }
}

impl Row {
    fn new(name: String) -> Self {
        Self { name, times: Vec::new(), requests: Vec::new(), stored: None, memory_bytes: None }
    }

    /// Does it once.
    fn take(&mut self, server: &Server, work: impl FnOnce(&std::path::Path) -> Result<()>) -> Result<()> {
        let before = asked(server)?;
        let begun = Instant::now();
        work(&server.directory).with_context(|| self.name.clone())?;
        self.times.push(begun.elapsed());
        let after = asked(server)?;
        self.requests.push([0, 1, 2].map(|kind| after[kind] - before[kind]));
        Ok(())
    }

    fn median(&self) -> f64 {
        median(&self.times.iter().map(Duration::as_secs_f64).collect::<Vec<_>>())
    }

    /// Requests of each kind, the median.
    fn each(&self) -> [u64; 3] {
        [0, 1, 2].map(|kind| {
            median(&self.requests.iter().map(|counts| counts[kind] as f64).collect::<Vec<_>>()).round() as u64
        })
    }

    fn asked(&self) -> String {
        let [puts, gets, lists] = self.each();
        format!("{puts} PUT {gets} GET {lists} LIST")
    }

    fn cells(&self) -> Vec<Cell> {
        let none = || Cell::Text("–".into());
        let number = |number: Option<f64>| number.map_or_else(none, Cell::Number);
        let counts = self.each();
        let mut cells = vec![
            Cell::Text(self.name.clone()),
            Cell::Number(self.times.len() as f64),
            Cell::Time(Duration::from_secs_f64(self.median())),
            Cell::Time(self.times.iter().max().copied().unwrap_or_default()),
        ];
        let counted =
            |kind: usize| if self.requests.is_empty() { none() } else { Cell::Number(counts[kind] as f64) };
        cells.extend([0, 1, 2].map(counted));
        cells.push(number(self.stored.map(|stored| stored.0)));
        cells.push(number(self.stored.map(|stored| stored.1)));
        cells.push(number(self.memory_bytes.map(|bytes| bytes / 1024.0)));
        cells
    }
}

/// PUT, GET, LIST since the daemon's start.
fn asked(server: &Server) -> Result<[u64; 3]> {
    let kinds = control::requests(&server.directory)?;
    let count = |name: &str| kinds.iter().find(|(kind, _)| kind == name).map_or(0, |(_, count)| *count);
    Ok(["puts", "gets", "lists"].map(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_the_middle_of_times_and_requests() {
        let mut row = Row::new("fork".into());
        row.times = [3, 1, 2].map(Duration::from_millis).to_vec();
        row.requests = vec![[3, 0, 2], [4, 1, 2], [3, 0, 2]];
        assert_eq!(row.asked(), "3 PUT 0 GET 2 LIST");
        let cells = row.cells();
        assert_eq!(cells[2], Cell::Time(Duration::from_millis(2)));
        assert_eq!(cells[3], Cell::Time(Duration::from_millis(3)));
        assert_eq!(cells[7], Cell::Text("–".into()));
    }

    #[test]
    fn sizes_are_told_in_the_larger_unit_that_fits() {
        assert_eq!(gib(50 << 30), "50 GiB");
        assert_eq!(gib(1536 << 20), "1536 MiB");
    }
}
