//! Reading ahead: what a sequential reader gets is right whatever goes wrong with what is fetched before it asks.

use std::time::Duration;

use esker_format::property::Compression;
use esker_io::StoreErrorKind;

use super::{Scenario, plain};
use crate::{
    Request, StoreFault, When,
    lab::{Fall, Lab, Outcome, Setup, violation},
};

/// Of 4 MiB.
const BLOCKS: u64 = 1_024;

pub(super) fn all() -> Vec<Scenario> {
    let plain = |name, script| Scenario { setup: sequential, ..plain(name, script) };
    vec![
        Scenario { cut: false, ..plain("ahead", ahead) },
        Scenario { cut: false, ..plain("ahead-faults", faults) },
        Scenario { cut: false, ..plain("ahead-changes", changes) },
    ]
}

/// Windows of up to 32 blocks. Frames that are not compressed: one in the place of another is a wrong byte.
fn sequential() -> Setup {
    Setup {
        size_bytes: BLOCKS * 4096,
        cache_bytes: 2 << 20,
        compression: Compression::Off,
        ..Setup::default()
    }
}

/// The volume is in the store, and open with nothing of it in memory.
fn filled(lab: &mut Lab) -> Outcome {
    lab.open_unread(0)?;
    for lba in (0..BLOCKS).step_by(128) {
        lab.write(lba, 128)?;
    }
    lab.drain()?;
    again(lab)
}

fn again(lab: &mut Lab) -> Outcome {
    lab.fall(0, Fall::Kill);
    lab.open_unread(0)
}

fn used(lab: &Lab) -> u64 {
    lab.engine(0).pool().fetcher().usage().ahead_used
}

/// From one end to the other; a second stream goes its own way.
fn ahead(lab: &mut Lab) -> Outcome {
    filled(lab)?;
    for step in 0..BLOCKS / 8 {
        lab.read(step * 4, 4)?;
        lab.read(BLOCKS / 2 + step * 4, 4)?;
        if step % 16 == 0 {
            lab.run_ms(20)?;
        }
    }
    if used(lab) < 20 {
        return Err(violation(format!("{} frames that were read ahead were used", used(lab))));
    }
    Ok(())
}

/// GETs go wrong one by one, those that read ahead among them.
fn faults(lab: &mut Lab) -> Outcome {
    filled(lab)?;
    let faults = [
        StoreFault::Before(StoreErrorKind::Transient),
        StoreFault::Flip,
        StoreFault::Cut,
        StoreFault::OtherBody,
        StoreFault::Stall(Duration::from_secs(3)),
        StoreFault::Late(Duration::from_secs(1)),
    ];
    for fault in faults {
        for lba in (0..BLOCKS).step_by(8) {
            if lba % 64 == 0 {
                lab.machine().store().fail(When::next(Request::Get, "segments/"), fault);
            }
            lab.read(lba, 8)?;
        }
        lab.machine().store().forget_plan();
        again(lab)?;
    }
    // Everything that reads ahead fails for a while; a guest waits for what it asks for alone.
    lab.read(0, 8)?;
    lab.machine().store().outage(Duration::ZERO, Duration::from_secs(5));
    for lba in (8..BLOCKS).step_by(8) {
        lab.read(lba, 8)?;
    }
    Ok(())
}

/// Blocks are written, trimmed and written once more before the reader comes to where they were read ahead.
fn changes(lab: &mut Lab) -> Outcome {
    filled(lab)?;
    for lba in (0..BLOCKS - 64).step_by(8) {
        lab.read(lba, 8)?;
        match lba / 8 % 8 {
            2 => lab.write(lba + 20, 3)?,
            3 => lab.trim(lba + 17, 9)?,
            5 => lab.write_bytes((lba + 30) * 4096 + 100, 5_000)?,
            6 => lab.run_ms(1_200)?,
            _ => {}
        }
    }
    lab.read_all()?;
    if used(lab) == 0 {
        return Err(violation("nothing that was read ahead was used"));
    }
    Ok(())
}
