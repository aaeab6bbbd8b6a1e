//! Snapshots of two volumes at one point (rule W12).

use esker_io::StoreErrorKind;

use super::{Scenario, plain};
use crate::{
    Request, StoreFault, When,
    lab::{Fall, Lab, Outcome, violation},
};

/// The members.
const VOLUMES: [&str; 2] = ["left", "right"];

pub(super) fn all() -> Vec<Scenario> {
    vec![
        plain("group", group),
        Scenario { cut: false, ..plain("group-in-turn", in_turn) },
        Scenario { cut: false, ..plain("group-never-finished", never_finished) },
    ]
}

/// Both are open, and somebody writes to them in turn.
fn opened(lab: &mut Lab) -> Outcome<[std::sync::Arc<esker_engine::volume::Volume>; 2]> {
    for name in VOLUMES {
        lab.create_volume(name)?;
    }
    lab.open(0)?;
    Ok([lab.open_beside(0, VOLUMES[0])?, lab.open_beside(0, VOLUMES[1])?])
}

/// Cut off at each step: all of them, or none.
fn group(lab: &mut Lab) -> Outcome {
    let volumes = opened(lab)?;
    let writing = lab.begin_in_turn(0, volumes, 1..30);
    lab.run_ms(4)?;
    let making = lab.begin_group(0, "one", VOLUMES);
    lab.wait(making)?.map_err(|error| violation(format!("no group: {error}")))?;
    lab.wait(writing)?.map_err(violation)?;
    lab.check_one_point("one", VOLUMES)?;
    lab.check_groups()
}

/// Again and again, while every write waits for the answer of the one before.
fn in_turn(lab: &mut Lab) -> Outcome {
    let volumes = opened(lab)?;
    for turn in 0..3_u64 {
        let writing = lab.begin_in_turn(0, volumes.clone(), turn * 80 + 1..turn * 80 + 80);
        lab.run_ms(3 + turn * 2)?;
        let name = format!("turn-{turn}");
        let making = lab.begin_group(0, &name, VOLUMES);
        lab.wait(making)?.map_err(|error| violation(format!("no group: {error}")))?;
        lab.wait(writing)?.map_err(violation)?;
        lab.check_one_point(&name, VOLUMES)?;
    }
    // They stay as they were.
    for turn in 0..3 {
        lab.check_one_point(&format!("turn-{turn}"), VOLUMES)?;
    }
    lab.check_groups()
}

/// The run dies before the record is made. One member is deleted: then no other is born either, though the record of
/// the dead run may still be on its way.
fn never_finished(lab: &mut Lab) -> Outcome {
    let volumes = opened(lab)?;
    let writing = lab.begin_in_turn(0, volumes, 1..20);
    // The record does not get there for as long as the run lives.
    let refused = StoreFault::Before(StoreErrorKind::Transient);
    lab.machine().store().fail(When::next(Request::Put, "groups/").times(1_000), refused);
    drop(lab.begin_group(0, "one", VOLUMES));
    lab.run_until("both are pinned", |lab| {
        let named = |volume| !lab.machine().store().names(&format!("names/{volume}@one/")).is_empty();
        VOLUMES.into_iter().all(named)
    })?;
    lab.wait(writing)?.map_err(violation)?;
    lab.run_ms(150)?;
    lab.fall(0, Fall::Kill);
    lab.machine().store().forget_plan();
    lab.check_groups()?;
    if !lab.machine().store().names("groups/").is_empty() {
        // Under some schedules it was there before anything was held up: then the group is whole, as was just seen.
        return Ok(());
    }
    lab.open(0)?;
    let engine = lab.engine(0);
    let deleting = lab.host(0).spawn("delete", async move { engine.delete("left@one").await });
    lab.wait(deleting)?.map_err(violation)?;
    lab.check_groups()?;
    let again = [lab.open_beside(0, VOLUMES[0])?, lab.open_beside(0, VOLUMES[1])?];
    // The names can be used again, also that of the member that nobody has met.
    let writing = lab.begin_in_turn(0, again, 20..40);
    let making = lab.begin_group(0, "one", VOLUMES);
    lab.wait(making)?.map_err(|error| violation(format!("no group: {error}")))?;
    lab.wait(writing)?.map_err(violation)?;
    lab.check_one_point("one", VOLUMES)?;
    lab.check_groups()
}
