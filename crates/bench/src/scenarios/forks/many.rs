//! Many forks of one snapshot: what each adds to the store and to the daemon, open and not open.

use anyhow::Result;

use super::{Row, Site};
use crate::{control, scenarios::Target};

/// Of the forks, so many are opened first.
const OPENED: u64 = 100;
const OBJECTS_MAX: f64 = 3.0;

pub(super) fn run(site: &mut Site<'_>) -> Result<()> {
    let forks = site.settings.volumes.max(2);
    site.settle();
    let (before, memory_before) = (site.stored()?, site.server.memory_bytes());
    let mut made = Row::new(format!("each of {forks} forks of one snapshot, not opened"));
    for number in 0..forks {
        site.check()?;
        made.take(&site.server, |data| control::fork(data, "v0@base", &format!("f{number}")))?;
    }
    site.settle();
    let memory = site.server.memory_bytes();
    if let (Some(before), Some(after)) = (before, site.stored()?) {
        let each = |after: u64, before: u64| after.saturating_sub(before) as f64 / forks as f64;
        let stored = (each(after.0, before.0), each(after.1, before.1));
        made.stored = Some(stored);
        site.targets.push(Target {
            what: "what a fork adds to the store",
            wanted: format!("at most {OBJECTS_MAX:.0} objects"),
            found: format!("{:.2} objects, {:.0} bytes", stored.0, stored.1),
            met: stored.0 <= OBJECTS_MAX,
        });
    }
    made.memory_bytes = Some((memory as f64 - memory_before as f64) / forks as f64);

    let some = OPENED.min(forks);
    let mut opened = Row::new(format!("opening each of {some} of them"));
    for number in 0..some {
        site.check()?;
        opened.take(&site.server, |data| control::open(data, &format!("f{number}")))?;
    }
    site.settle();
    opened.memory_bytes = Some((site.server.memory_bytes() as f64 - memory as f64) / some as f64);

    let (ready, served) = site.restart()?;
    let volumes = control::volumes(&site.server.directory)?;
    let mut start = Row::new(format!("start of the daemon with {volumes} volumes, until it is ready"));
    start.times.push(ready);
    let mut all = Row::new("… until it serves them all".into());
    all.times.push(served);
    all.memory_bytes = Some(site.server.memory_bytes() as f64 / volumes as f64);
    site.rows.extend([made, opened, start, all]);
    Ok(())
}
