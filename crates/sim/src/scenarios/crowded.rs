//! Maps that are let go of leaf by leaf, because there is next to no memory for them, and read again.

use std::time::Duration;

use esker_engine::volume::Limits;
use esker_format::{BLOCK_BYTES, page::LEAF_BLOCKS};

use super::{Scenario, plain};
use crate::{
    Request, StoreFault, When,
    lab::{CHUNK_BYTES, Fall, Lab, Outcome, Setup, violation},
};

pub(super) fn all() -> Vec<Scenario> {
    vec![
        Scenario { setup: crowded, ..plain("crowded", rounds) },
        Scenario { setup: crowded, cut: false, ..plain("crowded-late-page", late_page) },
        Scenario { setup: crowded, ..plain("crowded-resize", resized) },
        Scenario { setup: crowded, sites: 2, ..plain("crowded-takeover", takeover) },
    ]
}

/// Three leaves, and memory for none but the node above them.
fn crowded() -> Setup {
    let limits = Limits { map_bytes_max: 25_000, chunk_bytes: CHUNK_BYTES, ..Limits::default() };
    Setup { size_bytes: (2 * LEAF_BLOCKS + 128) * BLOCK_BYTES as u64, limits, ..Setup::default() }
}

/// Blocks of each leaf are changed, and read some time later.
fn rounds(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    for round in 0..4 {
        for leaf in 0..3 {
            let lba = leaf * LEAF_BLOCKS + round * 7;
            lab.write(lba, 3)?;
            lab.trim(lba + 1, 1)?;
            lab.write_bytes((lba + 5) * BLOCK_BYTES as u64 + 30, 40)?;
            lab.write(lba + 2, 9)?;
        }
        lab.run_ms(200 + 150 * round)?;
        for leaf in 0..3 {
            lab.read(leaf * LEAF_BLOCKS, 60)?;
        }
        if round == 2 {
            lab.zero(LEAF_BLOCKS - 10, LEAF_BLOCKS)?;
        }
    }
    lab.run_ms(3_000)?;
    if lab.engine(0).map_memory().evicted() == 0 {
        return Err(violation("nothing was let go of"));
    }
    lab.read(0, 100)?;
    lab.drain()?;
    lab.check_committed()
}

/// A page of an older root comes after all of its leaf was changed, and after the changes are in a root. Only then the
/// next checkpoint does not wait for the same page.
fn late_page(lab: &mut Lab) -> Outcome {
    let blocks = lab.blocks();
    lab.open(0)?;
    // In a pack of its own: what lies before the top page comes along with it.
    lab.write(LEAF_BLOCKS, 20)?;
    lab.resize(blocks - 1)?;
    lab.write(3, 2)?;
    lab.resize(blocks - 2)?;
    lab.drain()?;
    for round in 0..2 {
        lab.try_open(0)?.map_err(|error| violation(format!("the volume does not open: {error}")))?;
        lab.machine()
            .store()
            .fail(When::next(Request::Get, "pages/"), StoreFault::Stall(Duration::from_secs(20)));
        let volume = lab.volume(0);
        let reading = volume.read_later(LEAF_BLOCKS * BLOCK_BYTES as u64, 20 * BLOCK_BYTES);
        let reading = lab.host(0).spawn("read", reading);
        lab.run_ms(50)?;
        lab.trim(LEAF_BLOCKS, LEAF_BLOCKS)?;
        lab.write(LEAF_BLOCKS + 3 + round, 1)?;
        for step in 0..15 {
            lab.write(2 * LEAF_BLOCKS + step * 5, 5)?;
            lab.write(step * 40, 5)?;
            lab.run_ms(1_000)?;
        }
        drop(lab.wait(reading)?);
        lab.read(LEAF_BLOCKS, 40)?;
        lab.fall(0, Fall::Kill);
    }
    lab.open(0)
}

/// What is cut off is known to be holes, whatever is let go of meanwhile.
fn resized(lab: &mut Lab) -> Outcome {
    let blocks = lab.blocks();
    lab.open(0)?;
    lab.write(5, 4)?;
    lab.write(LEAF_BLOCKS + 5, 4)?;
    lab.write(blocks - 4, 4)?;
    lab.run_ms(2_000)?;
    lab.trim(LEAF_BLOCKS + 100, blocks - LEAF_BLOCKS - 100)?;
    let resizing = lab.begin_resize(LEAF_BLOCKS + 100);
    for step in 0..20 {
        lab.write(step * 30, 2)?;
        lab.run_ms(40)?;
        lab.read(LEAF_BLOCKS, 30)?;
    }
    lab.end_resize(resizing)?;
    lab.resize(blocks)?;
    lab.read_all()?;
    lab.write(blocks - 2, 2)?;
    lab.run_ms(2_000)?;
    lab.resize(blocks + LEAF_BLOCKS)?;
    lab.read(blocks - 10, 30)?;
    lab.drain()?;
    lab.check_committed()
}

/// Whoever comes next has as little memory.
fn takeover(lab: &mut Lab) -> Outcome {
    for round in 0..3 {
        lab.open(round as usize % 2)?;
        for leaf in 0..3 {
            lab.write(leaf * LEAF_BLOCKS + round * 3, 5)?;
            lab.run_ms(300)?;
            lab.read((2 - leaf) * LEAF_BLOCKS, 30)?;
        }
        lab.flush()?;
        lab.run_ms(1_500)?;
    }
    lab.drain()?;
    lab.check_committed()
}
