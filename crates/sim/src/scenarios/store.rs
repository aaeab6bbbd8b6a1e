//! From the log to the store: seals, commits, checkpoints, drains, and a store that fails.

use std::time::Duration;

use esker_engine::volume::Limits;
use esker_format::{BLOCK_BYTES, page::LEAF_BLOCKS, property::Durability};
use esker_io::StoreErrorKind;

use super::{Scenario, plain};
use crate::{
    Request, StoreFault, When,
    lab::{Fall, Lab, Outcome, Setup, small_limits, violation},
};

pub(super) fn all() -> Vec<Scenario> {
    vec![
        plain("bounded", bounded),
        Scenario { setup: small_ephemeral, ..plain("ephemeral", ephemeral) },
        plain("store-faults", store_faults),
        plain("late-puts", late_puts),
        plain("checkpoint", checkpoint),
        Scenario { setup: two_leaves, ..plain("paging", paging) },
        plain("drain", drain),
        Scenario { setup: small_ephemeral, ..plain("outage", outage) },
        Scenario { setup: few_heads, ..plain("heads", heads) },
        Scenario { setup: without_sync, cut: false, ..plain("store-without-sync", store_without_sync) },
    ]
}

/// A dirty bound of 32 blocks, and nothing goes to the store before half of it.
pub(super) fn small_ephemeral() -> Setup {
    let limits = Limits { dirty_bytes_max: 32 * 4096, ..small_limits() };
    Setup { durability: Durability::Ephemeral, limits, ..Setup::default() }
}

/// A map of two leaves: the top page says nothing of blocks.
fn two_leaves() -> Setup {
    Setup { size_bytes: (LEAF_BLOCKS + 128) * BLOCK_BYTES as u64, ..Setup::default() }
}

/// Reclaim of heads begins at once.
pub(super) fn few_heads() -> Setup {
    let limits = Limits { heads_kept: 2, ..small_limits() };
    Setup { limits, ..Setup::default() }
}

fn bounded(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    for round in 0..4 {
        lab.write(round * 3, 5)?;
        if round == 1 {
            lab.flush()?;
        }
        lab.run_ms(250)?;
        lab.write(round * 5, 2)?;
        lab.run_ms(700)?;
        lab.read(0, 30)?;
    }
    lab.run_ms(1_000)?;
    lab.expect_stored()?;
    lab.read_all()
}

fn ephemeral(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    for round in 0..8 {
        lab.write(round * 4, 10)?;
        if round % 3 == 0 {
            lab.flush()?;
        }
        let more = lab.fresh(round, 12);
        lab.change(&[more])?;
        lab.write_bytes(round * 4096 + 17, 9)?;
    }
    lab.run_ms(500)?;
    lab.read_all()
}

/// Each kind of request fails in each way that passes; the outcome is the same (I9).
fn store_faults(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    let faults = [
        StoreFault::Before(StoreErrorKind::Transient),
        StoreFault::After,
        StoreFault::Before(StoreErrorKind::Exists),
        StoreFault::Before(StoreErrorKind::Permanent),
        StoreFault::Stall(Duration::from_secs(60)),
    ];
    for (round, fault) in faults.into_iter().enumerate() {
        for part in ["heads/", "segments/"] {
            lab.machine().store().fail(When::next(Request::Put, part), fault);
        }
        lab.write(round as u64 * 4, 6)?;
        lab.run_ms(700)?;
        lab.write(round as u64 * 4 + 3, 1)?;
        lab.run_ms(700)?;
    }
    lab.run_ms(130_000)?;
    lab.read_all()?;
    lab.drain()?;
    lab.check_committed()
}

/// PUTs that time out and land later, between other things.
fn late_puts(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    for round in 0..5 {
        let late = StoreFault::Late(Duration::from_millis(40 + round * 700));
        for part in ["heads/", "segments/", "writers/"] {
            lab.machine().store().fail(When::next(Request::Put, part), late);
        }
        lab.write(round * 4, 6)?;
        lab.run_ms(1_000)?;
        lab.write(round * 4 + 3, 1)?;
        lab.run_ms(300)?;
    }
    lab.run_ms(5_000)?;
    lab.read_all()
}

/// Enough small commits that the tail is folded into pages.
fn checkpoint(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    for round in 0..35 {
        lab.write(round * 7 % 250, 1)?;
        match round % 8 {
            3 => lab.trim(round, 2)?,
            5 => lab.zero(round + 100, 3)?,
            6 => lab.flush()?,
            _ => {}
        }
        lab.run_ms(620)?;
    }
    lab.write(11, 3)?;
    lab.run_ms(800)?;
    lab.read_all()
}

/// A volume is changed before the pages are read that say what was there: they come late, for a part of a block and
/// for a read, and bring back nothing.
fn paging(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    lab.write(LEAF_BLOCKS - 20, 60)?;
    for round in 0..33 {
        lab.write(LEAF_BLOCKS + round, 1)?;
        lab.run_ms(620)?;
    }
    lab.drain()?;
    for round in 0..2 {
        lab.try_open(0)?.map_err(|error| violation(format!("the volume does not open: {error}")))?;
        let lba = LEAF_BLOCKS + 8 * round;
        lab.write(lba, 2)?;
        lab.trim(lba + 2, 1)?;
        lab.zero(lba + 3, 1)?;
        let parts = [lab.fresh_bytes((lba + 4) * BLOCK_BYTES as u64 + 100, 50), lab.fresh(lba + 4, 1)];
        for part in parts {
            lab.change_later(0, part);
        }
        lab.write(lba + 1, 1)?;
        lab.finish_later()?;
        lab.read(lba, 8)?;
        lab.write(LEAF_BLOCKS - 20, 3)?;
        lab.run_ms(700)?;
        lab.read(LEAF_BLOCKS - 20, 60)?;
        lab.fall(0, Fall::Kill);
    }
    lab.open(0)
}

fn drain(lab: &mut Lab) -> Outcome {
    for round in 0..3 {
        lab.open(0)?;
        lab.write(round * 3, 5)?;
        lab.flush()?;
        lab.write(round, 2)?;
        lab.run_ms(round * 300)?;
        lab.trim(round * 4, 1)?;
        lab.drain()?;
        lab.check_committed()?;
    }
    Ok(())
}

/// The store is away for a while: writes go on up to the dirty bound, wait there, and go on afterwards.
fn outage(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    lab.write(0, 4)?;
    lab.machine().store().outage(Duration::ZERO, Duration::from_secs(20));
    for round in 0..6 {
        let write = lab.fresh(round * 4, 8);
        for outcome in lab.try_change(&[write])? {
            outcome.map_err(violation)?;
        }
        lab.run_ms(500)?;
    }
    if lab.waiting() == 0 {
        return Err(violation("no write waits at the dirty bound"));
    }
    lab.flush()?;
    lab.finish_later()?;
    lab.run_ms(2_000)?;
    lab.read_all()
}

/// Old heads go while new ones come, and over openings.
fn heads(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    for round in 0..5 {
        lab.write(round, 2)?;
        lab.run_ms(700)?;
    }
    lab.drain()?;
    lab.open(0)?;
    for round in 0..5 {
        lab.write(round * 2, 2)?;
        lab.run_ms(700)?;
    }
    let heads = lab.head_names().len();
    if heads > 6 {
        return Err(violation(format!("{heads} heads where 2 are kept")));
    }
    lab.read_all()
}

fn without_sync() -> Setup {
    let mut setup = Setup::default();
    setup.config.not_durable = None;
    setup
}

/// The store keeps what it has acknowledged over a power loss of its machine (rule W10).
fn store_without_sync(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    lab.write(0, 8)?;
    lab.flush()?;
    lab.run_ms(1_500)?;
    lab.write(3, 2)?;
    lab.run_ms(1_500)?;
    lab.drain()?;
    lab.fall(0, crate::lab::Fall::Power(crate::Survival::OnlySynced));
    lab.open(0)?;
    lab.read_all()
}
