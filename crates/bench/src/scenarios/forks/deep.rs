//! Each a fork of the one before: does depth cost anything?

use std::time::Instant;

use anyhow::Result;

use super::{Row, Site, read};
use crate::{
    client::Client,
    control,
    load::{Kind, Load, Templates},
    scenarios::{Target, connect},
};

/// Every so many levels one is opened and written before it is forked.
const WRITTEN_EVERY: u64 = 50;
const BLOCKS: u64 = 64;
/// Forks of the first and of the last one, in turns.
const TIMES: usize = 20;
const READS: usize = 64;
const RATIO_MAX: f64 = 1.2;

pub(super) fn run(site: &mut Site<'_>) -> Result<()> {
    let depth = site.settings.volumes.max(2);
    chain(site, depth)?;
    let mut rows = [1, depth].map(|depth| {
        [
            Row::new(format!("opening a fork at depth {depth}")),
            Row::new(format!("its first 4 KiB, depth {depth}")),
            Row::new(format!("4 KiB elsewhere in it, depth {depth}")),
        ]
    });
    for time in 0..TIMES {
        // In every second round the other one begins.
        let order = if time % 2 == 0 { [0, 1] } else { [1, 0] };
        for side in order {
            let source = if side == 0 { "v0@base".to_owned() } else { format!("d{}", depth - 1) };
            reads(site, &source, &format!("t{side}-{time}"), &mut rows[side])?;
        }
    }
    for (row, what) in [(0, "opening a deep fork"), (2, "reads in a deep fork")] {
        let ratio = rows[1][row].median() / rows[0][row].median();
        site.targets.push(Target {
            what,
            wanted: format!("at most {RATIO_MAX} × the time at depth 1"),
            found: format!("{ratio:.2} ×"),
            met: ratio <= RATIO_MAX,
        });
    }
    let [shallow, deep] = rows;
    site.rows.extend(shallow.into_iter().zip(deep).flat_map(|(shallow, deep)| [shallow, deep]));
    Ok(())
}

/// The first is a fork of the snapshot, at depth 1; each other of the one before.
fn chain(site: &mut Site<'_>, depth: u64) -> Result<()> {
    let mut quiet = Row::new("fork of the fork before".into());
    let mut written = Row::new("… that is open and was just written".into());
    let area_bytes = site.written_bytes;
    let load = Load { kind: Kind::Write, request_bytes: 4096, depth: 8, area_bytes, rate: None };
    let mut source = "v0@base".to_owned();
    for level in 1..depth {
        site.check()?;
        let name = format!("d{level}");
        // The source of a level behind a written one is open.
        let open = level > 1 && (level - 1).is_multiple_of(WRITTEN_EVERY);
        let row = if open { &mut written } else { &mut quiet };
        row.take(&site.server, |data| control::fork(data, &source, &name))?;
        if level.is_multiple_of(WRITTEN_EVERY) {
            control::open(&site.server.directory, &name)?;
            let mut connection = connect(&site.server, &name, Templates::compressible(), level + 1)?;
            connection.some(&load, BLOCKS, site.settings.stop)?;
        }
        source = name;
    }
    site.rows.push(quiet);
    if !written.times.is_empty() {
        site.rows.push(written);
    }
    site.settle();
    Ok(())
}

/// Forks, opens, reads.
fn reads(
    site: &mut Site<'_>,
    source: &str,
    name: &str,
    [opened, first, others]: &mut [Row; 3],
) -> Result<()> {
    site.check()?;
    control::fork(&site.server.directory, source, name)?;
    opened.take(&site.server, |data| control::open(data, name))?;
    let mut client = Client::connect(&site.server.socket, name)?;
    let blocks = site.written_bytes / 4096;
    let mut place = || site.random.below(blocks) * 4096;
    first.take(&site.server, |_| read(&mut client, place()))?;
    for _ in 0..READS {
        let begun = Instant::now();
        read(&mut client, place())?;
        others.times.push(begun.elapsed());
    }
    Ok(())
}
