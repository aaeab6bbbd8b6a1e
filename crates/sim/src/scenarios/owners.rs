//! Who may write: recovery, takeover, logs that are out of date, deletion.

use esker_engine::EngineError;

use super::{Scenario, plain};
use crate::{
    Side, Survival,
    lab::{Fall, Lab, Outcome, Stop, VOLUME, violation},
};

pub(super) fn all() -> Vec<Scenario> {
    vec![
        plain("recovery", recovery),
        plain("torn", torn),
        Scenario { cut: false, ..plain("fresh-log", fresh_log) },
        Scenario { sites: 2, ..plain("takeover", takeover) },
        Scenario { sites: 2, ..plain("stale-log", stale_log) },
        Scenario { sites: 2, ..plain("delete", delete) },
        plain("pool", pool),
    ]
}

fn recovery(lab: &mut Lab) -> Outcome {
    let falls = [
        Fall::Kill,
        Fall::Power(Survival::Subset(1)),
        Fall::Power(Survival::OnlySynced),
        Fall::Power(Survival::Everything),
        Fall::Kill,
    ];
    for (round, fall) in falls.into_iter().enumerate() {
        let round = round as u64;
        lab.open(0)?;
        lab.write(round * 2, 3)?;
        if round.is_multiple_of(2) {
            lab.flush()?;
        }
        lab.write(30, 2)?;
        lab.run_ms(round * 200)?;
        lab.write(31, 1)?;
        lab.fall(0, fall);
    }
    lab.open(0)
}

/// Power fails with much unsynced, and again soon after: what an older epoch left behind stays dead (W2, W3).
fn torn(lab: &mut Lab) -> Outcome {
    for round in 0..3 {
        lab.open(0)?;
        lab.write(0, 1)?;
        lab.flush()?;
        for lba in 0..6 {
            lab.write(lba, 1)?;
        }
        lab.fall(0, Fall::Power(Survival::Subset(round)));
        lab.open(0)?;
        for lba in 0..4 {
            lab.write(10 + lba, 1)?;
        }
        lab.fall(
            0,
            if round.is_multiple_of(2) { Fall::Kill } else { Fall::Power(Survival::Subset(round + 100)) },
        );
    }
    lab.open(0)
}

/// A run is killed at each step of making a fresh log; what the next one flushes survives a power loss.
fn fresh_log(lab: &mut Lab) -> Outcome {
    for step in 1..=12 {
        let host = lab.host(0);
        host.crash_at(host.steps() + step, Side::After);
        match lab.try_open(0) {
            Err(Stop::Crashed) => {}
            other => other?.map_err(violation)?,
        }
        lab.fall(0, Fall::Kill);
        lab.open(0)?;
        lab.write(step, 2)?;
        lab.flush()?;
        lab.fall(0, Fall::Power(Survival::OnlySynced));
        lab.open(0)?;
        // The next opening begins with no log at all.
        lab.drain()?;
    }
    lab.open(0)
}

/// A second host takes the volume over; the first learns it at its next commit (I6).
fn takeover(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    lab.write(0, 8)?;
    lab.flush()?;
    lab.run_ms(800)?;
    lab.write(4, 2)?;
    lab.open(1)?;
    lab.write(6, 4)?;
    let _ = lab.stray_write(0, 0)?;
    lab.run_ms(1_000)?;
    fenced(lab, 0)?;
    lab.write(1, 1)?;
    lab.flush()?;
    lab.run_ms(1_000)?;
    lab.fall(0, Fall::Kill);
    lab.open(0)?;
    lab.write(2, 1)?;
    let _ = lab.stray_write(1, 2)?;
    lab.run_ms(1_000)?;
    fenced(lab, 1)?;
    lab.read_all()
}

fn fenced(lab: &mut Lab, site: usize) -> Outcome {
    if !lab.has_stopped(site) {
        return Err(violation(format!("site {site} has lost the volume and does not know it")));
    }
    match lab.stray_write(site, 0)? {
        Err(EngineError::Fenced { .. }) => Ok(()),
        other => Err(violation(format!("a write of a fenced run ends with {other:?}"))),
    }
}

/// A host comes back with a log that the history has gone past (rule H5).
fn stale_log(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    lab.write(0, 8)?;
    lab.run_ms(800)?;
    lab.write(2, 3)?;
    lab.flush()?;
    lab.fall(0, Fall::Power(Survival::Everything));
    lab.open(1)?;
    lab.write(5, 2)?;
    lab.drain()?;
    lab.open(0)?;
    let aside = lab.report(0).set_aside.len();
    if aside != 1 {
        return Err(violation(format!("{aside} logs were set aside, expected the stale one")));
    }
    lab.write(7, 1)?;
    lab.flush()?;
    lab.fall(0, Fall::Kill);
    lab.open(0)?;
    lab.read_all()
}

/// Deleting is a claim (rule H6): the old owner cannot bring the volume back.
fn delete(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    lab.write(0, 8)?;
    lab.run_ms(800)?;
    lab.write(2, 3)?;
    lab.open(1)?;
    lab.write(5, 2)?;
    lab.may_be_gone();
    let _ = lab.stray_write(0, 1)?;
    let engine = lab.engine(1);
    let task = lab.host(1).spawn("delete", async move { engine.delete(VOLUME).await });
    lab.wait(task)?.map_err(violation)?;
    let _ = lab.stray_write(0, 2)?;
    lab.run_ms(2_000)?;
    lab.create_volume("w")?;
    for site in 0..2 {
        if !lab.has_stopped(site) {
            return Err(violation(format!("site {site} serves a volume that is deleted")));
        }
    }
    Ok(())
}

/// The pool is made by a host that crashes, and the store is probed for what the engine needs of it.
fn pool(lab: &mut Lab) -> Outcome {
    lab.remake_pool(0)?;
    lab.open(0)?;
    lab.write(0, 2)?;
    lab.drain()
}
