//! The log on a real directory: what a scan finds after each kind of damage.

use std::{path::Path, sync::Arc};

use esker_format::{
    BLOCK_BYTES,
    chunk::{CHUNK_BYTES, block_crc},
    ids::{LogId, VolumeId},
};
use esker_io::{InlineCpu, LocalDisk, SystemClock, SystemRandom, World, objects};

use super::{
    scan::{Request, Scan, Torn, scan},
    *,
};
use crate::EngineError;

const VOLUME: VolumeId = VolumeId([3; 16]);
const LOG: LogId = LogId([4; 16]);
const DIRECTORY: LogDirectory = LogDirectory { volume: VOLUME, chunk_bytes: CHUNK_BYTES };

fn world(directory: &Path) -> World {
    World {
        disk: Arc::new(LocalDisk::open(directory).unwrap()),
        objects: objects::open("memory://unused").unwrap(),
        clock: Arc::new(SystemClock::new()),
        random: Arc::new(SystemRandom),
        cpu: Arc::new(InlineCpu),
    }
}

fn read_back(world: &World, covered: u64, discard_after: Option<u64>) -> Result<Scan> {
    scan(&Request { world, directory: DIRECTORY, log: LOG, covered, discard_after })
}

/// Opens the log as a run of `epoch` would.
fn open(world: &World, epoch: u64, covered: u64) -> (Log, Scan0) {
    if DIRECTORY.logs(world).unwrap().is_empty() {
        DIRECTORY.create(world, LOG).unwrap();
    }
    let found = read_back(world, covered, None).unwrap();
    found.sync().unwrap();
    let summary = Scan0 { records: found.records.clone(), torn: found.torn, last: found.last_sequence };
    let start = LogStart {
        next_sequence: found.last_sequence.max(covered) + 1,
        chunks: found.chunks,
        pending: found.records.into(),
        next_chunk: found.next_chunk,
        files: found.files,
        budget: Arc::new(crate::budget::Budget::new(u64::MAX)),
    };
    let identity = LogIdentity { volume: VOLUME, log: LOG, epoch };
    (Log::start(world.clone(), identity, start).unwrap(), summary)
}

/// What a scan found, without its files.
struct Scan0 {
    records: Vec<Pending>,
    torn: Option<Torn>,
    last: u64,
}

fn write(log: &Log, lba: u64, fill: u8, blocks: usize) -> u64 {
    let data = vec![fill; blocks * BLOCK_BYTES];
    let crcs: Vec<u32> = data.chunks_exact(BLOCK_BYTES).map(block_crc).collect();
    let mut positions = Vec::new();
    log.append(&[Entry { lba, payload: Payload::Write { data: &data, crcs: &crcs } }], &mut positions)
        .unwrap();
    positions[0]
}

/// Overwrites bytes of the chunk file that holds `position`.
fn spoil(world: &World, log: &Log, position: u64, bytes: &[u8]) {
    let (chunk, offset) = log.table().find(position).expect("a live position");
    let file = world.disk.open(&chunk.path).unwrap();
    file.write_at(&[std::io::IoSlice::new(bytes)], offset).unwrap();
}

#[test]
fn every_record_is_found_again_with_its_data() {
    let directory = tempfile::tempdir().unwrap();
    let world = world(directory.path());
    {
        let (log, _) = open(&world, 2, 0);
        write(&log, 10, 1, 1);
        log.sync_to(1).unwrap();
        write(&log, 20, 2, 3);
        let mut positions = Vec::new();
        log.append(&[Entry { lba: 0, payload: Payload::Hole { blocks: 1 << 38 } }], &mut positions).unwrap();
    }
    let (log, found) = open(&world, 3, 0);
    let kinds: Vec<_> =
        found.records.iter().map(|p| (p.record.sequence, p.record.lba, p.record.blocks)).collect();
    assert_eq!(kinds, vec![(1, 10, 1), (2, 20, 3), (3, 0, 1 << 38)]);
    let mut block = vec![0; 3 * BLOCK_BYTES];
    log.table().read(found.records[1].position(), &mut block).unwrap();
    assert_eq!(block, vec![2; 3 * BLOCK_BYTES]);
    assert_eq!(found.torn, None);
}

#[test]
fn records_that_the_store_holds_are_skipped_and_numbering_goes_on_above_both() {
    let directory = tempfile::tempdir().unwrap();
    let world = world(directory.path());
    {
        let (log, _) = open(&world, 2, 0);
        (0..5).for_each(|lba| {
            write(&log, lba, 7, 1);
        });
    }
    assert_eq!(read_back(&world, 3, None).unwrap().records(), 2);
    let (log, found) = open(&world, 3, 9);
    assert_eq!((found.records.len(), found.last), (0, 9));
    write(&log, 0, 1, 1);
    assert_eq!(log.last_sequence(), 10);
}

#[test]
fn an_unsynced_record_that_is_not_whole_ends_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let world = world(directory.path());
    {
        let (log, _) = open(&world, 2, 0);
        write(&log, 1, 1, 1);
        log.sync_to(1).unwrap();
        let torn = write(&log, 2, 2, 1);
        write(&log, 3, 3, 1);
        spoil(&world, &log, torn + 512, &[0xFF; 512]);
    }
    let (_, found) = open(&world, 3, 0);
    assert_eq!(found.records.len(), 1);
    assert_eq!(found.torn.map(|torn| torn.records), Some(1), "the record behind it is reported as dropped");
}

#[test]
fn a_synced_record_that_is_not_whole_refuses_the_log_with_its_position() {
    let directory = tempfile::tempdir().unwrap();
    let world = world(directory.path());
    {
        let (log, _) = open(&world, 2, 0);
        write(&log, 1, 1, 1);
        let lost = write(&log, 2, 2, 1);
        log.sync_to(2).unwrap();
        write(&log, 3, 3, 1);
        spoil(&world, &log, lost, &[0xFF; 8]);
    }
    let refused = read_back(&world, 0, None).err().expect("synced data is missing");
    let EngineError::LogDamaged { position, expected, synced, .. } = refused else { panic!("{refused}") };
    assert_eq!((expected, synced), (2, 2));
    let cut = read_back(&world, 0, Some(position)).unwrap();
    assert_eq!((cut.records(), cut.torn), (1, Some(Torn { position, records: 1 })));
}

#[test]
fn damage_that_the_store_covers_is_no_damage() {
    let directory = tempfile::tempdir().unwrap();
    let world = world(directory.path());
    {
        let (log, _) = open(&world, 2, 0);
        let lost = write(&log, 1, 1, 1);
        (2..6).for_each(|lba| {
            write(&log, lba, 2, 1);
        });
        log.sync_to(5).unwrap();
        write(&log, 9, 9, 1);
        spoil(&world, &log, lost, &[0xFF; 8]);
    }
    let found = read_back(&world, 2, None).unwrap();
    assert_eq!((found.records(), found.last_sequence), (4, 6));
}

/// Rule W2: what an older epoch left behind its cut must not come back after the next epoch's records.
#[test]
fn records_behind_a_torn_tail_stay_dead() {
    let directory = tempfile::tempdir().unwrap();
    let world = world(directory.path());
    {
        let (log, _) = open(&world, 2, 0);
        write(&log, 1, 1, 1);
        let torn = write(&log, 2, 2, 1);
        (3..9).for_each(|lba| {
            write(&log, lba, 3, 1);
        });
        spoil(&world, &log, torn, &[0xFF; 8]);
    }
    {
        let (log, found) = open(&world, 3, 0);
        assert_eq!(found.last, 1);
        write(&log, 100, 4, 1);
        log.sync_to(2).unwrap();
    }
    let (_, found) = open(&world, 4, 0);
    let lbas: Vec<_> = found.records.iter().map(|pending| pending.record.lba).collect();
    assert_eq!(lbas, vec![1, 100]);
}

#[test]
fn chunks_are_rotated_released_and_used_again_under_new_positions() {
    let directory = tempfile::tempdir().unwrap();
    let world = world(directory.path());
    let (log, _) = open(&world, 2, 0);
    let mut last = 0;
    // 160 MiB through a log that is released as it goes.
    for round in 0..160_u64 {
        let position = write(&log, round, round as u8, 256);
        assert!(position > last, "positions are never reused");
        last = position;
        if round % 40 == 39 {
            let cut = log.cut(u64::MAX).unwrap();
            log.release(cut.end);
            assert!(log.dirty_bytes() == 0, "all is released");
        }
    }
    let files = world.disk.list(&DIRECTORY.log_path(LOG)).unwrap();
    assert!(files.len() <= 4, "files are used again, found {}", files.len());
    assert!(last > 4 * CHUNK_BYTES);
    drop(log);
    let found = read_back(&world, 160, None).unwrap();
    assert_eq!((found.records(), found.torn), (0, None));
    let tail = read_back(&world, 158, None).unwrap();
    assert_eq!((tail.records(), tail.last_sequence), (2, 160));
}

#[test]
fn a_missing_chunk_below_synced_records_is_damage() {
    let directory = tempfile::tempdir().unwrap();
    let world = world(directory.path());
    let path = {
        let (log, _) = open(&world, 2, 0);
        (0..40).for_each(|lba| {
            write(&log, lba * 256, 1, 256);
        });
        log.sync_to(40).unwrap();
        (40..80).for_each(|lba| {
            write(&log, lba * 256, 1, 256);
        });
        log.table().find(CHUNK_BYTES + 4096).expect("the second chunk").0.path.clone()
    };
    world.disk.remove(&path).unwrap();
    assert!(matches!(read_back(&world, 0, None), Err(EngineError::LogDamaged { expected: 32, .. })));
}

#[test]
fn a_failed_log_refuses_writes_and_syncs() {
    let directory = tempfile::tempdir().unwrap();
    let world = world(directory.path());
    let (log, _) = open(&world, 2, 0);
    write(&log, 1, 1, 1);
    log.close();
    let mut positions = Vec::new();
    let entry = Entry { lba: 0, payload: Payload::Hole { blocks: 1 } };
    assert!(log.append(&[entry], &mut positions).is_err());
    assert!(log.sync_to(1).is_err());
}

/// Trims have no blocks, but each has a run in the segment: a cut takes no more of them than of blocks.
#[test]
fn a_cut_counts_ranges_too() {
    let directory = tempfile::tempdir().unwrap();
    let world = world(directory.path());
    let (log, _) = open(&world, 2, 0);
    let trims = vec![Entry { lba: 0, payload: Payload::Hole { blocks: 1 } }; 25];
    log.append(&trims, &mut Vec::new()).unwrap();
    assert_eq!(log.backlog().blocks, 25);
    assert_eq!(log.pending_records(), 25);
    assert_eq!(log.cut(10).unwrap().records.len(), 10);
    assert_eq!(log.backlog().blocks, 15);
}

/// A header that cannot be read is not the header of an unused file: flushed records may lie behind it.
#[test]
fn a_chunk_header_that_rotted_refuses_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let world = world(directory.path());
    {
        let (log, _) = open(&world, 2, 0);
        let position = write(&log, 1, 1, 1);
        log.sync_to(1).unwrap();
        let (chunk, _) = log.table().find(position).unwrap();
        world.disk.open(&chunk.path).unwrap().write_at(&[std::io::IoSlice::new(&[0x55; 8])], 16).unwrap();
    }
    assert!(matches!(read_back(&world, 0, None), Err(EngineError::Damaged { .. })));
    assert_eq!(read_back(&world, 0, Some(0)).unwrap().records(), 0, "the operator may go on without it");
}

#[test]
fn a_release_refuses_later_writes_and_waits_for_earlier_ones() {
    let directory = tempfile::tempdir().unwrap();
    let world = world(directory.path());
    let (log, _) = open(&world, 2, 0);
    write(&log, 1, 1, 1);
    assert!(!log.close_if_released(), "a record is not in the store yet");
    let cut = log.cut(10).unwrap();
    log.release(cut.end);
    assert!(log.close_if_released());
    let entry = Entry { lba: 0, payload: Payload::Hole { blocks: 1 } };
    assert!(log.append(&[entry], &mut Vec::new()).is_err());
}

#[test]
fn a_log_that_is_dropped_gives_its_share_of_the_daemon_s_bound_back() {
    let directory = tempfile::tempdir().unwrap();
    let world = world(directory.path());
    let (log, _) = open(&world, 2, 0);
    let budget = log.budget().clone();
    write(&log, 1, 1, 16);
    assert!(budget.used() > 16 * 4096);
    drop(log);
    assert_eq!(budget.used(), 0);
}

mod spares;
