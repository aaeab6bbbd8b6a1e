//! Planting a bug and looking for a check that notices.

use std::panic::{AssertUnwindSafe, catch_unwind};

use esker_io::{Bug, plant};

use crate::{
    enumerate::{self, Point, falls},
    family,
    scenarios::Scenario,
};

/// Where a bug was noticed.
#[derive(Debug, Clone)]
pub struct Catch {
    /// The scenario's seed.
    pub seed: u64,
    /// The crash, if it took one.
    pub point: Option<Point>,
    /// What the check says.
    pub message: String,
}

/// While this is alive the bug is planted.
struct Planted;

impl Planted {
    fn new(bug: Bug) -> Self {
        plant(Some(bug));
        Self
    }
}

impl Drop for Planted {
    fn drop(&mut self) {
        plant(None);
    }
}

/// Plants `bug` and runs the scenario, first whole under each seed, then cut off after each step. The bug is
/// planted in the whole process: one hunt at a time.
pub fn hunt(bug: Bug, scenario: &Scenario, seeds: std::ops::Range<u64>) -> Option<Catch> {
    // The number of steps is that of the healthy engine; a few more or less make no difference.
    let steps = enumerate::whole(scenario, seeds.start).ok()?;
    let _planted = Planted::new(bug);
    for seed in seeds.clone() {
        if let Err(message) = guarded(|| enumerate::whole(scenario, seed).map(drop)) {
            return Some(Catch { seed, point: None, message });
        }
    }
    let steps = if scenario.cut { steps } else { Vec::new() };
    for (site, steps) in steps.into_iter().enumerate() {
        for step in 1..=steps {
            for fall in falls(step) {
                let point = Point { site, step, fall };
                let seed = seeds.start;
                if let Err(message) = guarded(|| enumerate::point(scenario, seed, point)) {
                    return Some(Catch { seed, point: Some(point), message });
                }
            }
        }
    }
    None
}

/// Plants `bug` and runs families, one after the other, until one of them notices.
pub fn hunt_families(bug: Bug, mut seeds: std::ops::Range<u64>, steps: u64) -> Option<Catch> {
    let _planted = Planted::new(bug);
    seeds.find_map(|seed| {
        let held = guarded(|| family::run(seed, steps).map(drop).map_err(|failure| failure.message.clone()));
        held.err().map(|message| Catch { seed, point: None, message })
    })
}

/// A broken belief of the engine is a catch as well.
pub fn guarded(work: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(format!("a panic: {}", text.unwrap_or("without a message")))
    })
}
