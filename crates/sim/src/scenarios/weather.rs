//! Bad weather: a store that is away for an hour or throttles, a disk that is full for a while, clocks that jump, a
//! process that stands still for an hour. Guests go on as far as they may, wait, and go on.

use std::time::Duration;

use esker_engine::EngineError;
use esker_format::property::Durability;
use esker_io::StoreErrorKind;

use super::{
    Scenario, plain,
    store::{few_heads, small_ephemeral},
};
use crate::{
    Request, StoreFault, Survival, SyncFault, When,
    lab::{Fall, Lab, Outcome, Setup, violation},
};

pub(super) fn all() -> Vec<Scenario> {
    vec![
        Scenario { setup: large_ephemeral, cut: false, ..plain("hour-away", hour_away) },
        plain("throttled", throttled),
        Scenario { setup: large, cut: false, ..plain("stalls", stalls) },
        plain("full-for-a-while", full_for_a_while),
        Scenario { setup: ephemeral, ..plain("makes-room", makes_room) },
        Scenario { cut: false, ..plain("full-for-long", full_for_long) },
        plain("sync-fails-once", sync_fails_once),
        plain("clocks", clocks),
        Scenario { setup: few_heads, sites: 2, cut: false, ..plain("hour-stopped", hour_stopped) },
    ]
}

const HOUR_MS: u64 = 3_600_000;
/// How long everything may take once nothing fails any more (I10).
const SETTLED_WITHIN_MS: u64 = 30_000;

/// The store is away for an hour. Writes go on up to the dirty bound and wait there; what is on the local disk is read;
/// the store is hardly asked; and soon after it is back everything is acknowledged and drained.
fn hour_away(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    for round in 0..25 {
        lab.write(30 * round, 30)?;
    }
    lab.drain()?;
    lab.open(0)?;
    lab.write(0, 4)?;
    lab.machine().store().outage(Duration::ZERO, Duration::from_millis(HOUR_MS));
    for round in 0..8 {
        let write = lab.fresh(round * 4, 8);
        for outcome in lab.try_change(&[write])? {
            outcome.map_err(violation)?;
        }
        lab.run_ms(1_000)?;
    }
    if lab.waiting() == 0 {
        return Err(violation("no write waits at the dirty bound"));
    }
    let before = lab.machine().store().counts();
    lab.flush()?;
    for round in 0..6 {
        lab.read(0, 4)?;
        // What only the store has is not there now; whoever asks hears of it, and not after an hour.
        let begun = lab.machine().executor().now();
        match lab.try_read(40 + 60 * round, 4)? {
            Err(EngineError::Store(_)) => {}
            other => return Err(violation(format!("a read from a store that is away: {other:?}"))),
        }
        let waited = (lab.machine().executor().now() - begun).as_millis() as u64;
        if waited > 35_000 {
            return Err(violation(format!("a read waits {waited} ms for a store that is away")));
        }
        lab.run_ms(HOUR_MS / 6 - 2_000 - waited)?;
    }
    let asked = lab.machine().store().counts().put - before.put;
    // A probe every eight seconds at most.
    if asked > HOUR_MS / 4_000 {
        return Err(violation(format!("{asked} PUTs to a store that is away for an hour")));
    }
    lab.run_ms(12_000)?;
    back(lab)
}

/// What has to hold within 30 seconds after the last fault.
fn back(lab: &mut Lab) -> Outcome {
    lab.run_ms(SETTLED_WITHIN_MS)?;
    lab.reap_later()?;
    if lab.waiting() > 0 {
        return Err(violation(format!("{} writes still wait {SETTLED_WITHIN_MS} ms later", lab.waiting())));
    }
    lab.read_all()?;
    lab.drain()?;
    lab.check_committed()
}

/// A store that asks to be left alone is left alone, and gets everything in the end.
fn throttled(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    let busy = StoreFault::Before(StoreErrorKind::Throttled(Duration::from_secs(5)));
    for part in ["segments/", "heads/"] {
        lab.machine().store().fail(When::next(Request::Put, part).times(3), busy);
    }
    for round in 0..6 {
        lab.write(round * 4, 6)?;
        lab.run_ms(900)?;
    }
    lab.run_ms(20_000)?;
    back(lab)
}

/// Three megabytes, more than the lab's cache holds, with a small dirty bound and nothing that is due before it.
fn large_ephemeral() -> Setup {
    Setup { size_bytes: 3 << 20, ..small_ephemeral() }
}

/// Eight megabytes, far more than the lab's cache holds.
fn large() -> Setup {
    Setup { size_bytes: 8 << 20, ..Setup::default() }
}

/// Some answers take a minute: reads are sent a second time, and what comes is what was asked for.
fn stalls(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    for round in 0..8 {
        lab.write(round * 250, 250)?;
        lab.run_ms(700)?;
    }
    lab.run_ms(2_000)?;
    let before = lab.machine().store().counts().get;
    let mut slowest = 0;
    for round in 0..600 {
        if round > 300 && round % 25 == 0 {
            let stall = StoreFault::Stall(Duration::from_secs(60));
            lab.machine().store().fail(When::next(Request::Get, "segments/"), stall);
        }
        let begun = lab.machine().executor().now();
        lab.read(round * 613 % 1_996, 4)?;
        slowest = slowest.max((lab.machine().executor().now() - begun).as_secs());
    }
    let gets = lab.machine().store().counts().get - before;
    if gets < 300 || slowest >= 10 {
        return Err(violation(format!("{gets} GETs, and a read takes {slowest} s")));
    }
    Ok(())
}

/// The disk has no room for another chunk, for some seconds: writes wait, reads go on, and nothing has to be opened again.
fn full_for_a_while(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    lab.write(0, 200)?;
    lab.flush()?;
    lab.host(0).disk().fill(true);
    // Two of them do not fit into the rest of the chunk.
    for round in 0..3 {
        let write = lab.fresh(round * 3, 200);
        for outcome in lab.try_change(&[write])? {
            outcome.map_err(violation)?;
        }
        lab.read(210, 8)?;
    }
    let waiting = lab.waiting();
    lab.run_ms(4_000)?;
    lab.host(0).disk().fill(false);
    lab.finish_later()?;
    if waiting == 0 {
        return Err(violation("no write waits on a full disk"));
    }
    lab.write(5, 100)?;
    lab.flush()?;
    lab.read_all()?;
    lab.drain()?;
    lab.check_committed()
}

fn ephemeral() -> Setup {
    Setup { durability: Durability::Ephemeral, ..Setup::default() }
}

/// The disk stays full, and a volume of which nothing would go to the store makes room for itself: its files come free.
fn makes_room(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    lab.write(0, 240)?;
    // A file for the next chunk is made ahead.
    lab.run_ms(50)?;
    lab.host(0).disk().fill(true);
    for round in 0..8 {
        lab.write(round, 240)?;
    }
    lab.flush()?;
    lab.read_all()
}

/// It stays full: the guest hears of it, and the volume goes on when somebody makes room.
fn full_for_long(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    lab.host(0).disk().fill(true);
    let write = lab.fresh(3, 200);
    let refused = lab.change_apart(0, write)?;
    match refused {
        Err(EngineError::Disk(error)) if error.no_space => {}
        other => return Err(violation(format!("a write to a full disk: {other:?}"))),
    }
    if lab.has_stopped(0) {
        return Err(violation("a full disk stops a volume"));
    }
    lab.flush()?;
    lab.read_all()?;
    lab.host(0).disk().fill(false);
    lab.write(3, 200)?;
    lab.flush()?;
    lab.read_all()
}

/// One sync fails, and the next would succeed: the kernel has forgotten what it did not write (I11).
fn sync_fails_once(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    lab.write(0, 4)?;
    lab.flush()?;
    lab.write(2, 4)?;
    lab.host(0).disk().fail_sync(1, SyncFault::Once);
    if lab.try_flush()?.is_ok() {
        // Then it has to be there.
        lab.fall(0, Fall::Power(Survival::OnlySynced));
        return lab.open(0);
    }
    // What can be read is read until it is opened again.
    lab.read_all()?;
    lab.fall(0, Fall::Kill);
    lab.open(0)?;
    lab.write(9, 1)?;
    lab.flush()?;
    lab.read_all()
}

/// Wall clocks jump by an hour and ten years, run backwards, and stand still. Nothing depends on them.
fn clocks(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    let hour = HOUR_MS as i64;
    let jumps = [hour, -hour, 87_660 * hour, -2 * 87_660 * hour, i64::MIN / 2];
    for (round, by_ms) in (0..).zip(jumps) {
        lab.host(0).clock().jump_wall(by_ms);
        lab.write(round * 4, 6)?;
        lab.run_ms(1_500)?;
        if lab.dirty() != 0 {
            return Err(violation(format!("a jump by {by_ms} ms holds up a commit")));
        }
        if round % 2 == 0 {
            lab.drain()?;
            lab.fall(0, Fall::Kill);
            lab.open(0)?;
        }
    }
    lab.host(0).clock().freeze_wall();
    lab.write(0, 30)?;
    lab.flush()?;
    lab.run_ms(1_500)?;
    lab.fall(0, Fall::Power(Survival::OnlySynced));
    lab.open(0)
}

/// A host stands still for an hour, first alone, then while another one takes over: what it believed is checked before
/// it counts (H1, guarantee 5).
fn hour_stopped(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    lab.write(0, 8)?;
    lab.flush()?;
    lab.host(0).pause();
    lab.run_ms(HOUR_MS)?;
    lab.host(0).resume();
    lab.write(3, 3)?;
    lab.run_ms(1_500)?;
    if lab.dirty() != 0 {
        return Err(violation("an hour's rest holds up a commit"));
    }
    lab.write(5, 2)?;
    lab.host(0).pause();
    let other = lab.add_site();
    lab.open(other)?;
    for round in 0..6 {
        lab.write(round * 3, 4)?;
        lab.run_ms(HOUR_MS / 6)?;
    }
    lab.host(0).resume();
    let _ = lab.stray_write(0, 1)?;
    lab.run_ms(10_000)?;
    if !lab.has_stopped(0) {
        return Err(violation("a writer that was fenced for an hour goes on"));
    }
    lab.read_all()?;
    lab.drain()?;
    lab.check_committed()
}
