use std::{collections::BTreeSet, io::IoSlice, sync::Arc};

use esker_io::{Disk, File};

use super::{FakeDisk, Survival, SyncFault, WriteFault};
use crate::{Config, DiskFaults, Host, Machine, Side};

fn machine() -> (Machine, Host, FakeDisk) {
    let machine = Machine::new(1, Config::default());
    let host = machine.host();
    let disk = host.disk();
    (machine, host, disk)
}

fn write(file: &Arc<dyn File>, offset: u64, bytes: &[u8]) {
    file.write_at(&[IoSlice::new(bytes)], offset).unwrap();
}

fn read(disk: &FakeDisk, path: &str) -> Option<Vec<u8>> {
    let file = disk.open(path).ok()?;
    let mut bytes = vec![0xee; file.size().unwrap() as usize];
    file.read_at(&mut bytes, 0).unwrap();
    Some(bytes)
}

/// A durable file of these bytes.
fn durable(disk: &FakeDisk, path: &str, bytes: &[u8]) -> Arc<dyn File> {
    let file = disk.create(path).unwrap();
    write(&file, 0, bytes);
    file.sync().unwrap();
    disk.sync_dir("").unwrap();
    file
}

fn after_crash(host: &Host, survival: Survival) -> FakeDisk {
    host.crash(survival);
    host.restart();
    host.disk()
}

fn names(disk: &FakeDisk, dir: &str) -> Vec<String> {
    disk.list(dir).unwrap().into_iter().map(|entry| entry.name).collect()
}

#[test]
fn it_does_what_the_trait_says() {
    let (_machine, _host, disk) = machine();
    assert!(disk.list("a/b").unwrap().is_empty());
    disk.create_dir("a/b").unwrap();
    disk.create_dir("a/b").unwrap();
    let file = disk.create("a/b/f").unwrap();
    assert!(disk.create("a/b/f").is_err());
    assert!(disk.create("nowhere/f").err().unwrap().not_found);
    assert!(disk.open("a/b/g").err().unwrap().not_found);
    assert!(disk.open("a/b").is_err());
    file.write_at(&[IoSlice::new(b"one"), IoSlice::new(b"two")], 5_000).unwrap();
    assert_eq!(file.size().unwrap(), 5_006);
    file.allocate(4_000).unwrap();
    assert_eq!(file.size().unwrap(), 5_006);
    file.allocate(10_000).unwrap();
    assert_eq!(file.size().unwrap(), 10_000);
    let mut bytes = [1; 8];
    file.read_at(&mut bytes, 4_999).unwrap();
    assert_eq!(&bytes, b"\0onetwo\0");
    let error = file.read_at(&mut bytes, 9_993).unwrap_err();
    assert!(error.to_string().contains("8 bytes at 9993 of a file of 10000"), "{error}");
    assert!(disk.rename("a/b/f", "a/b").is_err());
    assert!(disk.rename("a", "a/b/c").is_err());
    disk.rename("a/b/f", "a/g").unwrap();
    disk.rename("a", "z").unwrap();
    let listed = disk.list("z").unwrap();
    assert_eq!(
        listed.iter().map(|e| (e.name.as_str(), e.directory)).collect::<Vec<_>>(),
        [("b", true), ("g", false)]
    );
    assert!(disk.remove("z/b").is_err());
    assert!(disk.remove("z/none").unwrap_err().not_found);
    assert!(disk.remove_dir("").is_err());
    assert!(disk.remove_dir("none").unwrap_err().not_found);
    disk.remove_dir("z").unwrap();
    assert!(names(&disk, "").is_empty());
    for path in ["../x", "/x", "a/./b"] {
        assert!(disk.create(path).is_err() && disk.list(path).is_err(), "{path}");
    }
}

#[test]
fn a_kill_keeps_everything_and_ends_old_handles() {
    let (_machine, host, disk) = machine();
    let file = disk.create("f").unwrap();
    write(&file, 0, b"unsynced");
    host.kill();
    assert!(file.sync().is_err());
    assert!(disk.list("").is_err());
    host.restart();
    assert!(file.write_at(&[IoSlice::new(b"x")], 0).is_err(), "an old handle stays dead");
    assert_eq!(read(&host.disk(), "f").unwrap(), b"unsynced");
}

#[test]
fn only_what_was_synced_survives_a_power_loss() {
    let (_machine, host, disk) = machine();
    let file = durable(&disk, "f", &[1; 1_000]);
    write(&file, 500, &[2; 1_000]);
    file.allocate(9_000).unwrap();
    let other = disk.create("g").unwrap();
    write(&other, 0, b"synced, but its name is not");
    other.sync().unwrap();
    let disk = after_crash(&host, Survival::OnlySynced);
    assert_eq!(read(&disk, "f").unwrap(), [1; 1_000]);
    assert_eq!(names(&disk, ""), ["f"]);
}

#[test]
fn space_that_is_given_back_reads_as_zeros_and_for_good_once_synced() {
    let (_machine, host, disk) = machine();
    let file = durable(&disk, "f", &[1; 10_000]);
    file.give_back(4_100).unwrap();
    let given_back: Vec<u8> = [vec![1; 4_100], vec![0; 5_900]].concat();
    assert_eq!(read(&disk, "f").unwrap(), given_back);
    let disk = after_crash(&host, Survival::OnlySynced);
    assert_eq!(read(&disk, "f").unwrap(), [1; 10_000]);
    let file = disk.open("f").unwrap();
    file.give_back(4_100).unwrap();
    file.sync().unwrap();
    assert_eq!(read(&after_crash(&host, Survival::OnlySynced), "f").unwrap(), given_back);
}

#[test]
fn everything_may_survive_a_power_loss() {
    let (_machine, host, disk) = machine();
    let file = disk.create("f").unwrap();
    write(&file, 0, b"unsynced");
    file.allocate(4_096).unwrap();
    let disk = after_crash(&host, Survival::Everything);
    let bytes = read(&disk, "f").unwrap();
    assert_eq!((bytes.len(), &bytes[..8]), (4_096, b"unsynced".as_slice()));
}

#[test]
fn kernel_writes_of_a_killed_process_are_lost_with_the_power() {
    let (_machine, host, disk) = machine();
    let file = durable(&disk, "f", b"old");
    write(&file, 0, b"new");
    host.kill();
    host.restart();
    assert_eq!(read(&host.disk(), "f").unwrap(), b"new");
    let disk = after_crash(&host, Survival::OnlySynced);
    assert_eq!(read(&disk, "f").unwrap(), b"old");
}

#[test]
fn a_subset_tears_at_sectors_and_only_there() {
    let mut kinds = BTreeSet::new();
    for seed in 0..300 {
        let (_machine, host, disk) = machine();
        let file = durable(&disk, "f", &[0; 4_096]);
        write(&file, 100, &[1; 1_900]);
        write(&file, 3_000, &[2; 500]);
        let bytes = read(&after_crash(&host, Survival::Subset(seed)), "f").unwrap();
        assert_eq!(bytes.len(), 4_096);
        for (start, end, value) in [(100, 2_000, 1), (3_000, 3_500, 2)] {
            // A sector's part of one write is wholly there or not at all.
            let parts = (start..end).collect::<Vec<usize>>();
            let sectors: Vec<bool> = parts
                .chunk_by(|a, b| a / 512 == b / 512)
                .map(|sector| {
                    let kept = bytes[sector[0]] == value;
                    assert!(
                        sector.iter().all(|&at| (bytes[at] == value) == kept),
                        "seed {seed}: torn in a sector"
                    );
                    kept
                })
                .collect();
            kinds.insert((value, sectors));
        }
        assert!(
            bytes[..100].iter().chain(&bytes[2_000..3_000]).chain(&bytes[3_500..]).all(|&byte| byte == 0)
        );
    }
    // 4 sectors of the first write, 2 of the second: all subsets of the second, most of the first.
    assert!(kinds.iter().filter(|(value, _)| *value == 2).count() == 4, "{kinds:?}");
    assert!(kinds.iter().filter(|(value, _)| *value == 1).count() >= 12, "{kinds:?}");
}

#[test]
fn a_later_write_may_survive_without_an_earlier_one() {
    let seen: BTreeSet<(bool, bool)> = (0..100)
        .map(|seed| {
            let (_machine, host, disk) = machine();
            let file = durable(&disk, "f", &[0; 1_024]);
            write(&file, 0, &[1; 512]);
            write(&file, 512, &[1; 512]);
            let bytes = read(&after_crash(&host, Survival::Subset(seed)), "f").unwrap();
            (bytes[0] == 1, bytes[512] == 1)
        })
        .collect();
    assert_eq!(seen.len(), 4);
}

#[test]
fn one_seed_is_one_crash() {
    let crash = |seed| {
        let (_machine, host, disk) = machine();
        let file = durable(&disk, "f", &[0; 64 << 10]);
        write(&file, 0, &[1; 64 << 10]);
        read(&after_crash(&host, Survival::Subset(seed)), "f")
    };
    assert_eq!(crash(5), crash(5));
}

#[test]
fn names_survive_one_by_one() {
    let seen: BTreeSet<Vec<String>> = (0..100)
        .map(|seed| {
            let (_machine, host, disk) = machine();
            durable(&disk, "old", b"");
            disk.create("a").unwrap();
            disk.create("b").unwrap();
            disk.remove("old").unwrap();
            names(&after_crash(&host, Survival::Subset(seed)), "")
        })
        .collect();
    assert_eq!(seen.len(), 8);
}

#[test]
fn a_directory_needs_its_own_name() {
    let (_machine, host, disk) = machine();
    disk.create_dir("d/e").unwrap();
    disk.create("d/e/f").unwrap().sync().unwrap();
    disk.sync_dir("d/e").unwrap();
    disk.sync_dir("d").unwrap();
    let lost = after_crash(&host, Survival::OnlySynced);
    assert!(names(&lost, "").is_empty());

    lost.create_dir("d/e").unwrap();
    lost.create("d/e/f").unwrap().sync().unwrap();
    for dir in ["d/e", "d", ""] {
        lost.sync_dir(dir).unwrap();
    }
    assert_eq!(names(&after_crash(&host, Survival::OnlySynced), "d/e"), ["f"]);
}

#[test]
fn a_rename_in_one_directory_is_atomic() {
    let seen: BTreeSet<Vec<String>> = (0..50)
        .map(|seed| {
            let (_machine, host, disk) = machine();
            durable(&disk, "a", b"x");
            disk.rename("a", "b").unwrap();
            names(&after_crash(&host, Survival::Subset(seed)), "")
        })
        .collect();
    assert_eq!(seen, BTreeSet::from([vec!["a".to_owned()], vec!["b".to_owned()]]));
}

#[test]
fn a_rename_between_directories_never_loses_the_file() {
    let seen: BTreeSet<(bool, bool)> = (0..200)
        .map(|seed| {
            let (_machine, host, disk) = machine();
            durable(&disk, "a", b"x");
            disk.create_dir("d").unwrap();
            disk.sync_dir("").unwrap();
            disk.rename("a", "d/a").unwrap();
            if seed % 2 == 1 {
                // Syncing where it was also keeps where it went.
                disk.sync_dir("").unwrap();
            }
            let disk = after_crash(&host, Survival::Subset(seed));
            (read(&disk, "a").is_some(), read(&disk, "d/a").is_some())
        })
        .collect();
    assert_eq!(seen, BTreeSet::from([(true, false), (true, true), (false, true)]));
}

#[test]
fn removing_a_directory_may_get_half_way() {
    let seen: BTreeSet<Vec<String>> = (0..100)
        .map(|seed| {
            let (_machine, host, disk) = machine();
            disk.create_dir("d").unwrap();
            for name in ["d/a", "d/b"] {
                disk.create(name).unwrap();
            }
            disk.sync_dir("d").unwrap();
            disk.sync_dir("").unwrap();
            disk.remove_dir("d").unwrap();
            names(&after_crash(&host, Survival::Subset(seed)), "d")
        })
        .collect();
    assert_eq!(seen.len(), 4);
}

#[test]
fn a_failed_sync_marks_the_writes_clean() {
    let mut lost = 0;
    for seed in 0..50 {
        let machine = Machine::new(seed, Config::default());
        let (host, disk) = (machine.host(), machine.host().disk());
        let file = durable(&disk, "f", &[0; 512]);
        write(&file, 0, &[1; 512]);
        disk.fail_sync(1, SyncFault::Once);
        assert!(file.sync().is_err());
        assert_eq!(disk.unsynced("f"), Some(0));
        assert_eq!(read(&disk, "f").unwrap(), [1; 512], "the kernel still shows it");
        file.sync().unwrap();
        let bytes = read(&after_crash(&host, Survival::Everything), "f").unwrap();
        lost += u32::from(bytes == [0; 512]);
    }
    assert!(lost > 10, "a later sync must not save what a failed one lost; lost {lost} of 50");
}

#[test]
fn a_broken_device_fails_until_it_is_repaired() {
    let (_machine, _host, disk) = machine();
    let file = durable(&disk, "f", b"x");
    disk.fail_sync(2, SyncFault::ForEver);
    file.sync().unwrap();
    for _ in 0..3 {
        assert!(file.sync().is_err());
        assert!(disk.sync_dir("").is_err());
    }
    disk.repair();
    file.sync().unwrap();
}

#[test]
fn planned_write_faults_hit_their_write_and_leave_a_first_part() {
    let (_machine, _host, disk) = machine();
    let file = durable(&disk, "f", &[0; 2_048]);
    disk.fail_write(2, WriteFault::NoSpace);
    disk.fail_write(3, WriteFault::Error);
    write(&file, 0, &[1; 512]);
    let full = file.allocate(1 << 20).unwrap_err();
    assert!(full.no_space, "{full}");
    let failed = file.write_at(&[IoSlice::new(&[2; 2_048])], 0).unwrap_err();
    assert!(!failed.no_space, "{failed}");
    let bytes = read(&disk, "f").unwrap();
    let written = bytes.iter().take_while(|&&byte| byte == 2).count();
    assert_eq!(written % 512, 0);
    assert!(bytes[written..].iter().all(|&byte| byte != 2));
    write(&file, 0, &[3; 2_048]);
}

#[test]
fn faults_by_chance_can_be_switched_on_and_off() {
    let (_machine, _host, disk) = machine();
    let file = durable(&disk, "f", b"x");
    disk.set_faults(DiskFaults {
        write_error_ppm: 1_000_000,
        read_error_ppm: 1_000_000,
        ..DiskFaults::default()
    });
    assert!(file.write_at(&[IoSlice::new(b"y")], 0).is_err());
    assert!(file.read_at(&mut [0], 0).is_err());
    disk.set_faults(DiskFaults::default());
    write(&file, 0, b"y");
    file.read_at(&mut [0], 0).unwrap();
}

#[test]
fn bit_rot_changes_one_bit_of_what_is_durable() {
    let (_machine, host, disk) = machine();
    let file = durable(&disk, "f", &[0; 100]);
    assert!(disk.rot("f", 40, 3));
    assert!(!disk.rot("f", 100, 0) && !disk.rot("g", 0, 0));
    let mut expected = [0; 100];
    expected[40] = 8;
    assert_eq!(read(&disk, "f").unwrap(), expected);
    write(&file, 40, &[7]);
    assert!(disk.rot("f", 40, 0));
    assert_eq!(read(&disk, "f").unwrap()[40], 7, "it is about to be overwritten");
    assert_eq!(read(&after_crash(&host, Survival::OnlySynced), "f").unwrap()[40], 9);
}

#[test]
fn a_crash_point_before_and_after_a_step() {
    for (side, expected) in [(Side::Before, b"old"), (Side::After, b"new")] {
        let (machine, host, disk) = machine();
        let file = durable(&disk, "f", b"old");
        let start = host.steps();
        assert_eq!(start, 4, "create, write, sync, sync directory");
        host.crash_at(start + 2, side);
        write(&file, 0, b"new");
        assert!(!host.is_crashed());
        assert!(file.sync().is_err());
        assert!(host.is_crashed());
        assert!(disk.create("g").is_err());
        assert_eq!(host.steps(), start + 2, "a dead run takes no steps");
        assert!(matches!(machine.run_for(std::time::Duration::ZERO), Err(crate::Halt::Crashed { .. })));
        let disk = after_crash(&host, Survival::OnlySynced);
        assert_eq!(read(&disk, "f").unwrap(), expected);
        machine.run_for(std::time::Duration::ZERO).unwrap();
    }
}

#[test]
fn a_crash_that_was_dealt_with_is_not_reported_again() {
    let (machine, host, disk) = machine();
    host.crash_at(1, Side::After);
    assert!(disk.create("f").is_err());
    let disk = after_crash(&host, Survival::Everything);
    machine.run_for(std::time::Duration::ZERO).unwrap();
    assert_eq!(names(&disk, ""), ["f"]);
}

#[test]
fn large_sparse_files_are_cheap() {
    let (_machine, host, disk) = machine();
    let file = disk.create("f").unwrap();
    file.allocate(1 << 40).unwrap();
    write(&file, 1 << 39, b"middle");
    file.sync().unwrap();
    disk.sync_dir("").unwrap();
    let disk = after_crash(&host, Survival::OnlySynced);
    let mut bytes = [1; 8];
    disk.open("f").unwrap().read_at(&mut bytes, (1 << 39) - 1).unwrap();
    assert_eq!(&bytes, b"\0middle\0");
}
