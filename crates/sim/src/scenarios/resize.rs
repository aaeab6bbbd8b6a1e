//! Volumes that grow and shrink.

use esker_format::page::LEAF_BLOCKS;
use esker_io::StoreErrorKind;

use super::{Scenario, plain, store::few_heads};
use crate::{
    Operation, Request, StoreFault, When,
    lab::{Lab, Outcome, Setup, violation},
};

pub(super) fn all() -> Vec<Scenario> {
    vec![
        plain("grow", grow),
        Scenario { setup: few_heads, ..plain("grow-higher", grow_higher) },
        Scenario { setup: more_than_the_least, ..plain("shrink", shrink) },
        Scenario { setup: few_heads, ..plain("resize-unloaded", resize_unloaded) },
        Scenario { sites: 2, ..plain("resize-and-takeover", resize_and_takeover) },
    ]
}

/// 16 blocks more than the smallest volume has.
fn more_than_the_least() -> Setup {
    Setup { size_bytes: 272 * 4096, ..Setup::default() }
}

/// Writes the block behind the old end as soon as the volume takes it.
fn write_beyond(lab: &mut Lab, lba: u64) -> Outcome {
    let write = lab.fresh(lba, 1);
    let volume = lab.volume(lab.owner());
    if volume.size_bytes() > lba * 4096 {
        lab.change(&[write])?;
        lab.flush()?;
    }
    Ok(())
}

/// Growing under writes, some of them behind the old end as soon as they are taken.
fn grow(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    lab.write(0, 20)?;
    lab.write(250, 6)?;
    for (round, blocks) in [300, 301, 400].into_iter().enumerate() {
        let old = lab.blocks();
        // The head is under way for a while.
        let slow = StoreFault::Before(StoreErrorKind::Transient);
        lab.machine().store().fail(When::next(Request::Put, "heads/"), slow);
        let resizing = lab.begin_resize(blocks);
        for step in 0..200 {
            if resizing.is_done() {
                break;
            }
            write_beyond(lab, old)?;
            lab.write(round as u64 + step % 5, 1)?;
            lab.run_ms(1)?;
        }
        lab.end_resize(resizing)?;
        lab.write(blocks - 1, 1)?;
        lab.flush()?;
        lab.read_all()?;
    }
    lab.run_ms(2_000)?;
    lab.drain()?;
    lab.check_committed()
}

/// More and fewer levels of pages, with a root in the store and without.
fn grow_higher(lab: &mut Lab) -> Outcome {
    let higher = LEAF_BLOCKS + 10;
    lab.open(0)?;
    lab.write(3, 2)?;
    lab.resize(higher)?;
    lab.write(higher - 3, 3)?;
    // So that there is a root: a shrink folds all of the log into it.
    lab.trim(higher - 3, 3)?;
    lab.resize(higher - 2)?;
    lab.resize(300)?;
    lab.read_all()?;
    lab.write(299, 1)?;
    lab.resize(higher)?;
    lab.write(LEAF_BLOCKS - 1, 2)?;
    lab.drain()?;
    lab.check_committed()?;
    lab.check_pool()
}

/// Fewer and more levels of pages while most of the map is not loaded.
fn resize_unloaded(lab: &mut Lab) -> Outcome {
    let higher = LEAF_BLOCKS + 10;
    lab.open(0)?;
    lab.write(3, 2)?;
    lab.resize(higher)?;
    lab.write(LEAF_BLOCKS - 4, 12)?;
    // A shrink folds all of the log into pages.
    lab.resize(higher - 2)?;
    lab.drain()?;
    lab.try_open(0)?.map_err(|error| violation(format!("the volume does not open: {error}")))?;
    lab.write(LEAF_BLOCKS + 1, 1)?;
    lab.resize_refused(LEAF_BLOCKS)?;
    lab.trim(LEAF_BLOCKS - 2, 10)?;
    let resizing = lab.begin_resize(LEAF_BLOCKS - 2);
    lab.read(0, 2)?;
    lab.write(5, 1)?;
    lab.end_resize(resizing)?;
    lab.read(LEAF_BLOCKS - 8, 6)?;
    lab.resize(higher)?;
    lab.read_all()?;
    lab.write(LEAF_BLOCKS + 4, 2)?;
    lab.drain()?;
    lab.check_committed()
}

/// Shrinking is refused while something is mapped, and takes nothing with it.
fn shrink(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    lab.write(0, 10)?;
    lab.write(200, 4)?;
    lab.run_ms(2_000)?;
    lab.write(262, 2)?;
    lab.resize_refused(256)?;
    lab.trim(262, 2)?;
    lab.zero(266, 1)?;
    lab.resize_refused(256)?;
    lab.trim(266, 1)?;
    let resizing = lab.begin_resize(256);
    for round in 0..50 {
        lab.run_ms(1)?;
        lab.write(round % 7, 2)?;
    }
    lab.end_resize(resizing)?;
    let late = lab.try_change(&[Operation::Trim { offset: 262 * 4096, length: 4096 }])?;
    if late.iter().any(Result::is_ok) {
        return Err(violation("a change behind the new end is accepted"));
    }
    lab.read_all()?;
    // What was cut off comes back as zeros.
    lab.resize(272)?;
    lab.read_all()?;
    lab.write(271, 1)?;
    lab.drain()?;
    lab.check_committed()
}

/// Whoever comes next finds the size that was answered.
fn resize_and_takeover(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    lab.write(0, 4)?;
    lab.resize(270)?;
    lab.write(260, 10)?;
    lab.flush()?;
    lab.run_ms(2_000)?;
    lab.open(1)?;
    lab.trim(256, 14)?;
    lab.resize(256)?;
    lab.write(255, 1)?;
    lab.drain()?;
    lab.check_committed()
}
