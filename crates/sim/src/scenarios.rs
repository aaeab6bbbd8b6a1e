//! The canonical scenarios: short scripts that each use one part of the engine, to be cut off after every step.

mod ahead;
mod cache;
mod crowded;
mod forks;
mod group;
mod history;
mod local;
mod openings;
mod owners;
mod pieces;
mod reclaim;
mod resize;
mod rewrite;
mod settings;
mod space;
mod store;
mod tails;
mod weather;
mod zombies;

use crate::lab::{Lab, Outcome, Setup};

/// A script with what it starts from.
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// How many sites it uses; each of them is crashed in turn.
    pub sites: usize,
    /// Whether it is cut off after every step. Not where the disk or the store breaks its promise on the way.
    pub cut: bool,
    /// What it starts from.
    pub setup: fn() -> Setup,
    /// What it does.
    pub script: fn(&mut Lab) -> Outcome,
}

/// All scenarios.
pub fn all() -> Vec<Scenario> {
    let mut all = local::all();
    all.extend(store::all());
    all.extend(owners::all());
    all.extend(zombies::all());
    all.extend(resize::all());
    all.extend(settings::all());
    all.extend(pieces::all());
    all.extend(crowded::all());
    all.extend(reclaim::all());
    all.extend(history::all());
    all.extend(space::all());
    all.extend(rewrite::all());
    all.extend(tails::all());
    all.extend(weather::all());
    all.extend(cache::all());
    all.extend(forks::all());
    all.extend(group::all());
    all.extend(ahead::all());
    all.extend(openings::all());
    all
}

/// The scenario of that name.
pub fn find(name: &str) -> Option<Scenario> {
    all().into_iter().find(|scenario| scenario.name == name)
}

/// A scenario of one site that starts from the usual.
fn plain(name: &'static str, script: fn(&mut Lab) -> Outcome) -> Scenario {
    Scenario { name, sites: 1, cut: true, setup: Setup::default, script }
}
