//! A crash after every step of a scenario, with each kind of survival, and what has to hold afterwards.

use std::time::Duration;

use crate::{
    Side, Survival,
    lab::{Fall, Lab, Outcome, Setup, Stop, violation},
    scenarios::Scenario,
};

/// Requests that were under way when their sender crashed arrive within this time or never.
pub const LATE: Duration = Duration::from_secs(61);

/// One crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// The site that crashes.
    pub site: usize,
    /// After this step of its host, counted from the start of the script.
    pub step: u64,
    /// How.
    pub fall: Fall,
}

/// What enumerating a scenario came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Crashes that were tried.
    pub points: u64,
    /// What went wrong, with the point.
    pub failures: Vec<(Point, String)>,
}

/// The kinds of crash that follow each step.
pub fn falls(step: u64) -> [Fall; 4] {
    [Fall::Kill, Fall::Power(Survival::OnlySynced), Fall::Power(Survival::Subset(step)), Fall::Directory]
}

/// Runs a scenario without a crash. Returns how many steps each site took.
pub fn whole(scenario: &Scenario, seed: u64) -> Result<Vec<u64>, String> {
    let mut lab = start(scenario, seed)?;
    let before = steps(&lab, scenario);
    let outcome = (scenario.script)(&mut lab);
    let after = steps(&lab, scenario);
    let outcome = outcome.and_then(|()| aftermath(&mut lab, 0, 0));
    outcome.map_err(|stop| stop.to_string())?;
    Ok(before.iter().zip(after).map(|(before, after)| after - before).collect())
}

fn steps(lab: &Lab, scenario: &Scenario) -> Vec<u64> {
    (0..scenario.sites).map(|site| lab.host(site).steps()).collect()
}

fn start(scenario: &Scenario, seed: u64) -> Result<Lab, String> {
    let setup = (scenario.setup)();
    // One more than the scenario uses, for whoever takes over.
    Lab::new(Setup { seed, hosts: scenario.sites + 1, ..setup }).map_err(|stop| stop.to_string())
}

/// Runs a scenario up to a crash, and checks what comes back.
pub fn point(scenario: &Scenario, seed: u64, point: Point) -> Result<(), String> {
    let mut lab = start(scenario, seed)?;
    let host = lab.host(point.site);
    host.crash_at(host.steps() + point.step, Side::After);
    let outcome = match (scenario.script)(&mut lab) {
        // Other sites' timing can shift, so that the step is not reached.
        Ok(()) => aftermath(&mut lab, point.site, point.step),
        Err(Stop::Crashed) => {
            lab.fall(point.site, point.fall);
            aftermath(&mut lab, point.site, point.step)
        }
        Err(stop) => Err(stop),
    };
    outcome.map_err(|stop| stop.to_string())
}

/// Crashes after every step of a scenario.
pub fn all(scenario: &Scenario, seed: u64) -> Tally {
    let mut tally = Tally::default();
    let steps = match whole(scenario, seed) {
        Ok(steps) => steps,
        Err(error) => {
            let nowhere = Point { site: 0, step: 0, fall: Fall::Kill };
            tally.failures.push((nowhere, error));
            return tally;
        }
    };
    for (site, steps) in steps.into_iter().enumerate().filter(|_| scenario.cut) {
        for step in 1..=steps {
            for fall in falls(step) {
                let at = Point { site, step, fall };
                tally.points += 1;
                if let Err(error) = point(scenario, seed, at) {
                    tally.failures.push((at, error));
                }
            }
        }
    }
    tally
}

/// Faults are over: the volume opens with all that it must have, goes on, and everything reaches the store.
pub fn aftermath(lab: &mut Lab, site: usize, variant: u64) -> Outcome {
    lab.end_faults();
    lab.forget_later();
    if lab.has_ended() {
        return Ok(());
    }
    lab.mend_pool()?;
    // Whoever was still about to open the volume is too late.
    for other in 0..lab.sites() {
        if other != site && !lab.has_open(other) && !lab.is_gone(other) {
            lab.fall(other, Fall::Kill);
        }
    }
    let spare = lab.sites() - 1;
    let usable = !lab.is_gone(site) && variant % 4 != 3;
    let mut owner = if usable { site } else { spare };
    if usable && variant % 4 == 1 {
        crash_while_opening(lab, site, variant)?;
    }
    if lab.reopen(owner)? {
        if variant.is_multiple_of(4) {
            // What an opening found is durable, though nothing was flushed since.
            lab.fall(owner, Fall::Power(Survival::OnlySynced));
            lab.reopen(owner)?;
        }
        go_on(lab, variant)?;
        if owner != spare && variant % 4 == 2 {
            lab.fall(owner, Fall::Kill);
            owner = spare;
            lab.reopen(owner)?;
            go_on(lab, variant)?;
        }
        lab.run(LATE)?;
        lab.drain()?;
        lab.check_committed()?;
    }
    lab.check_pool()
}

/// Recovery itself is cut short, again and again.
fn crash_while_opening(lab: &mut Lab, site: usize, variant: u64) -> Outcome {
    for round in 0..3 {
        if !lab.host(site).is_crashed() {
            lab.fall(site, Fall::Kill);
        }
        let opening = lab.begin_open(site);
        let host = lab.host(site);
        host.crash_at(host.steps() + 1 + (variant / 4 + round * 5) % 13, Side::After);
        match lab.wait(opening) {
            Err(Stop::Crashed) => {
                let survival = Survival::Subset(variant + round);
                let fall = if round == 1 { Fall::Kill } else { Fall::Power(survival) };
                lab.fall(site, fall);
            }
            Err(stop) => return Err(stop),
            Ok(opened) => {
                lab.host(site).forget_crash();
                let _ = lab.end_open(site, opened)?;
                lab.fall(site, Fall::Kill);
            }
        }
    }
    Ok(())
}

/// The volume is written and read like any other.
fn go_on(lab: &mut Lab, variant: u64) -> Outcome {
    let blocks = lab.blocks();
    lab.write(variant % blocks, 1)?;
    lab.trim((variant + 3) % (blocks - 2), 2)?;
    lab.write_bytes((variant + 7) % (blocks - 1) * 4096 + 700, 3_000)?;
    lab.flush()?;
    lab.write((variant + 5) % blocks, 1)?;
    lab.read_all()
}

/// A failure as text: where, and what.
pub fn describe(scenario: &Scenario, seed: u64, at: &Point, error: &str) -> String {
    let Point { site, step, fall } = at;
    format!("scenario {}, seed {seed}, host {site}, step {step}, {fall:?}: {error}", scenario.name)
}

/// Fails with the first failures of a tally.
pub fn expect_none(scenario: &Scenario, seed: u64, tally: &Tally) -> Outcome<u64> {
    match tally.failures.first() {
        None => Ok(tally.points),
        Some((at, error)) => Err(violation(format!(
            "{} of {} crash points fail, the first: {}",
            tally.failures.len(),
            tally.points,
            describe(scenario, seed, at, error)
        ))),
    }
}
