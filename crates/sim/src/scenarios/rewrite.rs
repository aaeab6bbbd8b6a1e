//! Segments of which much is dead, rewritten beside everything else that goes on.

use std::{collections::BTreeSet, time::Duration};

use esker_engine::volume::OwnedChange;
use esker_format::property::Properties;
use esker_io::StoreErrorKind;

use super::{
    Scenario, plain,
    reclaim::{GRACE_MS, checkpoint, one_head, put_back, three_rounds},
};
use crate::{
    Request, StoreFault, When,
    lab::{Fall, Lab, Outcome, violation},
};

pub(super) fn all() -> Vec<Scenario> {
    let one = |name, script| Scenario { setup: one_head, ..plain(name, script) };
    let two = |name, script| Scenario { sites: 2, ..one(name, script) };
    vec![
        one("rewrite", rewrite),
        one("rewrite-again", again),
        one("rewrite-empties", empties),
        Scenario { cut: false, ..two("rewrite-other-reader", other_reader) },
        Scenario { cut: false, ..two("rewrite-late", late) },
        Scenario { cut: false, ..two("rewrite-raced", raced) },
        Scenario { cut: false, ..one("quarantine", quarantine) },
    ]
}

/// A segment of twelve blocks, of which every third is overwritten, and the heads before are thinned away.
fn holes(lab: &mut Lab, first: u64) -> Outcome {
    lab.write(first, 12)?;
    fold(lab)?;
    for lba in (first..first + 12).step_by(3) {
        lab.write(lba, 1)?;
    }
    fold(lab)?;
    // Old heads go with the commits that follow.
    for _ in 0..4 {
        lab.write(200, 1)?;
        lab.run_ms(1_200)?;
    }
    fold(lab)
}

/// Commits, and folds everything into pages.
fn fold(lab: &mut Lab) -> Outcome {
    lab.run_ms(1_200)?;
    let blocks = lab.blocks();
    lab.trim(blocks - 1, 1)?;
    lab.resize(blocks + 1)?;
    lab.resize(blocks)
}

/// What lives moves, the rest goes, and a crash at every step leaves all of it readable.
fn rewrite(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    holes(lab, 0)?;
    let before: BTreeSet<String> = lab.machine().store().names("segments/").into_iter().collect();
    let report = lab.rewrite(0, GRACE_MS)?;
    if report.rewritten.objects == 0 {
        return Err(violation(format!("nothing was rewritten: {report:?}")));
    }
    lab.read_all()?;
    three_rounds(lab, 0)?;
    lab.check_condemned(&before)?;
    lab.read_all()
}

/// Rewrites of rewrites, with other writes between and beside them: in the end one bundle for each that lives is left.
fn again(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    holes(lab, 0)?;
    lab.rewrite(0, GRACE_MS)?;
    lab.write(1, 1)?;
    lab.write(4, 2)?;
    fold(lab)?;
    for lba in 0..4 {
        lab.write(100 + lba, 1)?;
        lab.run_ms(1_200)?;
    }
    fold(lab)?;
    let (victims, engine) = (lab.victims()?, lab.engine(0));
    let round = lab.begin_rewrite(0, engine, victims, GRACE_MS);
    lab.write(7, 3)?;
    lab.run_ms(700)?;
    lab.wait(round)?.map_err(|error| violation(format!("a rewrite fails: {error}")))?;
    lab.check_roots()?;
    lab.read_all()?;
    three_rounds(lab, 0)?;
    lab.check_condemned(&BTreeSet::new())?;
    lab.read_all()
}

/// Rule G5: of a segment of forty blocks two live. They are written anew, beside the guest's writes, and it goes.
fn empties(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    lab.write(0, 40)?;
    fold(lab)?;
    lab.write(0, 10)?;
    lab.write(11, 20)?;
    lab.write(32, 8)?;
    fold(lab)?;
    for _ in 0..4 {
        lab.write(200, 1)?;
        lab.run_ms(1_200)?;
    }
    fold(lab)?;
    let (victims, engine) = (lab.victims()?, lab.engine(0));
    // Each block takes two seconds to read; the guest overwrites the second one meanwhile.
    let slow = StoreFault::Stall(Duration::from_secs(2));
    lab.machine().store().fail(When::next(Request::Get, "segments/").host(1).times(4), slow);
    let round = lab.begin_rewrite(0, engine, victims, GRACE_MS);
    lab.run_ms(3_000)?;
    lab.write(31, 1)?;
    let report = lab.wait(round)?.map_err(|error| violation(format!("a rewrite fails: {error}")))?;
    if report.resealed == 0 {
        return Err(violation(format!("nothing was written anew: {report:?}")));
    }
    lab.read_all()?;
    for round in 0..3 {
        checkpoint(lab, round)?;
    }
    three_rounds(lab, 0)?;
    lab.read_all()
}

/// Rules G3 and R11: another process has the volume open. For the grace what it knows is where it was; later it asks.
fn other_reader(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    // More than the reader caches.
    lab.write(100, 40)?;
    holes(lab, 0)?;
    let (_engine, volume) = lab.open_reader(1)?;
    lab.read_by(1, &volume)?;
    let before: BTreeSet<String> = lab.machine().store().names("segments/").into_iter().collect();
    lab.rewrite(0, GRACE_MS)?;
    let stored = |lab: &Lab| lab.machine().store().names("segments/").into_iter().collect::<BTreeSet<_>>();
    if let Some(name) = before.difference(&stored(lab)).next() {
        return Err(violation(format!("{name} is superseded, and went before the grace was over")));
    }
    lab.read_by(1, &volume)?;
    three_rounds(lab, 0)?;
    if before.is_subset(&stored(lab)) {
        return Err(violation("nothing that was superseded is gone"));
    }
    lab.read_by(1, &volume)?;
    lab.read_all()
}

/// Rule G2: a record of the table is on its way for longer than the grace, and its run has ended.
fn late(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    holes(lab, 0)?;
    lab.machine().store().fail(When::next(Request::Put, "table/").host(1), StoreFault::Parked);
    let (victims, engine) = (lab.victims()?, lab.engine(0));
    let _round = lab.begin_rewrite(0, engine, victims, GRACE_MS);
    lab.run_until("a record is sent", |lab| lab.machine().store().parked() == 1)?;
    lab.fall(0, Fall::Kill);
    lab.open(1)?;
    for round in 0..4 {
        checkpoint(lab, round)?;
        lab.reclaim(1, GRACE_MS)?;
        lab.run_ms(GRACE_MS)?;
    }
    lab.machine().store().deliver();
    lab.check_roots()?;
    three_rounds(lab, 1)?;
    lab.read_all()
}

/// Rule G2: two runs rewrite the same segments at the same time, with no volume open anywhere.
fn raced(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    holes(lab, 0)?;
    lab.drain()?;
    lab.fall(0, Fall::Kill);
    let (first, second) = (lab.bare_engine(0)?, lab.bare_engine(1)?);
    let victims = lab.victims()?;
    let refused = StoreFault::Before(StoreErrorKind::Transient);
    lab.machine().store().fail(When::next(Request::Put, "table/").host(1).times(1_000), refused);
    let late = lab.begin_rewrite(0, first.clone(), victims.clone(), GRACE_MS);
    lab.run_ms(2_000)?;
    let round = lab.begin_rewrite(1, second.clone(), victims, GRACE_MS);
    let won = lab.wait(round)?.map_err(|error| violation(format!("a rewrite fails: {error}")))?;
    if won.rewritten.objects == 0 {
        return Err(violation(format!("nothing was rewritten: {won:?}")));
    }
    lab.machine().store().forget_plan();
    // Refused: its number is taken.
    let _ = lab.wait(late)?;
    lab.check_roots()?;
    for _ in 0..4 {
        let round = lab.begin_reclaim_by(0, first.clone(), GRACE_MS);
        let _ = lab.wait(round)?;
        lab.check_roots()?;
        lab.run_ms(GRACE_MS)?;
    }
    drop((first, second));
    lab.open(1)?;
    lab.read_all()
}

/// Rule R13: a volume that cannot be read stops all rounds, until it is set aside; what it may need stays, what came later
/// goes, and once its pages are back it is whole.
fn quarantine(lab: &mut Lab) -> Outcome {
    const OTHER: &str = "other";
    lab.open(0)?;
    holes(lab, 0)?;
    lab.drain()?;
    lab.fall(0, Fall::Kill);
    let engine = lab.bare_engine(0)?;
    let store = lab.machine().store().clone();
    let whole: Vec<_> =
        store.names("pages/").into_iter().map(|name| (name.clone(), store.object(&name))).collect();
    for (name, body) in &whole {
        store.replace(name, body.as_ref().map(|body| vec![0xaa; body.len()].into()));
    }
    let round = lab.begin_reclaim_by(0, engine.clone(), GRACE_MS);
    if lab.wait(round)?.is_ok() {
        return Err(violation("an unreadable root was passed over"));
    }
    lab.set_aside()?;
    let before = store.names("segments/").len();
    let work = engine.clone();
    let task = lab.host(0).spawn("other", async move {
        let volume = work.create(OTHER, 1 << 20, Properties::default()).await?;
        let data = vec![7; 64 << 10].into();
        volume.clone().change_later(OwnedChange::Write { offset: 0, data }).await?;
        volume.drain().await?;
        work.delete(OTHER).await
    });
    lab.wait(task)?.map_err(violation)?;
    if store.names("segments/").len() == before {
        return Err(violation("the other volume has no segment"));
    }
    for _ in 0..3 {
        let round = lab.begin_reclaim_by(0, engine.clone(), GRACE_MS);
        lab.wait(round)?
            .map_err(|error| violation(format!("a volume in quarantine stops a round: {error}")))?;
        lab.run_ms(GRACE_MS)?;
    }
    if store.names("segments/").len() > before {
        return Err(violation("what came later stays"));
    }
    put_back(lab, &whole);
    lab.check_roots()?;
    drop(engine);
    lab.open(0)?;
    lab.read_all()
}
