//! Properties that change while the volume is written.

use std::time::Duration;

use esker_engine::volume::{PropertyChange, Wish};
use esker_format::property::{Compression, Durability, History, OnLag};
use esker_io::StoreErrorKind;

use super::{Scenario, plain, store::small_ephemeral};
use crate::{
    Request, StoreFault, When,
    lab::{Fall, Lab, Outcome, violation},
};

/// More than the history of these scenarios.
const LONG_MS: u64 = 8_000;

pub(super) fn all() -> Vec<Scenario> {
    vec![
        Scenario { setup: small_ephemeral, ..plain("set", set) },
        plain("set-sync-ends", sync_ends),
        plain("set-stall-ends", stall_ends),
        plain("set-history", shorter_history),
        Scenario { sites: 2, ..plain("set-and-takeover", takeover) },
    ]
}

fn durability(durability: Durability) -> PropertyChange {
    PropertyChange { durability: Wish::Set(durability), ..PropertyChange::default() }
}

fn bounded(seconds: u32) -> PropertyChange {
    durability(Durability::Bounded { seconds })
}

/// Each durability after another, while guests write and the head is under way for a while. It is kept at once, and by
/// whoever opens the volume next.
fn set(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    lab.write(0, 4)?;
    let changes = [bounded(1), durability(Durability::Sync), durability(Durability::Ephemeral), bounded(2)];
    for (round, change) in changes.into_iter().enumerate() {
        let slow = StoreFault::Before(StoreErrorKind::Transient);
        lab.machine().store().fail(When::next(Request::Put, "heads/"), slow);
        let setting = lab.begin_set(change);
        for step in 0..50 {
            if setting.is_done() {
                break;
            }
            lab.write(round as u64 * 3 + step % 5, 1)?;
            lab.run_ms(1)?;
        }
        lab.end_set(setting)?;
        lab.write(round as u64, 3)?;
        lab.flush()?;
        lab.run_ms(2_500)?;
        if round != 2 {
            lab.expect_stored()?;
        }
        if round == 1 {
            lab.fall(0, Fall::Kill);
            lab.open(0)?;
        }
    }
    lab.set(PropertyChange {
        compression: Wish::Set(Compression::Off),
        on_lag: Wish::Set(OnLag::Stall),
        ..PropertyChange::default()
    })?;
    lab.write(1, 8)?;
    lab.drain()?;
    lab.check_committed()?;
    lab.open(0)
}

/// FLUSHes wait for the store when `sync` ends: they have their answers, and later ones do not wait.
fn sync_ends(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    lab.set(durability(Durability::Sync))?;
    for end in [Durability::Ephemeral, Durability::Bounded { seconds: 60 }] {
        lab.write(0, 4)?;
        lab.machine()
            .store()
            .fail(When::next(Request::Put, "heads/"), StoreFault::Stall(Duration::from_secs(2)));
        // The change takes the chain first: the flush waits behind its head.
        let setting = lab.begin_set(durability(end));
        lab.run_ms(100)?;
        lab.write(4, 4)?;
        let flush = lab.host(0).spawn("flush", lab.volume(0).stored_later());
        lab.end_set(setting)?;
        lab.wait(flush)?.map_err(violation)?;
        lab.write(2, 3)?;
        lab.run_ms(3_000)?;
        if lab.volume(0).is_stored() && lab.expect_stored().is_ok() {
            return Err(violation("the store has what nobody asked it to have"));
        }
        lab.set(durability(Durability::Sync))?;
    }
    lab.read_all()
}

/// Writes wait since the store lags, until what it lags behind is not promised any more.
fn stall_ends(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    let stall = PropertyChange { on_lag: Wish::Set(OnLag::Stall), ..PropertyChange::default() };
    let alarm = PropertyChange { on_lag: Wish::Set(OnLag::Alarm), ..PropertyChange::default() };
    for (round, end) in [alarm, durability(Durability::Ephemeral)].into_iter().enumerate() {
        lab.set(PropertyChange { durability: Wish::Set(Durability::Bounded { seconds: 1 }), ..stall })?;
        // Segments do not come through, heads do: the log is too much for a piece.
        let away = StoreFault::Stall(Duration::from_secs(40));
        lab.machine().store().fail(When::next(Request::Put, "segments/").times(20), away);
        for lba in 0..5 {
            lab.write(0, 220 + lba)?;
        }
        lab.run_ms(1_500)?;
        let write = lab.fresh(8 + round as u64, 4);
        for outcome in lab.try_change(&[write])? {
            outcome.map_err(violation)?;
        }
        if lab.waiting() == 0 || !lab.volume(0).status().lags {
            return Err(violation("no write waits while the store lags"));
        }
        lab.set(end)?;
        lab.run_ms(1_000)?;
        if lab.waiting() != 0 {
            return Err(violation("a write waits for a promise that is not made any more"));
        }
        lab.finish_later()?;
        lab.machine().store().forget_plan();
        lab.run_ms(60_000)?;
    }
    lab.read_all()
}

/// A shorter history lets heads go that the longer one kept; a longer one brings none back, and keeps those that come.
fn shorter_history(lab: &mut Lab) -> Outcome {
    let history = |seconds| PropertyChange {
        history: Wish::Set(History::of_seconds(seconds).unwrap_or_default()),
        ..PropertyChange::default()
    };
    lab.open(0)?;
    for lba in 0..6 {
        lab.write(lba, 4)?;
        lab.run_ms(1_500)?;
    }
    lab.run_ms(LONG_MS)?;
    let before = lab.volume_heads()?.len();
    lab.set(history(5))?;
    lab.run_ms(2_000)?;
    let after = lab.volume_heads()?.len();
    if before < 6 || after > 4 {
        return Err(violation(format!("a shorter history left {after} of {before} heads")));
    }
    lab.set(history(3_600))?;
    for lba in 0..4 {
        lab.write(lba, 4)?;
        lab.run_ms(1_500)?;
    }
    lab.run_ms(LONG_MS)?;
    let later = lab.volume_heads()?.len();
    if later < after + 4 {
        return Err(violation(format!("of {after} heads and 4 more a longer history left {later}")));
    }
    lab.drain()?;
    lab.check_committed()
}

/// Whoever comes next finds the properties that were answered.
fn takeover(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    lab.write(0, 4)?;
    lab.set(durability(Durability::Sync))?;
    lab.write(3, 4)?;
    lab.flush()?;
    lab.open(1)?;
    lab.set(PropertyChange {
        history: Wish::Set(History::of_seconds(60).unwrap_or_default()),
        ..bounded(2)
    })?;
    lab.write(5, 4)?;
    lab.run_ms(2_500)?;
    lab.expect_stored()?;
    lab.open(0)?;
    lab.drain()?;
    lab.check_committed()
}
