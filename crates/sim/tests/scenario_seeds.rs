//! Every scenario without a crash, under many schedules; in parts, so that they run side by side.

use std::ops::Range;

use esker_sim::{enumerate, scenarios};

fn hold(seeds: Range<u64>) {
    for scenario in scenarios::all() {
        for seed in seeds.clone() {
            if let Err(error) = enumerate::whole(&scenario, seed) {
                panic!("scenario {}, seed {seed}: {error}", scenario.name);
            }
        }
    }
}

#[test]
fn every_scenario_holds_under_the_first_ten_schedules() {
    hold(0..10);
}

#[test]
fn every_scenario_holds_under_the_second_ten_schedules() {
    hold(10..20);
}

#[test]
fn every_scenario_holds_under_the_third_ten_schedules() {
    hold(20..30);
}
