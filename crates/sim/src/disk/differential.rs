//! The fake without faults and the real disk answer alike.

use std::io::IoSlice;

use esker_io::{Disk, DiskError, LocalDisk};

use crate::{Config, Machine, Prng};

const PATHS: [&str; 9] = ["a", "b", "a/a", "a/b", "b/a", "b/b", "a/b/a", "c", "c/a/b"];

/// What a caller can tell from an answer.
fn seen<T>(result: Result<T, DiskError>) -> Result<T, (bool, bool)> {
    result.map_err(|error| (error.not_found, error.no_space))
}

fn read(disk: &dyn Disk, path: &str, offset: u64, bytes: usize) -> Result<(u64, Vec<u8>), DiskError> {
    let file = disk.open(path)?;
    let mut buffer = vec![0; bytes];
    file.read_at(&mut buffer, offset)?;
    Ok((file.size()?, buffer))
}

/// One random operation, and what was seen of it.
fn operate(disk: &dyn Disk, random: &mut Prng) -> String {
    let (path, other) = (*random.pick(&PATHS), *random.pick(&PATHS));
    let (offset, bytes) = (random.below(9_000), random.below(6_000));
    let fill = random.below(256) as u8;
    let answer = match random.below(14) {
        0 | 1 => format!("create {:?}", seen(disk.create(path).map(drop))),
        2 => format!("create directory {:?}", seen(disk.create_dir(path))),
        3 => format!("remove {:?}", seen(disk.remove(path))),
        4 => format!("remove directory {:?}", seen(disk.remove_dir(path))),
        5 => format!("rename to {other} {:?}", seen(disk.rename(path, other))),
        6 => format!("list {:?}", seen(disk.list(path))),
        // The real disk would sync a file here; the fake says that the caller is wrong.
        7 if disk.list(path).is_err() => "no directory".into(),
        7 => format!("sync directory {:?}", seen(disk.sync_dir(path))),
        8 => format!("allocate {:?}", seen(disk.open(path).and_then(|file| file.allocate(offset + 1)))),
        11 => format!("set size {:?}", seen(disk.open(path).and_then(|file| file.set_size(offset)))),
        12 => format!("give back {:?}", seen(disk.open(path).and_then(|file| file.give_back(offset)))),
        9 => format!("sync {:?}", seen(disk.open(path).and_then(|file| file.sync()))),
        10 => format!("read {offset} {bytes} {:?}", seen(read(disk, path, offset, bytes as usize))),
        _ => {
            let data = vec![fill; bytes as usize];
            let (first, second) = data.split_at(data.len() / 3);
            let buffers = [IoSlice::new(first), IoSlice::new(second)];
            format!("write {:?}", seen(disk.open(path).and_then(|file| file.write_at(&buffers, offset))))
        }
    };
    format!("{path}: {answer}")
}

#[test]
fn the_fake_and_the_real_disk_answer_alike() {
    for seed in 0..60 {
        let directory = tempfile::tempdir().unwrap();
        let real = LocalDisk::open(directory.path()).unwrap();
        let machine = Machine::new(seed, Config::default());
        let fake = machine.host().disk();
        let (mut for_real, mut for_fake) = (Prng::new(seed), Prng::new(seed));
        for step in 0..200 {
            let (real, fake) = (operate(&real, &mut for_real), operate(&fake, &mut for_fake));
            assert_eq!(real, fake, "seed {seed}, step {step}: real and fake");
        }
    }
}
