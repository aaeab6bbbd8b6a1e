//! Old heads that go, and volumes that go back to one.

use std::time::Duration;

use esker_engine::{host::Target, volume::Limits};
use esker_format::property::History;

use super::{Scenario, plain, store::few_heads};
use crate::{
    Request, StoreFault, Survival, When,
    lab::{Fall, Lab, Outcome, Setup, VOLUME, small_limits, violation},
};

/// The grace of these scenarios.
const GRACE_MS: u64 = 500;
/// More than the history and the grace of these scenarios.
const LONG_MS: u64 = 12_000;

pub(super) fn all() -> Vec<Scenario> {
    vec![
        plain("rewind", rewind),
        Scenario { setup: late_seals, ..plain("rewind-pieces", rewind_pieces) },
        Scenario { sites: 2, ..plain("rewind-stale-log", stale_log) },
        Scenario { sites: 2, setup: short_history, ..plain("rewind-expired", expired) },
        Scenario { setup: short_history, ..plain("history", history) },
        Scenario { setup: few_heads, ..plain("history-clocks", clocks) },
    ]
}

/// What is in pieces stays there.
fn late_seals() -> Setup {
    let limits = Limits { seal_age: Duration::from_secs(60), ..small_limits() };
    Setup { limits, ..Setup::default() }
}

/// Five seconds.
fn short_history() -> Setup {
    Setup { history: History::of_seconds(5).unwrap_or_default(), limits: small_limits(), ..Setup::default() }
}

/// Writes, and waits until the store has it.
fn commit(lab: &mut Lab, lba: u64) -> Outcome {
    lab.write(lba, 4)?;
    lab.run_ms(1_500)?;
    lab.expect_stored()
}

/// Back, back to what was before that, and on from there; a crash leaves the one state or the other.
fn rewind(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    commit(lab, 0)?;
    let first = lab.keep_state()?;
    commit(lab, 2)?;
    lab.resize(300)?;
    lab.write(290, 4)?;
    lab.trim(0, 1)?;
    lab.run_ms(1_500)?;
    let second = lab.keep_state()?;
    let kept = lab.rewind(&first)?.kept.ok_or_else(|| violation("the state before is not kept"))?;
    lab.check_state(&kept, &second)?;
    commit(lab, 1)?;
    commit(lab, 6)?;
    lab.fall(0, Fall::Power(Survival::OnlySynced));
    lab.open(0)?;
    let Some((_, snapshot)) = kept.split_once('@') else { return Err(violation(kept)) };
    let engine = lab.engine(0);
    let running = lab.begin_rewind_by(0, engine, (Target::Snapshot(snapshot.to_owned()), &second));
    let outcome = lab.wait(running)?;
    lab.end_rewind(0, &second, outcome)?.map_err(|error| violation(format!("a rewind fails: {error}")))?;
    lab.read_all()?;
    commit(lab, 280)?;
    lab.drain()?;
    lab.check_committed()?;
    lab.check_state(&kept, &second)
}

/// Rule H7: back to a head whose state is in pieces of others.
fn rewind_pieces(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    commit(lab, 0)?;
    commit(lab, 2)?;
    let first = lab.keep_state()?;
    commit(lab, 1)?;
    lab.rewind(&first)?;
    commit(lab, 3)?;
    lab.fall(0, Fall::Kill);
    lab.open(0)?;
    lab.read_all()
}

/// Rule H5: a log that the state was made from comes back, and holds more than it.
fn stale_log(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    commit(lab, 0)?;
    let first = lab.keep_state()?;
    // More than all that comes until the rewind.
    for lba in 0..8 {
        lab.write(lba, 1)?;
    }
    lab.flush()?;
    lab.fall(0, Fall::Power(Survival::Everything));
    lab.open(1)?;
    commit(lab, 5)?;
    let before = lab.volume_head()?;
    let running = lab.begin_rewind(1, &first);
    // The release of the drain, and the claim with the older state.
    lab.run_until("the claim is there", |lab| lab.volume_head().is_ok_and(|head| head >= before + 2))?;
    lab.fall(1, Fall::Kill);
    drop(running);
    lab.open(0)?;
    lab.check_state(VOLUME, &first)?;
    commit(lab, 7)?;
    lab.fall(0, Fall::Kill);
    lab.open(0)?;
    lab.read_all()
}

/// Rule R8: the head gets older than the history while somebody goes back to it, and what it reaches is deleted.
fn expired(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    commit(lab, 0)?;
    let first = lab.keep_state()?;
    commit(lab, 0)?;
    // A shrink folds everything into pages: the new head does not name what was overwritten.
    let blocks = lab.blocks();
    lab.resize(blocks + 1)?;
    lab.resize(blocks)?;
    lab.drain()?;
    let heads = lab.head_names().len() as u64;
    let engine = lab.bare_engine(0)?;
    let slow = StoreFault::Stall(Duration::from_millis(4 * LONG_MS));
    // All heads are read to see what there is, then the one that is gone back to.
    let reads = When::next(Request::Get, "heads/").host(lab.host(0).number()).skip(heads).times(2);
    lab.machine().store().fail(reads, slow);
    let number = first.number;
    let task = lab
        .host(0)
        .spawn("rewind", async move { engine.rewind_as(VOLUME, &Target::Head(number), "w").await });
    let other = lab.bare_engine(1)?;
    for _ in 0..3 {
        lab.run_ms(LONG_MS)?;
        let round = lab.begin_reclaim_by(1, other.clone(), GRACE_MS);
        lab.wait(round)?.map_err(|error| violation(format!("reclaim fails: {error}")))?;
    }
    lab.run_ms(2 * LONG_MS)?;
    match lab.wait(task)? {
        Ok(_) => lab.check_state("w", &first)?,
        Err(esker_engine::EngineError::NotFound(_)) => {}
        Err(error) => return Err(violation(format!("a rewind fails: {error}"))),
    }
    let round = lab.begin_reclaim_by(1, other, GRACE_MS);
    lab.wait(round)?.map_err(|error| violation(format!("reclaim fails: {error}")))?;
    lab.check_roots()?;
    lab.open(0)?;
    lab.read_all()
}

/// Heads go when they are older than the history: of a volume that is idle, and of one that nobody has open. What they
/// reached goes with them; what is younger stays.
fn history(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    for lba in 0..3 {
        commit(lab, lba)?;
    }
    let young = lab.keep_state()?;
    commit(lab, 1)?;
    lab.reclaim(0, GRACE_MS)?;
    lab.run_ms(GRACE_MS)?;
    lab.reclaim(0, GRACE_MS)?;
    lab.rewind(&young)?;
    lab.run_ms(LONG_MS)?;
    expect_heads(lab, "an idle volume")?;
    for lba in 0..3 {
        commit(lab, lba)?;
    }
    lab.drain()?;
    for _ in 0..4 {
        lab.run_ms(LONG_MS)?;
        lab.reclaim(0, GRACE_MS)?;
    }
    expect_heads(lab, "a released volume")?;
    lab.check_no_garbage()?;
    lab.check_committed()
}

/// One, and what a rule keeps: a claim after a crash and the head before it.
fn expect_heads(lab: &mut Lab, what: &str) -> Outcome {
    let heads = lab.volume_heads()?;
    if (1..=3).contains(&heads.len()) {
        return Ok(());
    }
    Err(violation(format!("{what} has the heads {heads:?} after its history")))
}

/// Clocks jump: no head goes that a rule keeps, and the newest never.
fn clocks(lab: &mut Lab) -> Outcome {
    let years = 10 * 365 * 86_400_000_i64;
    lab.open(0)?;
    for (round, by) in [years, -2 * years, years, 3_600_000, -3_600_000].into_iter().enumerate() {
        commit(lab, round as u64)?;
        lab.host(0).clock().jump_wall(by);
        commit(lab, round as u64 + 1)?;
        lab.reclaim(0, GRACE_MS)?;
        if lab.volume_heads()?.is_empty() {
            return Err(violation("the newest head is gone"));
        }
        lab.drain()?;
        lab.open(0)?;
    }
    lab.read_all()
}
