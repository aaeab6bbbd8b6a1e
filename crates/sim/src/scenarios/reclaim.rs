//! Rounds of reclaim beside everything else that goes on.

use std::time::Duration;

use esker_io::StoreErrorKind;

use super::{Scenario, plain, store::few_heads};
use crate::{
    Request, StoreFault, When,
    lab::{Fall, Lab, Outcome, Setup, VOLUME, violation},
};

/// The grace of these scenarios.
pub(super) const GRACE_MS: u64 = 3_000;

pub(super) fn all() -> Vec<Scenario> {
    let few = |name, script| Scenario { setup: few_heads, ..plain(name, script) };
    let two = |name, script| Scenario { sites: 2, ..few(name, script) };
    vec![
        few("reclaim", reclaim),
        few("reclaim-in-flight", in_flight),
        Scenario { setup: one_head, ..plain("reclaim-hop", hop) },
        few("reclaim-unreadable", unreadable),
        Scenario { setup: one_head, sites: 2, ..plain("reclaim-other-reader", other_reader) },
        Scenario { setup: one_head, sites: 2, ..plain("reclaim-own-reader", own_reader) },
        Scenario { cut: false, ..two("reclaim-late-head", late_head) },
        two("reclaim-takeover", takeover),
        two("reclaim-deleted", deleted),
    ]
}

pub(super) fn one_head() -> Setup {
    let mut setup = few_heads();
    setup.limits.heads_kept = 1;
    setup
}

/// Writes, commits, and folds everything into pages.
pub(super) fn checkpoint(lab: &mut Lab, round: u64) -> Outcome {
    lab.write(round % 5, 4)?;
    lab.run_ms(1_200)?;
    let blocks = lab.blocks();
    // A shrink folds all of the log into pages.
    lab.trim(blocks - 1, 1)?;
    lab.resize(blocks + 1)?;
    lab.resize(blocks)
}

/// Rounds until all that is dead is gone: I7 wants that within three after the grace.
pub(super) fn three_rounds(lab: &mut Lab, site: usize) -> Outcome {
    lab.reclaim(site, GRACE_MS)?;
    for _ in 0..2 {
        lab.run_ms(GRACE_MS)?;
        lab.reclaim(site, GRACE_MS)?;
    }
    lab.check_no_garbage()
}

/// Writes and checkpoints with rounds between them and during them; crashes at every step leave every root whole.
fn reclaim(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    for round in 0..3 {
        checkpoint(lab, round)?;
        let running = lab.begin_reclaim(0, 500);
        lab.write(round + 7, 2)?;
        lab.run_ms(700)?;
        lab.wait(running)?.map_err(|error| violation(format!("reclaim fails: {error}")))?;
        lab.check_roots()?;
    }
    three_rounds(lab, 0)?;
    lab.read_all()
}

/// Rule R2: a segment is in the store long before the head that names it.
fn in_flight(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    lab.write(0, 3)?;
    lab.run_ms(1_500)?;
    let refused = StoreFault::Before(StoreErrorKind::Transient);
    lab.machine().store().fail(When::next(Request::Put, "heads/").times(1_000), refused);
    lab.write(2, 3)?;
    lab.run_ms(1_500)?;
    for _ in 0..3 {
        lab.run_ms(GRACE_MS)?;
        lab.reclaim(0, GRACE_MS)?;
    }
    lab.machine().store().forget_plan();
    lab.run_ms(15_000)?;
    lab.check_roots()?;
    lab.read_all()
}

/// Rule R7: all heads of a LIST are gone before they are read.
fn hop(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    checkpoint(lab, 0)?;
    for round in 0..3 {
        let slow = StoreFault::Stall(Duration::from_secs(8));
        lab.machine().store().fail(When::next(Request::List, "volumes/").host(1), slow);
        let running = lab.begin_reclaim(0, 500);
        for commit in 0..8 {
            lab.write(round + commit, 1)?;
            lab.run_ms(1_200)?;
        }
        lab.wait(running)?.map_err(|error| violation(format!("reclaim fails: {error}")))?;
        lab.check_roots()?;
    }
    lab.read_all()
}

/// Rule R13: a page cannot be read, for as long as nobody puts it back.
fn unreadable(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    checkpoint(lab, 0)?;
    checkpoint(lab, 1)?;
    let store = lab.machine().store().clone();
    let packs = store.names("pages/");
    let whole: Vec<_> = packs.iter().map(|name| (name.clone(), store.object(name))).collect();
    for (name, body) in &whole {
        let body = body.as_ref().map(|body| vec![0xaa; body.len()].into());
        store.replace(name, body);
    }
    for _ in 0..3 {
        let round = lab.begin_reclaim(0, 500);
        let outcome = lab.wait(round);
        let outcome = outcome.inspect_err(|_| put_back(lab, &whole))?;
        if let Ok(report) = outcome {
            put_back(lab, &whole);
            return lab
                .check_roots()
                .and_then(|()| Err(violation(format!("unreadable roots were passed: {report:?}"))));
        }
        let passed = lab.run_ms(1_000);
        passed.inspect_err(|_| put_back(lab, &whole))?;
    }
    put_back(lab, &whole);
    three_rounds(lab, 0)?;
    lab.read_all()
}

pub(super) fn put_back(lab: &Lab, whole: &[(String, Option<bytes::Bytes>)]) {
    for (name, body) in whole {
        lab.machine().store().replace(name, body.clone());
    }
}

/// Rule R11: another process has the volume open for reading. For the grace, nothing is taken from it.
fn other_reader(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    checkpoint(lab, 0)?;
    let (_engine, volume) = lab.open_reader(1)?;
    let grace_ms = 1_000_000;
    for round in 1..4 {
        // All that the reader sees is replaced.
        lab.write(0, 9)?;
        checkpoint(lab, round)?;
        lab.reclaim(0, grace_ms)?;
    }
    lab.read_by(1, &volume)?;
    lab.read_all()
}

/// A volume that is open for reading beside the rounds keeps its state for as long as it is open.
fn own_reader(lab: &mut Lab) -> Outcome {
    lab.open(1)?;
    checkpoint(lab, 0)?;
    let (engine, volume) = lab.open_reader(0)?;
    for round in 1..3 {
        lab.write(0, 9)?;
        checkpoint(lab, round)?;
    }
    lab.drain()?;
    for _ in 0..3 {
        let round = lab.begin_reclaim_by(0, engine.clone(), GRACE_MS);
        lab.wait(round)?.map_err(|error| violation(format!("reclaim fails: {error}")))?;
        lab.check_roots()?;
        lab.run_ms(GRACE_MS)?;
    }
    lab.read_by(0, &volume)?;
    drop(volume);
    drop(engine);
    lab.open(1)?;
    lab.read_all()
}

/// Rules H1 and H4: a head of a run that has ended is still on its way, for longer than the grace.
fn late_head(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    checkpoint(lab, 0)?;
    lab.machine().store().fail(When::next(Request::Put, "heads/").host(1), StoreFault::Parked);
    lab.write(20, 2)?;
    lab.flush()?;
    lab.run_until("a head is sent", |lab| lab.machine().store().parked() == 1)?;
    lab.fall(0, Fall::Kill);
    let engine = lab.bare_engine(0)?;
    for _ in 0..3 {
        let round = lab.begin_reclaim_by(0, engine.clone(), GRACE_MS);
        // Refused or not: what arrives in the end decides whether it was right.
        let _ = lab.wait(round)?;
        lab.check_roots()?;
        lab.run_ms(GRACE_MS)?;
    }
    drop(engine);
    lab.machine().store().deliver();
    lab.check_roots()?;
    lab.open(0)?;
    three_rounds(lab, 0)?;
    lab.read_all()
}

/// Another host takes the volume over while a round is made, and goes on.
fn takeover(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    checkpoint(lab, 0)?;
    lab.reclaim(0, GRACE_MS)?;
    lab.run_ms(GRACE_MS)?;
    let running = lab.begin_reclaim(0, GRACE_MS);
    lab.open(1)?;
    checkpoint(lab, 1)?;
    // Refused or not: it deletes nothing that anybody reaches.
    let _ = lab.wait(running)?;
    lab.check_roots()?;
    for _ in 0..2 {
        lab.run_ms(GRACE_MS)?;
        if lab.try_reclaim(0, 500)?.is_ok() {
            return Err(violation("a round is made beside another host"));
        }
    }
    lab.read_all()
}

/// Rule H6: what only a deleted volume reached goes, and its heads but those that a rule keeps.
fn deleted(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    for round in 0..2 {
        checkpoint(lab, round)?;
    }
    lab.drain()?;
    lab.open(1)?;
    lab.write(5, 2)?;
    lab.run_ms(1_500)?;
    lab.may_be_gone();
    let engine = lab.engine(1);
    let task = lab.host(1).spawn("delete", async move { engine.delete(VOLUME).await });
    lab.wait(task)?.map_err(violation)?;
    lab.run_ms(2_000)?;
    three_rounds(lab, 1)?;
    let heads = lab.head_names().len();
    if heads > 3 {
        return Err(violation(format!("{heads} heads of a deleted volume are left")));
    }
    Ok(())
}
