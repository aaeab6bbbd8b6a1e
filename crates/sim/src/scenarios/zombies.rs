//! Writers and claimers that were stopped, and requests that arrive when everything has moved on.

use super::{Scenario, plain, store::few_heads};
use crate::{
    Hold, Request, StoreFault, When,
    lab::{Fall, Lab, Outcome, Setup, violation},
};

pub(super) fn all() -> Vec<Scenario> {
    let two = |name, script| Scenario { sites: 2, setup: few_heads, ..plain(name, script) };
    vec![
        two("zombie", zombie),
        two("zombie-unanswered", zombie_unanswered),
        two("late-head", late_head),
        two("paused-claimer", paused_claimer),
        Scenario { setup: one_head, ..two("void-claim", void_claim) },
        two("partition", partition),
        Scenario { cut: false, ..two("stray", stray) },
    ]
}

fn commits(lab: &mut Lab, rounds: u64) -> Outcome {
    for round in 0..rounds {
        lab.write(round % 9, 2)?;
        lab.run_ms(700)?;
    }
    Ok(())
}

/// Rule H1: a writer is stopped before its PUT, another takes over and thins its heads, the first goes on.
fn zombie(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    commits(lab, 2)?;
    let segments = lab.machine().store().names("segments/").len();
    lab.write(20, 2)?;
    lab.run_until("a segment arrives", |lab| lab.machine().store().names("segments/").len() > segments)?;
    lab.host(0).pause();
    lab.open(1)?;
    commits(lab, 8)?;
    lab.host(0).resume();
    lab.run_ms(3_000)?;
    let _ = lab.stray_write(0, 40)?;
    lab.run_ms(3_000)?;
    lab.write(3, 1)?;
    lab.run_ms(3_000)?;
    lab.read_all()
}

/// Rule H1, the other way: the PUT did happen, its answer never came.
fn zombie_unanswered(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    commits(lab, 2)?;
    let heads = lab.newest_number();
    lab.machine().store().fail(When::next(Request::Put, "heads/").host(1), StoreFault::After);
    lab.write(20, 2)?;
    lab.run_until("a head arrives", |lab| lab.newest_number() > heads)?;
    lab.host(0).pause();
    lab.open(1)?;
    commits(lab, 8)?;
    lab.host(0).resume();
    let _ = lab.stray_write(0, 40)?;
    lab.run_ms(3_000)?;
    let _ = lab.stray_write(0, 41)?;
    lab.run_ms(3_000)?;
    lab.write(3, 1)?;
    lab.run_ms(3_000)?;
    lab.read_all()
}

/// Rules H1 and H3: a writer dies with its PUT on the way, which arrives when others have thinned their heads.
fn late_head(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    commits(lab, 2)?;
    lab.machine().store().fail(When::next(Request::Put, "heads/").host(1), StoreFault::Parked);
    lab.write(20, 2)?;
    lab.run_until("a head is sent", |lab| lab.machine().store().parked() == 1)?;
    lab.fall(0, Fall::Directory);
    lab.open(1)?;
    commits(lab, 8)?;
    for (name, effect) in lab.machine().store().deliver() {
        if effect {
            return Err(violation(format!("{name} was free again for a writer that had lost its epoch")));
        }
    }
    commits(lab, 2)?;
    lab.read_all()
}

/// Host 1 opens, and the PUT of its claim arrives only when host 0 has made so many more commits.
fn claim_after_commits(lab: &mut Lab, meanwhile: u64) -> Outcome {
    lab.open(0)?;
    commits(lab, 2)?;
    lab.machine().store().fail(When::next(Request::Put, "heads/").host(2), StoreFault::Parked);
    let claim = lab.begin_open(1);
    lab.run_until("a claim is sent", |lab| lab.machine().store().parked() == 1)?;
    lab.host(1).pause();
    commits(lab, meanwhile)?;
    lab.machine().store().deliver();
    lab.host(1).resume();
    let opened = lab.wait(claim)?;
    lab.end_open(1, opened)?.map_err(violation)?;
    lab.read_all()
}

/// Rule H2: the PUT of a claim lands when its number is free again.
fn paused_claimer(lab: &mut Lab) -> Outcome {
    claim_after_commits(lab, 8)?;
    let _ = lab.stray_write(0, 40)?;
    commits(lab, 3)?;
    lab.read_all()
}

fn one_head() -> Setup {
    let mut setup = few_heads();
    setup.limits.heads_kept = 1;
    setup
}

/// Rules H2 and H3: a void claim lies right below the newest head, where that one's predecessor was.
fn void_claim(lab: &mut Lab) -> Outcome {
    claim_after_commits(lab, 2)?;
    commits(lab, 2)?;
    lab.read_all()
}

/// Requests, then answers, of a host are held up while another takes over.
fn partition(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    commits(lab, 1)?;
    for (round, hold) in [Hold::Requests, Hold::Answers].into_iter().enumerate() {
        let (old, new) = (round % 2, (round + 1) % 2);
        lab.write(10, 2)?;
        lab.host(old).hold(hold);
        lab.run_ms(1_500)?;
        lab.open(new)?;
        commits(lab, 5)?;
        lab.host(old).hold(Hold::Nothing);
        let _ = lab.stray_write(old, 11)?;
        lab.run_ms(2_000)?;
        lab.write(12, 1)?;
        lab.run_ms(1_000)?;
        if !lab.has_stopped(old) {
            return Err(violation("a fenced writer goes on"));
        }
        lab.fall(old, Fall::Kill);
    }
    lab.read_all()
}

/// Rule H3: a head that does not follow from the one before it is never true.
fn stray(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    commits(lab, 3)?;
    lab.drain()?;
    lab.plant_stray()?;
    lab.open(1)?;
    commits(lab, 3)?;
    lab.read_all()
}
