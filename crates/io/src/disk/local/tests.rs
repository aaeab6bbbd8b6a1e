use std::io::IoSlice;

use super::{BUFFERS_MAX, LocalDisk};
use crate::{Disk, disk::Entry};

fn disk() -> (tempfile::TempDir, LocalDisk) {
    let dir = tempfile::tempdir().unwrap();
    let disk = LocalDisk::open(dir.path().join("new/root")).unwrap();
    (dir, disk)
}

#[test]
fn paths_stay_below_the_root() {
    let (_dir, disk) = disk();
    for path in ["../x", "/etc/x", "a/../../x", "./x", "x\0y"] {
        let error = disk.create(path).err().expect(path);
        assert!(error.message.contains("not a plain path"), "{error}");
        assert!(disk.rename("a", path).is_err());
        assert!(disk.remove_dir(path).is_err());
    }
    assert!(disk.remove_dir("").is_err());
}

#[test]
fn files_are_created_once_and_opened_after() {
    let (_dir, disk) = disk();
    assert!(disk.open("a").err().unwrap().not_found);
    assert_eq!(disk.list("logs").unwrap(), []);
    disk.create_dir("logs/deep").unwrap();
    disk.create_dir("logs/deep").unwrap();
    disk.create("logs/a").unwrap().write_at(&[IoSlice::new(b"abc")], 0).unwrap();
    assert!(disk.create("logs/a").is_err());
    disk.sync_dir("logs").unwrap();
    disk.sync_dir("").unwrap();
    let file = disk.open("logs/a").unwrap();
    assert_eq!(file.size().unwrap(), 3);
    let entry = |name: &str, directory| Entry { name: name.to_owned(), directory };
    assert_eq!(disk.list("logs").unwrap(), [entry("a", false), entry("deep", true)]);
    assert_eq!(disk.list("").unwrap(), [entry("logs", true)]);
    disk.remove("logs/a").unwrap();
    assert!(disk.remove("logs/a").err().unwrap().not_found);
    disk.remove_dir("logs").unwrap();
    assert_eq!(disk.list("").unwrap(), []);
}

#[test]
fn a_rename_replaces_nothing() {
    let (_dir, disk) = disk();
    disk.create("a").unwrap().write_at(&[IoSlice::new(b"a")], 0).unwrap();
    disk.create("b").unwrap();
    let error = disk.rename("a", "b").unwrap_err();
    assert!(error.to_string().starts_with("rename a to b: "), "{error}");
    disk.rename("a", "c").unwrap();
    assert_eq!(disk.open("c").unwrap().size().unwrap(), 1);
    assert!(disk.rename("a", "d").unwrap_err().not_found);
    disk.create_dir("dir").unwrap();
    disk.rename("dir", "gone").unwrap();
}

#[test]
fn many_buffers_land_in_order() {
    let (_dir, disk) = disk();
    let file = disk.create("a").unwrap();
    let pieces: Vec<Vec<u8>> = (0..BUFFERS_MAX * 2 + 7).map(|i| vec![i as u8; i % 5]).collect();
    let buffers: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
    file.write_at(&buffers, 100).unwrap();
    file.write_at(&[], 0).unwrap();
    let expected = pieces.concat();
    let mut found = vec![0; expected.len()];
    file.read_at(&mut found, 100).unwrap();
    assert!(found == expected);
    file.start_write_back(0, 4096);
    file.start_write_back(u64::MAX, u64::MAX);
    file.sync().unwrap();
}

#[test]
fn a_short_write_goes_on_where_it_ended() {
    let dir = tempfile::tempdir().unwrap();
    let file = std::fs::File::create_new(dir.path().join("a")).unwrap();
    let (one, two) = ([1; 3], [2; 5]);
    let mut slices = [IoSlice::new(&one), IoSlice::new(&two)];
    let mut rest = slices.as_mut_slice();
    IoSlice::advance_slices(&mut rest, 2);
    super::write_rest(&file, rest, 2).unwrap();
    assert_eq!(std::fs::read(dir.path().join("a")).unwrap(), [0, 0, 1, 2, 2, 2, 2, 2]);
}

#[test]
fn allocating_sets_the_least_size() {
    let (_dir, disk) = disk();
    let file = disk.create("a").unwrap();
    file.allocate(0).unwrap();
    file.allocate(1 << 20).unwrap();
    assert_eq!(file.size().unwrap(), 1 << 20);
    file.allocate(4096).unwrap();
    assert_eq!(file.size().unwrap(), 1 << 20);
    let mut end = [1; 8];
    file.read_at(&mut end, (1 << 20) - 8).unwrap();
    assert_eq!(end, [0; 8]);
}

#[test]
fn a_size_alone_takes_no_space() {
    let (_dir, disk) = disk();
    let file = disk.create("a").unwrap();
    file.write_at(&[IoSlice::new(&[7; 10])], 0).unwrap();
    for (bytes, size) in [(32 << 20, 32 << 20), (4096, 32 << 20)] {
        file.set_size(bytes).unwrap();
        assert_eq!(file.size().unwrap(), size);
    }
    file.sync().unwrap();
    let blocks =
        || std::os::unix::fs::MetadataExt::blocks(&std::fs::metadata(disk.root().join("a")).unwrap());
    assert!(blocks() * 512 <= 16 << 10, "{} blocks", blocks());
    let mut found = [1; 12];
    file.read_at(&mut found, 0).unwrap();
    assert_eq!(found, [7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 0, 0]);
    file.allocate(32 << 20).unwrap();
    assert!(blocks() * 512 >= 32 << 20, "{} blocks", blocks());
    file.give_back(4096).unwrap();
    assert!(blocks() * 512 <= 16 << 10, "{} blocks", blocks());
    file.give_back(32 << 20).unwrap();
    file.read_at(&mut found, 0).unwrap();
    assert_eq!((file.size().unwrap(), found), (32 << 20, [7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 0, 0]));
}

#[test]
fn reading_past_the_end_says_where_it_is() {
    let (_dir, disk) = disk();
    let file = disk.create("a").unwrap();
    file.write_at(&[IoSlice::new(&[7; 10])], 0).unwrap();
    let error = file.read_at(&mut [0; 8], 4).unwrap_err();
    assert_eq!(error.to_string(), "read a: bytes 4..12 of a file of 10");
}

#[test]
fn a_mapped_file_shows_what_is_written_later() {
    let (_dir, disk) = disk();
    let file = disk.create("a").unwrap();
    file.allocate(1 << 20).unwrap();
    let mut found = [1; 8];
    file.read_often_at(&mut found, 4092).unwrap();
    assert_eq!(found, [0; 8]);
    file.write_at(&[IoSlice::new(&[7; 8])], 4092).unwrap();
    file.read_often_at(&mut found, 4092).unwrap();
    assert_eq!(found, [7; 8]);
    // Beyond what was mapped, it is read as any file.
    file.write_at(&[IoSlice::new(&[9; 8])], 1 << 20).unwrap();
    file.read_often_at(&mut found, 1 << 20).unwrap();
    assert_eq!(found, [9; 8]);
}

#[test]
fn a_mapped_page_that_cannot_be_had_is_an_error_of_its_file() {
    let (_dir, disk) = disk();
    let files: Vec<_> = ["a", "b"]
        .into_iter()
        .map(|name| {
            let file = disk.create(name).unwrap();
            file.write_at(&[IoSlice::new(&[5; 3 * 4096])], 0).unwrap();
            file.read_often_at(&mut [0; 8], 0).unwrap();
            file
        })
        .collect();
    // Nobody should; a disk that fails looks the same from here.
    std::fs::File::options().write(true).open(disk.root().join("a")).unwrap().set_len(4096).unwrap();
    let error = files[0].read_often_at(&mut [0; 4096], 8192).unwrap_err();
    assert_eq!(error.to_string(), "read a: bytes 8192..12288 of a file of 4096");
    let mut found = [0; 4096];
    files[0].read_often_at(&mut found, 0).unwrap();
    assert!(found == [5; 4096], "what is there is read as before");
    assert!(files[0].read_often_at(&mut found, 8192).is_err(), "zeros stand there now, and are no answer");
    files[1].read_often_at(&mut found, 8192).unwrap();
    assert!(found == [5; 4096], "the other file is not touched");
}

#[test]
fn mappings_come_and_go() {
    let (_dir, disk) = disk();
    // More than there are places for at once.
    for round in 0..5_000u32 {
        let name = format!("{}", round % 2);
        let file = disk.create(&name).unwrap();
        file.write_at(&[IoSlice::new(&round.to_le_bytes())], 0).unwrap();
        let mut found = [0; 4];
        file.read_often_at(&mut found, 0).unwrap();
        assert_eq!(u32::from_le_bytes(found), round);
        disk.remove(&name).unwrap();
    }
}
