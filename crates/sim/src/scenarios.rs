//! The canonical scenarios: short scripts that each use one part of the engine, to be cut off after every step.

mod local;

use crate::lab::{Lab, Outcome, Setup};

/// A script with what it starts from.
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// How many sites it uses; each of them is crashed in turn.
    pub sites: usize,
    /// What it starts from.
    pub setup: fn() -> Setup,
    /// What it does.
    pub script: fn(&mut Lab) -> Outcome,
}

/// All scenarios.
pub fn all() -> Vec<Scenario> {
    local::all().into_iter().collect()
}

/// The scenario of that name.
pub fn find(name: &str) -> Option<Scenario> {
    all().into_iter().find(|scenario| scenario.name == name)
}
