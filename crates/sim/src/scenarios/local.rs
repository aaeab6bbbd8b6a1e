//! The log on the local disk: writes, overwrites, ranges, chunks.

use super::Scenario;
use crate::lab::{Lab, Outcome, Setup};

pub(super) fn all() -> [Scenario; 3] {
    [
        Scenario { name: "writes", sites: 1, setup: Setup::default, script: writes },
        Scenario { name: "overwrite", sites: 1, setup: Setup::default, script: overwrite },
        Scenario { name: "ranges", sites: 1, setup: Setup::default, script: ranges },
    ]
}

fn writes(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    for round in 0..4 {
        let batch = [lab.fresh(round * 7, 3), lab.fresh(100 + round, 1), lab.fresh(round * 7 + 1, 1)];
        lab.change(&batch)?;
        if round % 2 == 1 {
            lab.flush()?;
        }
        lab.write(50, 2)?;
    }
    lab.flush()?;
    lab.write(51, 1)?;
    lab.read_all()
}

fn overwrite(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    for round in 0..4 {
        for lba in 0..3 {
            lab.write(lba, 2)?;
        }
        lab.flush()?;
        lab.run_ms(300)?;
        lab.write(1 + round % 2, 1)?;
        lab.run_ms(300)?;
    }
    lab.read_all()
}

fn ranges(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    lab.write(0, 16)?;
    lab.trim(2, 5)?;
    lab.flush()?;
    lab.zero(8, 3)?;
    lab.write_bytes(5 * 4096 + 512, 1024)?;
    lab.write_bytes(10 * 4096 + 3000, 9000)?;
    lab.flush()?;
    lab.run_ms(700)?;
    lab.write_bytes(14 * 4096 + 1, 1)?;
    lab.trim(0, 40)?;
    lab.write(3, 1)?;
    lab.zero(3, 1)?;
    lab.flush()?;
    lab.run_ms(700)?;
    lab.write_bytes(20 * 4096 - 100, 200)?;
    lab.read_all()
}
