//! Planted bugs that families catch, each in its own process as in `planted.rs`.

use std::sync::{Mutex, PoisonError};

use esker_io::Bug;
use esker_sim::hunt;

static TURN: Mutex<()> = Mutex::new(());

/// Caught by one of the first families, by the check that is meant to.
fn caught_by_families(bug: Bug, message: &str) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let catch = hunt::hunt_families(bug, 0..50, 100);
    let catch = catch.unwrap_or_else(|| panic!("{bug:?} is not caught by families"));
    eprintln!("{bug:?}: family {}: {}", catch.seed, catch.message);
    assert!(catch.message.contains(message), "{bug:?}: {} is not about {message}", catch.message);
}

#[test]
fn a_comparison_leaves_out_the_tail() {
    caught_by_families(Bug::TailNotCompared, "a comparison says");
}

#[test]
fn a_comparison_takes_pages_of_one_place_for_equal() {
    caught_by_families(Bug::PagesComparedByPlace, "a comparison says");
}

#[test]
fn every_bug_is_caught() {
    let tests = [include_str!("planted.rs"), include_str!("planted_families.rs")].concat();
    for bug in Bug::ALL {
        let name = format!("(Bug::{bug:?},");
        assert!(tests.contains(&name), "no test catches {bug:?}");
    }
}
