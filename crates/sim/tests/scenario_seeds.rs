//! Every scenario without a crash, under many schedules.

use esker_sim::{enumerate, scenarios};

#[test]
fn every_scenario_holds_under_many_schedules() {
    for scenario in scenarios::all() {
        for seed in 0..30 {
            if let Err(error) = enumerate::whole(&scenario, seed) {
                panic!("scenario {}, seed {seed}: {error}", scenario.name);
            }
        }
    }
}
