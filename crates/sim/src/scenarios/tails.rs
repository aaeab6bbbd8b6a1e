//! Tails full of overwrites, under heads that stay: what they hide comes back, and what they show stays.

use super::{
    Scenario, plain,
    reclaim::{GRACE_MS, checkpoint},
    store::few_heads,
};
use crate::lab::{Fall, Lab, Outcome, VOLUME, violation};

/// Longer than the history that volumes keep.
const HISTORY_MS: u64 = 3_700_000;

pub(super) fn all() -> Vec<Scenario> {
    let few = |name, script| Scenario { setup: few_heads, ..plain(name, script) };
    vec![few("tail-snapshot", snapshot), few("tail-released", released)]
}

/// Segments over pages, each of which hides most of the one before, and of the pages; the last ones trim some of it.
fn overwrite(lab: &mut Lab) -> Outcome {
    checkpoint(lab, 0)?;
    for round in 0..3 {
        lab.write(round, 24)?;
        lab.write(40 + round * 3, 2)?;
        lab.run_ms(1_200)?;
    }
    lab.trim(4, 3)?;
    lab.zero(10, 2)?;
    lab.write(7, 4)?;
    lab.run_ms(1_200)
}

fn expect_tail(segments: usize) -> Outcome {
    if segments < 3 {
        return Err(violation(format!("a tail of {segments} segments hides nothing")));
    }
    Ok(())
}

/// Two snapshots over the same pages, with other tails. Their volume is overwritten, and then it is deleted.
fn snapshot(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    overwrite(lab)?;
    let head = lab.snapshot(0, "one")?;
    expect_tail(head.tail.len())?;
    lab.write(12, 9)?;
    lab.run_ms(1_200)?;
    lab.snapshot(0, "two")?;
    lab.fork(0, "v@one", "copy")?;
    lab.look(0)?;
    lab.write(0, 30)?;
    lab.run_ms(1_200)?;
    let engine = lab.engine(0);
    lab.reclaim_thoroughly(0, engine.clone(), GRACE_MS)?;
    lab.delete(0, &engine, VOLUME)?.map_err(violation)?;
    for _ in 0..4 {
        lab.reclaim_thoroughly(0, engine.clone(), GRACE_MS)?;
        lab.run_ms(GRACE_MS)?;
    }
    lab.check_mostly_shown()?;
    match lab.check_kept()? {
        3 => Ok(()),
        kept => Err(violation(format!("{kept} snapshots and forks are left, not 3"))),
    }
}

/// A volume that nobody has open, until its history is over. Then it is opened again, and goes on from its rewritten tail;
/// the released head is history, and names in its pages what is dropped.
fn released(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    overwrite(lab)?;
    lab.drain()?;
    lab.fall(0, Fall::Kill);
    expect_tail(lab.newest_of(VOLUME)?.map_or(0, |head| head.tail.len()))?;
    lab.run_ms(HISTORY_MS)?;
    let engine = lab.bare_engine(0)?;
    for _ in 0..4 {
        lab.reclaim_thoroughly(0, engine.clone(), GRACE_MS)?;
        lab.run_ms(GRACE_MS)?;
    }
    lab.check_mostly_shown()?;
    drop(engine);
    lab.open(0)?;
    lab.read_all()?;
    checkpoint(lab, 1)?;
    let engine = lab.engine(0);
    lab.reclaim_thoroughly(0, engine, GRACE_MS)?;
    lab.look(0)?;
    lab.read_all()
}
