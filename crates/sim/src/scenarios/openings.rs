//! Openings that find no space, and looks at a volume that goes on meanwhile.

use std::time::Duration;

use esker_engine::{EngineError, volume::Limits};
use esker_format::property::Durability;

use super::{Scenario, plain};
use crate::{
    Request, StoreFault, When,
    lab::{Fall, Lab, Outcome, Setup, small_limits, violation},
};

pub(super) fn all() -> Vec<Scenario> {
    vec![
        Scenario { setup: late_seals, sites: 2, ..plain("opening-full", full) },
        Scenario { setup: few_heads, cut: false, ..plain("check-beside-sync", checked) },
        Scenario { setup: no_memory, cut: false, sites: 2, ..plain("reader-without-memory", without_memory) },
    ]
}

fn late_seals() -> Setup {
    let limits = Limits { seal_age: Duration::from_secs(10), ..small_limits() };
    Setup { limits, ..Setup::default() }
}

/// Every FLUSH makes a piece, and heads go as soon as nobody needs them.
fn few_heads() -> Setup {
    let mut setup = Setup { durability: Durability::Sync, ..late_seals() };
    setup.limits.heads_kept = 2;
    setup
}

/// Pieces of one block are all that volumes may have in memory that are only read.
fn no_memory() -> Setup {
    let mut setup = late_seals();
    setup.limits.pieces_bytes_max = 5_000;
    setup
}

/// A volume with pieces cannot be opened where the disk is full, at the site that has its log and at another. However
/// often it is tried, the store stays as it is.
fn full(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    for site in [0, 1] {
        lab.write(0, 4)?;
        lab.run_ms(1_000)?;
        lab.write(2, 3)?;
        lab.run_ms(1_000)?;
        lab.expect_stored()?;
        lab.fall(0, Fall::Kill);
        lab.host(site).restart();
        lab.host(site).disk().fill(true);
        let before = lab.machine().store().names("");
        for _ in 0..3 {
            match lab.try_open(site)? {
                Err(EngineError::Disk(error)) if error.no_space => {}
                Err(error) => return Err(violation(format!("an opening on a full disk: {error}"))),
                Ok(()) => return Err(violation("a volume opens without space for its log")),
            }
            lab.run_ms(5_000)?;
        }
        let after = lab.machine().store().names("");
        if let Some(name) = after.iter().find(|name| !before.contains(name)) {
            return Err(violation(format!("an opening without space has put {name}")));
        }
        lab.host(site).disk().fill(false);
        lab.open(site)?;
    }
    lab.drain()?;
    lab.check_committed()
}

/// Somebody checks the pool, slowly; meanwhile what the newest head named is in a segment, and heads with pieces go.
fn checked(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    for round in 0..6 {
        lab.write(round * 3, 4)?;
        lab.flush()?;
    }
    // Behind the newest head and the one before it: while the older ones are looked at.
    let slow = When::next(Request::Get, "heads/").host(lab.auditor()).skip(2).times(4);
    lab.machine().store().fail(slow, StoreFault::Stall(Duration::from_secs(20)));
    let check = lab.begin_check();
    lab.run_ms(2_000)?;
    if check.is_done() {
        return Err(violation("the check has not waited"));
    }
    // Too much for a piece.
    for lba in 0..6 {
        lab.write(lba, 200)?;
    }
    lab.flush()?;
    lab.run_ms(2_000)?;
    for round in 0..4 {
        lab.write(round, 1)?;
        lab.flush()?;
    }
    lab.end_check(check)
}

/// Who has no memory for a volume's pieces does not open it for reading, until a segment holds them.
fn without_memory(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    lab.write(0, 4)?;
    lab.run_ms(1_500)?;
    lab.expect_stored()?;
    let error = match lab.try_open_reader(1)? {
        Err(EngineError::Invalid(message)) => message,
        Err(error) => return Err(violation(format!("a reader without memory: {error}"))),
        Ok(_) => return Err(violation("a reader has more in memory than it may")),
    };
    if !error.contains("takes 16") {
        return Err(violation(format!("a reader without memory is told: {error}")));
    }
    lab.run_ms(12_000)?;
    let (engine, reader) = lab.open_reader(1)?;
    if engine.piece_memory().used() > 0 {
        return Err(violation("what was refused is counted"));
    }
    let image = lab.read_by(1, &reader)?;
    lab.compare(0, &image)
}
