//! The log on the local disk: writes, overwrites, ranges, chunks, and a disk that fails.

use esker_engine::EngineError;

use super::{Scenario, plain};
use crate::{
    Survival, SyncFault, WriteFault,
    lab::{CHUNK_BYTES, Fall, Lab, Outcome, violation},
};

pub(super) fn all() -> Vec<Scenario> {
    vec![
        plain("writes", writes),
        plain("overwrite", overwrite),
        plain("ranges", ranges),
        plain("chunks", chunks),
        plain("spares", spares),
        plain("parts", parts),
        plain("sync-fails", sync_fails),
        plain("write-fails", write_fails),
        plain("disk-full", disk_full),
        plain("first-write-fails", first_write_fails),
        Scenario { cut: false, ..plain("rot", rot) },
    ]
}

fn writes(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    for round in 0..4 {
        let batch = [lab.fresh(round * 7, 3), lab.fresh(100 + round, 1), lab.fresh(round * 7 + 1, 1)];
        lab.change(&batch)?;
        lab.read(round * 7, 3)?;
        if round % 2 == 1 {
            lab.flush()?;
        }
        lab.write(50, 2)?;
    }
    lab.flush()?;
    lab.write(51, 1)?;
    lab.read_all()
}

/// The same blocks again and again, also while they are being sealed (rule W6).
fn overwrite(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    for lba in [10, 0, 20] {
        lab.write(lba, 1)?;
    }
    // The first seal of a run waits for a writer number; one of its blocks is overwritten meanwhile.
    lab.run_ms(502)?;
    lab.write(0, 1)?;
    lab.run_ms(350)?;
    for round in 0..6 {
        for lba in 0..3 {
            lab.write(lba, 2)?;
        }
        if round % 2 == 0 {
            lab.flush()?;
        }
        // A record is sealed at an age of half a second.
        lab.run_ms(498 + round * 3)?;
        lab.write(1, 1)?;
        lab.run_ms(20)?;
        lab.write(2 + round % 2, 1)?;
        lab.run_ms(150)?;
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

/// The log goes through several chunks and uses their files again.
fn chunks(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    for round in 0..8 {
        lab.write(round, 200)?;
        lab.write(200 + round, 1)?;
        if round % 3 == 2 {
            lab.flush()?;
        }
        lab.run_ms(350)?;
        lab.read(round, 20)?;
    }
    lab.write(3, 250)?;
    lab.read_all()
}

/// The log goes on while files are made warm: new ones, and those that an opening found.
fn spares(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    for round in 0..2 {
        for lba in 0..4 {
            // Two of them fill a chunk; some of its next one's preparation is done between them.
            lab.write(lba, 240)?;
            lab.run_ms(1)?;
            lab.write(3 + lba, 240)?;
            lab.flush()?;
        }
        // Sealed at an age of half a second: the older files are spares for the next opening.
        lab.run_ms(750)?;
        lab.write(2 + round, 1)?;
        lab.flush()?;
        lab.fall(0, Fall::Kill);
        lab.open(0)?;
    }
    lab.write(1, 240)?;
    lab.read_all()
}

/// Parts of blocks whose bases are in the store, beside writes of the same blocks (rule W5).
fn parts(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    lab.write(0, 40)?;
    lab.run_ms(900)?;
    lab.fall(0, Fall::Kill);
    lab.open(0)?;
    for round in 0..4 {
        // Far enough from each other that a frame is not at hand already.
        let lba = round * 9;
        for part in [0, 2048] {
            let write = lab.fresh_bytes(lba * 4096 + part, 1024);
            lab.change_later(0, write);
        }
        let across = lab.fresh_bytes((lba + 1) * 4096 - 100, 4096 + 200);
        lab.change_later(0, across);
        lab.run_ms(round)?;
        lab.write(lba, 1)?;
        lab.run_ms(6)?;
        lab.trim(lba + 1, 1)?;
        lab.finish_later()?;
        lab.read(lba, 4)?;
    }
    lab.flush()?;
    lab.run_ms(900)?;
    lab.read_all()
}

/// A failed sync: nothing is acknowledged until the volume is opened again (I11).
fn sync_fails(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    lab.write(0, 4)?;
    lab.flush()?;
    for (round, fault) in [SyncFault::Once, SyncFault::ForEver].into_iter().enumerate() {
        lab.write(2, 2)?;
        lab.host(0).disk().fail_sync(1, fault);
        refused(lab.try_flush()?)?;
        let write = lab.fresh(9, 1);
        for outcome in lab.try_change(&[write])? {
            refused(outcome)?;
        }
        refused(lab.try_flush()?)?;
        lab.run_ms(700)?;
        lab.fall(0, Fall::Kill);
        lab.host(0).disk().repair();
        lab.open(0)?;
        // What the kernel still shows after a failed sync may never have reached the disk.
        lab.fall(0, Fall::Power(Survival::OnlySynced));
        lab.open(0)?;
        lab.write(20 + round as u64, 1)?;
        lab.flush()?;
    }
    lab.read_all()
}

/// A write that fails half done: nothing follows it in the log until the volume is opened again.
fn write_fails(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    lab.write(0, 4)?;
    for fault in [WriteFault::Error, WriteFault::NoSpace] {
        lab.write(5, 1)?;
        lab.flush()?;
        lab.host(0).disk().fail_write(1, fault);
        let batch = [lab.fresh(6, 2), lab.fresh(4, 3), lab.fresh(8, 1)];
        for outcome in lab.try_change(&batch)? {
            refused(outcome)?;
        }
        let write = lab.fresh(9, 1);
        for outcome in lab.try_change(&[write])? {
            refused(outcome)?;
        }
        refused(lab.try_flush()?)?;
        lab.run_ms(700)?;
        lab.fall(0, Fall::Kill);
        lab.open(0)?;
        lab.write(30, 1)?;
    }
    lab.flush()?;
    lab.read_all()
}

/// No room for another chunk: writes wait, and the volume comes back whole from a crash.
fn disk_full(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    lab.write(0, 250)?;
    lab.host(0).disk().fill(true);
    // The file that is prepared ahead cannot be made either.
    lab.run_ms(5)?;
    for _ in 0..4 {
        let write = lab.fresh(3, 250);
        for outcome in lab.try_change(&[write])? {
            outcome.map_err(violation)?;
        }
    }
    if lab.waiting() == 0 {
        return Err(violation(format!("{} bytes were found on a full disk", 4 * CHUNK_BYTES)));
    }
    lab.fall(0, Fall::Kill);
    lab.end_faults();
    lab.open(0)?;
    lab.write(7, 240)?;
    lab.flush()?;
    lab.read_all()
}

/// No space for the chunk of an opening: its first write waits and leaves no trace, and goes on when there is space.
fn first_write_fails(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    lab.write(0, 2)?;
    lab.flush()?;
    for (round, fall) in (0..).zip([Fall::Kill, Fall::Power(Survival::OnlySynced), Fall::Kill]) {
        lab.fall(0, fall);
        lab.open(0)?;
        lab.host(0).disk().fill(true);
        let write = lab.fresh(1, 2);
        lab.change_later(0, write);
        lab.run_ms(700)?;
        if lab.waiting() == 0 {
            return Err(violation("no write waits on a full disk"));
        }
        lab.read_all()?;
        lab.host(0).disk().fill(false);
        lab.finish_later()?;
        lab.read_all()?;
        lab.flush()?;
        if round < 2 {
            lab.write(2 + round, 2)?;
            lab.flush()?;
        }
    }
    lab.read_all()
}

/// A bit of the log turns over. What was flushed is there or refused, never wrong (guarantee 7).
fn rot(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    for round in 0..6 {
        lab.write(round * 2, 3)?;
        lab.flush()?;
    }
    let chunk = lab.newest_chunk(0)?;
    // Inside the blocks of the first records.
    let offset = 4096 + 128 + lab.random().below(20_000);
    if !lab.host(0).disk().rot(&chunk, offset, 3) {
        return Err(violation(format!("{chunk} ends before {offset}")));
    }
    let read = lab.try_read(0, 16)?;
    if let Ok(bytes) = read {
        lab.compare(0, &bytes)?;
    }
    lab.fall(0, Fall::Kill);
    match lab.try_open(0)? {
        Ok(()) => lab.read_all(),
        Err(EngineError::LogDamaged { .. }) => lab.end(),
        Err(error) => Err(violation(format!("a damaged log is refused with: {error}"))),
    }
}

fn refused(outcome: Result<(), EngineError>) -> Outcome {
    match outcome {
        Err(_) => Ok(()),
        Ok(()) => Err(violation("an operation succeeds where it must fail")),
    }
}
