//! What overwriting costs in the store: a volume is filled, then overwritten three times over, 4 KiB at a time, while the
//! daemon reclaims at its own pace.
//!
//! ```text
//!                 bytes of seals + bytes of rewrites
//! amplification = ───────────────────────────────────────      after compression, since the volume was full
//!                 bytes of seals − bytes written anew by volumes
//! ```
//! The grace is some seconds, and rounds are made four times in each. What is dead stays for it: the store is told with
//! what waits for the grace, which grows with it, and without. The volume keeps no history, for what a history reaches
//! lives. Writes come at a set rate, one that rounds can follow on this machine; what was written in pieces of heads
//! before it was sealed is in neither figure. Looks at the store are rounds that only look.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use super::{Cell, Scenario, Settings, Table, Target, connect};
use crate::{
    control,
    load::{self, Connection, Kind, Load, Templates, stopped},
    servers::{Peer, Plan, Server},
};

const WRITTEN_BYTES: u64 = 1 << 30;
/// The volume is overwritten so many times.
const TIMES: u64 = 3;
const WRITES_PER_SECOND: f64 = 8192.0;
const GRACE: &str = "4s";
const DURABILITY: &str = "bounded(5s)";
/// Beside `v0`, which every server has, and which stays empty here.
const VOLUME: &str = "overwritten";
/// From one look at the store to the next.
const LOOK: Duration = Duration::from_secs(2);
/// Rewriting is over when nothing was rewritten for so long; it is waited for at most for the longer time.
const QUIET: Duration = Duration::from_secs(6);
const PATIENCE: Duration = Duration::from_secs(90);
/// By how much the store may be above what lives, once the grace is not counted: 70 % live.
const STORE_MAX: f64 = 1.0 / 0.7;

/// How writes are spread, and how much they may cost.
struct Pattern {
    name: &'static str,
    kind: Kind,
    amplification_max: f64,
}

const PATTERNS: [Pattern; 2] = [
    Pattern { name: "uniform", kind: Kind::Write, amplification_max: 2.1 },
    Pattern { name: "skewed", kind: Kind::SkewedWrite, amplification_max: 1.3 },
];

/// What the daemon has counted so far.
#[derive(Debug, Clone, Copy, Default)]
struct Counted {
    sealed_bytes: f64,
    rewritten_bytes: f64,
    resealed_blocks: f64,
    rewritten_segments: f64,
    sent_bytes: f64,
    rounds: f64,
}

/// The store at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Look {
    /// Bytes of blocks that live.
    live: f64,
    /// Bytes of objects of which something lives.
    held: f64,
    /// Bytes of objects that wait for the grace.
    waiting: f64,
    objects: u64,
}

/// What came of one pattern.
struct Found {
    written_bytes: u64,
    block_bytes: f64,
    before: Counted,
    after: Counted,
    looks: Vec<Look>,
}

pub(super) fn run(settings: &Settings<'_>) -> Result<Table> {
    let (mut rows, mut targets) = (Vec::new(), Vec::new());
    for pattern in &PATTERNS {
        let found = overwrite(pattern, settings)?;
        rows.push(found.row(pattern.name));
        targets.extend(found.targets(pattern));
    }
    let head = vec![
        "",
        "written, MiB",
        "sealed",
        "rewritten",
        "all sent",
        "amplification",
        "store/live: highest",
        "last",
        "without what waits: highest",
        "last",
        "live share, last",
        "rounds",
        "objects, highest",
    ];
    Ok(Table { targets, ..Table::new(Scenario::Reclaim, head, rows) })
}

fn overwrite(pattern: &Pattern, settings: &Settings<'_>) -> Result<Found> {
    let mut esker = settings.esker.clone();
    (esker.durability, esker.grace) = (DURABILITY.into(), Some(GRACE.into()));
    esker.pool = esker.pool.map(|pool| format!("{pool}/{}", pattern.name));
    let area_bytes = settings.written_bytes.unwrap_or(WRITTEN_BYTES);
    let plan = Plan { esker, before: None, exports: 1, size_bytes: area_bytes };
    let directory = settings.directory.join(pattern.name);
    let server = Server::start(Peer::Esker, &directory, &plan, settings.stop)?;
    control::create_without_history(&server.directory, VOLUME, area_bytes, DURABILITY)?;
    let mut connection = [connect(&server, VOLUME, Templates::default(), 1)?];
    connection[0].prepare(area_bytes, settings.stop)?;
    let before = Counted::whole(&server, settings)?;
    let block_bytes = before.sealed_bytes / (area_bytes / 4096) as f64;
    let load = Load {
        kind: pattern.kind,
        request_bytes: 4096,
        depth: 32,
        area_bytes,
        rate: Some(WRITES_PER_SECOND),
    };
    let (written_bytes, looks) = watched(&server, &mut connection, &load, settings)?;
    let after = Counted::now(&server)?;
    drop(connection);
    server.terminate()?;
    std::fs::remove_dir_all(&directory)?;
    Ok(Found { written_bytes, block_bytes, before, after, looks })
}

/// Overwrites, and goes on looking until nothing more is rewritten.
fn watched(
    server: &Server,
    connection: &mut [Connection],
    load: &Load,
    settings: &Settings<'_>,
) -> Result<(u64, Vec<Look>)> {
    let (mut looks, mut written) = (Vec::new(), 0);
    while written < TIMES * load.area_bytes / 4096 {
        ensure!(!stopped(settings.stop), "interrupted");
        written += load::run(connection, load, LOOK, settings.stop)?.requests;
        looks.push(Look::now(server)?);
    }
    let mut rewritten = (Counted::whole(server, settings)?.rewritten_segments, Instant::now());
    let begun = Instant::now();
    while rewritten.1.elapsed() < QUIET && begun.elapsed() < PATIENCE {
        ensure!(!stopped(settings.stop), "interrupted");
        std::thread::sleep(LOOK / 4);
        let now = Counted::now(server)?.rewritten_segments;
        if now > rewritten.0 {
            rewritten = (now, Instant::now());
        }
    }
    looks.push(Look::now(server)?);
    Ok((written * 4096, looks))
}

impl Counted {
    fn now(server: &Server) -> Result<Self> {
        Self::of(&control::metrics(&server.directory)?)
    }

    /// When all that was written is in segments.
    fn whole(server: &Server, settings: &Settings<'_>) -> Result<Self> {
        server.wait_until_stored(VOLUME, PATIENCE, settings.stop)?;
        // A snapshot has the rest sealed; the next round finds it gone.
        let name = format!("rest-{}", control::figures(&server.directory, VOLUME)?.sequence);
        control::snapshot(&server.directory, VOLUME, &name)?;
        control::delete(&server.directory, &format!("{VOLUME}@{name}"))?;
        Self::now(server)
    }

    fn of(metrics: &BTreeMap<String, f64>) -> Result<Self> {
        let metric = |name: &str| {
            metrics.get(name).copied().with_context(|| format!("the daemon does not measure {name}"))
        };
        Ok(Self {
            sealed_bytes: metric("esker_sealed_bytes_total")?,
            rewritten_bytes: metric("esker_reclaim_rewritten_bytes_total")?,
            resealed_blocks: metric("esker_reclaim_resealed_blocks_total")?,
            rewritten_segments: metric("esker_reclaim_rewritten_segments_total")?,
            sent_bytes: metric("esker_store_sent_bytes_total")?,
            rounds: metric("esker_reclaim_rounds_total")?,
        })
    }
}

impl Look {
    fn now(server: &Server) -> Result<Self> {
        let found = control::reclaim(&server.directory, true)?;
        Ok(Self {
            live: found.live_bytes.saturating_sub(found.dead_inside_bytes) as f64,
            held: found.live_bytes as f64,
            waiting: found.waiting_bytes as f64,
            objects: found.objects,
        })
    }

    /// The store's bytes for each that lives.
    fn all(&self) -> f64 {
        (self.held + self.waiting) / self.live.max(1.0)
    }

    /// The same without what waits for the grace.
    fn held(&self) -> f64 {
        self.held / self.live.max(1.0)
    }
}

impl Found {
    fn amplification(&self) -> f64 {
        let since = |figure: fn(&Counted) -> f64| figure(&self.after) - figure(&self.before);
        let sealed = since(|counted| counted.sealed_bytes);
        let anew = since(|counted| counted.resealed_blocks) * self.block_bytes;
        (sealed + since(|counted| counted.rewritten_bytes)) / (sealed - anew).max(1.0)
    }

    fn last(&self) -> Look {
        self.looks.last().copied().unwrap_or_default()
    }

    fn row(&self, name: &str) -> Vec<Cell> {
        let mib = |bytes: f64| Cell::Number(bytes / f64::from(1 << 20));
        let ratio = |ratio: f64| Cell::Text(format!("{ratio:.2}"));
        let highest = |figure: fn(&Look) -> f64| self.looks.iter().map(figure).fold(0.0, f64::max);
        let last = self.last();
        vec![
            Cell::Text(name.to_owned()),
            mib(self.written_bytes as f64),
            mib(self.after.sealed_bytes - self.before.sealed_bytes),
            mib(self.after.rewritten_bytes - self.before.rewritten_bytes),
            mib(self.after.sent_bytes - self.before.sent_bytes),
            ratio(self.amplification()),
            ratio(highest(Look::all)),
            ratio(last.all()),
            ratio(highest(Look::held)),
            ratio(last.held()),
            Cell::Text(format!("{:.0} %", 100.0 / last.held().max(1.0))),
            Cell::Number(self.after.rounds - self.before.rounds),
            Cell::Number(self.looks.iter().map(|look| look.objects).max().unwrap_or(0) as f64),
        ]
    }

    fn targets(&self, pattern: &Pattern) -> [Target; 2] {
        let (amplification, held) = (self.amplification(), self.last().held());
        let uniform = pattern.kind == Kind::Write;
        [
            Target {
                what: if uniform { "amplification, uniform" } else { "amplification, skewed" },
                wanted: format!("at most {}", pattern.amplification_max),
                found: format!("{amplification:.2}"),
                met: amplification <= pattern.amplification_max,
            },
            Target {
                what: if uniform { "store, uniform" } else { "store, skewed" },
                wanted: format!("at most {STORE_MAX:.2} × what lives in the end, without what waits"),
                found: format!("{held:.2} ×"),
                met: held <= STORE_MAX,
            },
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found() -> Found {
        let before = Counted { sealed_bytes: 1_000.0, ..Counted::default() };
        let after = Counted {
            sealed_bytes: 2_100.0,
            rewritten_bytes: 400.0,
            resealed_blocks: 50.0,
            ..Counted::default()
        };
        let look = |held, waiting| Look { live: 100.0, held, waiting, objects: 3 };
        Found {
            written_bytes: 1 << 20,
            block_bytes: 2.0,
            before,
            after,
            looks: vec![look(150.0, 100.0), look(140.0, 20.0)],
        }
    }

    #[test]
    fn amplification_is_what_was_sent_for_what_guests_wrote() {
        // 1,100 sealed, of which 100 were written anew, and 400 rewritten.
        assert_eq!(found().amplification(), 1.5);
        let [amplification, store] = found().targets(&PATTERNS[0]);
        assert!(amplification.met && store.met);
        assert!(!found().targets(&PATTERNS[1])[0].met);
    }

    #[test]
    fn what_waits_for_the_grace_is_told_apart() {
        let row = found().row("x");
        let texts: Vec<_> = row[6..10].to_vec();
        assert_eq!(texts, ["2.50", "1.60", "1.50", "1.40"].map(|text| Cell::Text(text.into())));
        assert_eq!(row[10], Cell::Text("71 %".into()));
    }

    #[test]
    fn a_daemon_that_does_not_measure_is_an_error() {
        assert!(Counted::of(&BTreeMap::new()).is_err());
    }
}
