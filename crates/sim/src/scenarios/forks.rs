//! Snapshots and forks: made while guests write, while their sources go, and while their makers die.

use std::time::Duration;

use esker_engine::volume::Limits;
use esker_format::head::HeadKind;
use esker_io::StoreErrorKind;

use super::{Scenario, plain, store::few_heads};
use crate::{
    Request, StoreFault, When,
    lab::{Fall, Lab, Outcome, Setup, VOLUME, small_limits, violation},
};

/// The grace of these scenarios.
const GRACE_MS: u64 = 3_000;

pub(super) fn all() -> Vec<Scenario> {
    let few = |name, script| Scenario { setup: few_heads, ..plain(name, script) };
    let two = |name, script| Scenario { sites: 2, ..few(name, script) };
    vec![
        few("snapshot", snapshot),
        Scenario { setup: late_seals, ..plain("snapshot-pieces", snapshot_pieces) },
        plain("snapshot-point", snapshot_point),
        few("snapshot-faults", snapshot_faults),
        few("snapshot-kept", snapshot_kept),
        Scenario { setup: late_seals, sites: 2, ..plain("fork-pieces", fork_pieces) },
        two("fork-unborn", fork_unborn),
        Scenario { cut: false, ..two("fork-late", fork_late) },
        two("fork-too-late", fork_too_late),
        Scenario { cut: false, ..two("fork-deleted", fork_deleted) },
        few("fork-hop", fork_hop),
    ]
}

fn late_seals() -> Setup {
    let limits = Limits { seal_age: Duration::from_secs(10), heads_kept: 2, ..small_limits() };
    Setup { limits, ..Setup::default() }
}

/// Writes, commits, and folds everything into pages.
fn checkpoint(lab: &mut Lab, round: u64) -> Outcome {
    lab.write(round % 5, 4)?;
    lab.run_ms(1_200)?;
    let blocks = lab.blocks();
    // A shrink folds all of the log into pages.
    lab.trim(blocks - 1, 1)?;
    lab.resize(blocks + 1)?;
    lab.resize(blocks)
}

fn expect_kept(lab: &mut Lab, expected: usize) -> Outcome {
    let kept = lab.check_kept()?;
    if kept == expected {
        Ok(())
    } else {
        Err(violation(format!("{kept} snapshots and forks, not {expected}")))
    }
}

/// Snapshots and forks of a volume that is written, read and reclaimed all the time.
fn snapshot(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    lab.write(0, 6)?;
    lab.write_bytes(4096 + 700, 5_000)?;
    let made = lab.begin_snapshot(0, "one");
    lab.write(2, 3)?;
    lab.trim(5, 2)?;
    lab.wait(made)?.map_err(violation)?;
    lab.write(1, 2)?;
    lab.fork(0, "v@one", "from-snapshot")?;
    lab.fork(0, VOLUME, "from-running")?;
    checkpoint(lab, 3)?;
    lab.reclaim(0, 500)?;
    lab.snapshot(0, "two")?;
    expect_kept(lab, 4)?;
    lab.read_all()
}

/// The same where most is in pieces, which go on beyond the point.
fn snapshot_pieces(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    for round in 0..3 {
        lab.write(round * 3, 4)?;
        lab.run_ms(1_000)?;
        let made = lab.begin_snapshot(0, &format!("s{round}"));
        lab.write(round * 2, 2)?;
        lab.run_ms(1_000)?;
        lab.wait(made)?.map_err(violation)?;
        lab.write(round + 1, 1)?;
    }
    expect_kept(lab, 3)?;
    lab.read_all()
}

/// Rule W6: what is written after the point is not in it, though the log is cut late.
fn snapshot_point(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    let slow = StoreFault::Stall(Duration::from_secs(4));
    lab.machine().store().fail(When::next(Request::Put, "segments/").times(3), slow);
    for round in 0..3 {
        // No more seals than this are on their way at once.
        lab.write(round * 4, 4)?;
        lab.run_ms(1_100)?;
    }
    lab.write(1, 2)?;
    let (last, volume) = (lab.last(), lab.volume(0));
    let point =
        lab.host(0).spawn("point", async move { volume.point().await.map(|state| state.head().sequence) });
    lab.run_ms(1)?;
    lab.write(2, 2)?;
    lab.trim(0, 1)?;
    let sequence = lab.wait(point)?.map_err(violation)?;
    if sequence != last {
        return Err(violation(format!("the point at sequence {last} holds writes up to {sequence}")));
    }
    let made = lab.begin_snapshot(0, "one");
    lab.write(3, 2)?;
    lab.wait(made)?.map_err(violation)?;
    expect_kept(lab, 1)
}

/// Each PUT of a birth fails in each way that passes (I9).
fn snapshot_faults(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    let faults = [
        StoreFault::Before(StoreErrorKind::Transient),
        StoreFault::After,
        StoreFault::Late(Duration::from_millis(700)),
        StoreFault::Before(StoreErrorKind::Exists),
    ];
    for (round, fault) in faults.into_iter().enumerate() {
        lab.write(round as u64, 2)?;
        lab.run_ms(1_500)?;
        for skip in 0..3 {
            lab.machine().store().fail(When::next(Request::Put, "").skip(skip), fault);
            lab.snapshot(0, &format!("s{round}-{skip}"))?;
            lab.machine().store().forget_plan();
        }
    }
    expect_kept(lab, 12)?;
    lab.read_all()
}

/// A snapshot stays what it is while its volume is overwritten and deleted, and its siblings go (I7, I8).
fn snapshot_kept(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    for round in 0..3 {
        checkpoint(lab, round)?;
        lab.write(round, 3)?;
        lab.snapshot(0, &format!("s{round}"))?;
    }
    let engine = lab.engine(0);
    lab.fork(0, "v@s1", "fork")?;
    lab.delete(0, &engine, "v@s1")?.map_err(violation)?;
    for round in 0..2 {
        checkpoint(lab, round + 3)?;
        lab.run_ms(GRACE_MS)?;
        lab.reclaim(0, GRACE_MS)?;
        expect_kept(lab, 3)?;
    }
    lab.delete(0, &engine, VOLUME)?.map_err(violation)?;
    for _ in 0..3 {
        lab.run_ms(GRACE_MS)?;
        lab.reclaim(0, GRACE_MS)?;
        expect_kept(lab, 3)?;
    }
    for name in ["v@s0", "fork", "v@s2"] {
        lab.delete(0, &engine, name)?.map_err(violation)?;
    }
    for _ in 0..3 {
        lab.run_ms(GRACE_MS)?;
        lab.reclaim(0, GRACE_MS)?;
    }
    lab.check_no_garbage()
}

/// Rule H7: another host forks what is in pieces; then the owner covers them, and the heads that carry them go.
fn fork_pieces(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    for round in 0..4 {
        lab.write(round * 2, 3)?;
        lab.run_ms(1_000)?;
    }
    lab.expect_stored()?;
    let (engine, last) = (lab.bare_engine(1)?, lab.last());
    let made = lab.begin_fork(1, &engine, VOLUME, "copy");
    let head = lab.wait(made)?.map_err(violation)?;
    if head.sequence != last {
        return Err(violation(format!("the fork holds {} of {last} writes", head.sequence)));
    }
    for round in 0..12 {
        lab.write(round, 2)?;
        lab.run_ms(1_500)?;
    }
    expect_kept(lab, 1)?;
    lab.reclaim(0, 500)?;
    expect_kept(lab, 1)
}

/// Rule R6: an unborn head is a root. Its maker has looked and is slow; its source moves on meanwhile.
fn fork_unborn(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    checkpoint(lab, 0)?;
    let engine = lab.bare_engine(1)?;
    // The first PUT on heads is the pin, the second the birth.
    let late = StoreFault::Before(StoreErrorKind::Transient);
    lab.machine().store().fail(When::next(Request::Put, "heads/").host(2).skip(1).times(8), late);
    let made = lab.begin_fork(1, &engine, VOLUME, "copy");
    lab.run_until("the pin is there", |lab| lab.head_names().iter().any(|name| !is_of_owner(lab, name)))?;
    for round in 0..4 {
        checkpoint(lab, round)?;
        lab.run_ms(1_000)?;
        lab.reclaim(0, 1_000)?;
    }
    match lab.wait(made)? {
        Ok(head) if head.kind == HeadKind::Released => {}
        Ok(head) => return Err(violation(format!("born as {}", head.kind))),
        // The look came after the head had gone.
        Err(error) => return Err(violation(format!("no fork: {error}"))),
    }
    lab.check_roots()?;
    expect_kept(lab, 1)
}

fn is_of_owner(lab: &Lab, name: &str) -> bool {
    name.contains(&lab.volume(lab.owner()).id().to_string())
}

/// Rule R6: a pin arrives when its source, its maker and the data are gone. It stops no round and is no volume.
fn fork_late(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    checkpoint(lab, 0)?;
    let maker = lab.bare_engine(1)?;
    lab.machine().store().fail(When::next(Request::Put, "heads/").host(2), StoreFault::Parked);
    drop(lab.begin_fork(1, &maker, VOLUME, "copy"));
    lab.run_until("a pin is sent", |lab| lab.machine().store().parked() == 1)?;
    lab.fall(1, Fall::Directory);
    let engine = lab.engine(0);
    lab.delete(0, &engine, VOLUME)?.map_err(violation)?;
    for _ in 0..3 {
        lab.run_ms(GRACE_MS)?;
        lab.reclaim(0, GRACE_MS)?;
    }
    lab.machine().store().deliver();
    for _ in 0..3 {
        lab.run_ms(GRACE_MS)?;
        let round = lab.begin_reclaim(0, GRACE_MS);
        lab.wait(round)?.map_err(|error| violation(format!("reclaim fails: {error}")))?;
    }
    lab.check_no_garbage()?;
    expect_kept(lab, 0)
}

/// Rule R6: the maker lives, and its pin arrives when the source is gone. It looks, and makes nothing.
fn fork_too_late(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    checkpoint(lab, 0)?;
    let maker = lab.bare_engine(1)?;
    let late = StoreFault::Before(StoreErrorKind::Transient);
    lab.machine().store().fail(When::next(Request::Put, "heads/").host(2).times(12), late);
    let made = lab.begin_fork(1, &maker, VOLUME, "copy");
    lab.run_ms(50)?;
    let engine = lab.engine(0);
    lab.delete(0, &engine, VOLUME)?.map_err(violation)?;
    for _ in 0..3 {
        lab.run_ms(1_000)?;
        lab.reclaim(0, 1_000)?;
    }
    let made = lab.wait(made)?;
    lab.check_roots()?;
    if made.is_ok() {
        return Err(violation("a fork was born of a volume that had been deleted"));
    }
    match lab.newest_of("copy")? {
        None => expect_kept(lab, 0),
        Some(head) => Err(violation(format!("the name stands for a volume that is {}", head.kind))),
    }
}

/// Rule H6: an unborn fork is deleted; its birth arrives late, and has no effect.
fn fork_deleted(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    checkpoint(lab, 0)?;
    let maker = lab.bare_engine(1)?;
    lab.machine().store().fail(When::next(Request::Put, "heads/").host(2).skip(1), StoreFault::Parked);
    drop(lab.begin_fork(1, &maker, VOLUME, "copy"));
    lab.run_until("a birth is sent", |lab| lab.machine().store().parked() == 1)?;
    lab.fall(1, Fall::Directory);
    let kind = lab.newest_of("copy")?.map(|head| head.kind);
    if kind != Some(HeadKind::Unborn) {
        return Err(violation(format!("expected an unborn volume under the name, found {kind:?}")));
    }
    let engine = lab.engine(0);
    lab.delete(0, &engine, "copy")?.map_err(violation)?;
    for (name, effect) in lab.machine().store().deliver() {
        if effect {
            return Err(violation(format!("{name} came alive after its volume was deleted")));
        }
    }
    lab.fork(0, VOLUME, "copy")?;
    lab.write(1, 2)?;
    lab.reclaim(0, 500)?;
    expect_kept(lab, 1)?;
    lab.read_all()
}

/// Rule R7: while a round lists, what it has to find hops from one root to the next, twice.
fn fork_hop(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    checkpoint(lab, 0)?;
    lab.snapshot(0, "one")?;
    for round in 1..4 {
        checkpoint(lab, round)?;
    }
    let engine = lab.engine(0);
    let slow = StoreFault::Stall(Duration::from_secs(3));
    for stalls in 0..2 {
        lab.machine().store().fail(When::next(Request::List, "volumes/").host(1).skip(stalls), slow);
        let running = lab.begin_reclaim(0, 1);
        lab.run_ms(200)?;
        let (from, to) = [("v@one", "a"), ("a", "b")][stalls as usize];
        lab.fork(0, from, to)?;
        lab.delete(0, &engine, from)?.map_err(violation)?;
        lab.wait(running)?.map_err(|error| violation(format!("reclaim fails: {error}")))?;
        lab.check_roots()?;
        expect_kept(lab, 1)?;
        lab.machine().store().forget_plan();
    }
    lab.run_ms(GRACE_MS)?;
    lab.reclaim(0, 1)?;
    expect_kept(lab, 1)?;
    lab.read_all()
}
