//! Files that are made warm: how many, when, and what a crash in the middle leaves.

use std::{
    collections::BTreeMap,
    io::IoSlice,
    os::unix::fs::MetadataExt,
    sync::atomic::{AtomicU64, Ordering},
};

use esker_io::{Cpu, Disk, DiskError, File, Job, disk::Entry as DirectoryEntry, sync::Mutex};

use super::{
    super::spare::{FileRequest, Progress, SLICES, Warmth},
    *,
};
use crate::testing::block_on;

/// A disk that can be full, but for headers of chunks. A reservation that fails takes what there is. Nothing may be
/// written where no space was reserved.
struct Tight {
    disk: LocalDisk,
    state: Arc<Room>,
}

struct Room {
    bytes_max: AtomicU64,
    /// By path.
    reserved: Mutex<BTreeMap<String, u64>>,
}

impl Room {
    /// What all files take, but for their headers.
    fn taken(&self) -> u64 {
        self.reserved.lock().values().map(|bytes| bytes.saturating_sub(4096)).sum()
    }

    /// So much can be reserved from now on.
    fn set_free(&self, bytes: u64) {
        self.bytes_max.store(self.taken().saturating_add(bytes), Ordering::Relaxed);
    }

    fn set_full(&self, full: bool) {
        self.set_free(if full { 0 } else { u64::MAX });
    }
}

struct TightFile {
    file: Arc<dyn File>,
    path: String,
    state: Arc<Room>,
}

impl Tight {
    fn file(&self, file: Arc<dyn File>, path: &str) -> Arc<dyn File> {
        Arc::new(TightFile { file, path: path.to_owned(), state: self.state.clone() })
    }
}

impl File for TightFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> std::result::Result<(), DiskError> {
        self.file.read_at(buffer, offset)
    }
    fn write_at(&self, buffers: &[IoSlice<'_>], offset: u64) -> std::result::Result<(), DiskError> {
        let end = offset + buffers.iter().map(|buffer| buffer.len() as u64).sum::<u64>();
        let reserved = self.state.reserved.lock()[&self.path];
        assert!(end <= reserved, "{} is written up to {end}, {reserved} bytes are reserved", self.path);
        self.file.write_at(buffers, offset)
    }
    fn allocate(&self, bytes: u64) -> std::result::Result<(), DiskError> {
        let free = self.state.bytes_max.load(Ordering::Relaxed) - self.state.taken();
        let mut reserved = self.state.reserved.lock();
        let reserved = reserved.get_mut(&self.path).expect("the file is there");
        let most = free.saturating_add(4096.max(*reserved));
        *reserved = bytes.min(most).max(*reserved);
        if bytes > most {
            let (path, message) = (self.path.clone(), "full".to_owned());
            return Err(DiskError { operation: "allocate", path, not_found: false, no_space: true, message });
        }
        self.file.allocate(bytes)
    }
    fn give_back(&self, from: u64) -> std::result::Result<(), DiskError> {
        let mut reserved = self.state.reserved.lock();
        let reserved = reserved.get_mut(&self.path).expect("the file is there");
        *reserved = from.min(*reserved);
        self.file.give_back(from)
    }
    fn set_size(&self, bytes: u64) -> std::result::Result<(), DiskError> {
        self.file.set_size(bytes)
    }
    fn sync(&self) -> std::result::Result<(), DiskError> {
        self.file.sync()
    }
    fn start_write_back(&self, _offset: u64, _bytes: u64) {}
    fn size(&self) -> std::result::Result<u64, DiskError> {
        self.file.size()
    }
}

impl Disk for Tight {
    fn open(&self, path: &str) -> std::result::Result<Arc<dyn File>, DiskError> {
        Ok(self.file(self.disk.open(path)?, path))
    }
    fn create(&self, path: &str) -> std::result::Result<Arc<dyn File>, DiskError> {
        self.state.reserved.lock().insert(path.to_owned(), 0);
        Ok(self.file(self.disk.create(path)?, path))
    }
    fn list(&self, dir: &str) -> std::result::Result<Vec<DirectoryEntry>, DiskError> {
        self.disk.list(dir)
    }
    fn create_dir(&self, dir: &str) -> std::result::Result<(), DiskError> {
        self.disk.create_dir(dir)
    }
    fn remove(&self, path: &str) -> std::result::Result<(), DiskError> {
        self.disk.remove(path)?;
        self.state.reserved.lock().remove(path);
        Ok(())
    }
    fn remove_dir(&self, dir: &str) -> std::result::Result<(), DiskError> {
        self.disk.remove_dir(dir)
    }
    fn rename(&self, from: &str, to: &str) -> std::result::Result<(), DiskError> {
        self.disk.rename(from, to)
    }
    fn sync_dir(&self, dir: &str) -> std::result::Result<(), DiskError> {
        self.disk.sync_dir(dir)
    }
}

/// A world whose disk can be made full.
fn tight_world(directory: &Path) -> (World, Arc<Room>) {
    let state = Arc::new(Room { bytes_max: AtomicU64::new(u64::MAX), reserved: Mutex::default() });
    let disk = Tight { disk: LocalDisk::open(directory).unwrap(), state: state.clone() };
    (World { disk: Arc::new(disk), ..world(directory) }, state)
}

/// Writes a MiB for which there is no room.
fn refused(log: &Log) {
    let mut positions = Vec::new();
    let data = vec![1; 256 * BLOCK_BYTES];
    let crcs = vec![block_crc(&data[..BLOCK_BYTES]); 256];
    let entry = Entry { lba: 0, payload: Payload::Write { data: &data, crcs: &crcs } };
    let refused = log.append(&[entry], &mut positions).expect_err("no file can be had");
    assert!(matches!(refused, EngineError::Disk(DiskError { no_space: true, .. })), "{refused}");
    assert!(positions.is_empty());
}

/// Writes MiBs, one a record.
fn write_mib(log: &Log, count: u64) {
    for lba in 0..count {
        write(log, lba, lba as u8 | 1, 256);
    }
}

fn release_all(log: &Log) {
    let end = log.cut(u64::MAX).expect("something was written").end;
    log.release(end);
}

/// Prepares as many files as are wanted, and says how many that were.
fn prepare_all(log: &Arc<Log>) -> usize {
    let mut count = 0;
    while let Some(preparing) = log.prepare_file() {
        block_on(preparing).unwrap();
        count += 1;
    }
    count
}

/// The first request that finds a file to be made warm; those for new files before it are done.
fn warming(log: &Log, world: &World) -> FileRequest {
    loop {
        let request = log.wants_file().expect("a warm file is wanted");
        if request.shelf.path().is_some() {
            return request;
        }
        let Progress::Done(made) = request.go_on(world) else { panic!("a file is made in one go") };
        log.appender.lock().file_prepared(made.expect("there is room"));
    }
}

fn files(world: &World) -> usize {
    world.disk.list(&DIRECTORY.log_path(LOG)).unwrap().len()
}

/// The highest number that a file was given.
fn newest_file(world: &World) -> String {
    world.disk.list(&DIRECTORY.log_path(LOG)).unwrap().pop().unwrap().name
}

#[test]
fn files_are_made_ahead_as_the_log_grows() {
    let directory = tempfile::tempdir().unwrap();
    let world = world(directory.path());
    let log = Arc::new(open(&world, 2, 0).0);
    write_mib(&log, 7);
    assert_eq!((prepare_all(&log), log.file_wanted_at()), (0, 8 << 20), "there may never be a second chunk");
    write_mib(&log, 1);
    assert_eq!((prepare_all(&log), log.file_wanted_at()), (1, CHUNK_BYTES));
    write_mib(&log, 30);
    assert_eq!((prepare_all(&log), files(&world)), (4, 4), "one was used; two more are made, and made warm");
    write_mib(&log, 93);
    prepare_all(&log);
    assert_eq!(files(&world), 5 + 4);
    assert_eq!(prepare_all(&log), 0);
}

#[test]
fn a_steady_load_needs_no_new_file() {
    let directory = tempfile::tempdir().unwrap();
    let world = world(directory.path());
    let log = Arc::new(open(&world, 2, 0).0);
    let mut newest = String::new();
    for round in 0..12 {
        write_mib(&log, 70);
        prepare_all(&log);
        release_all(&log);
        prepare_all(&log);
        if round == 3 {
            newest = newest_file(&world);
        }
    }
    assert_eq!(newest_file(&world), newest);
    assert!(files(&world) <= 9, "{} files", files(&world));
}

#[test]
fn a_burst_s_files_go_one_by_one() {
    let directory = tempfile::tempdir().unwrap();
    let world = world(directory.path());
    let log = Arc::new(open(&world, 2, 0).0);
    write_mib(&log, 330);
    assert_eq!(files(&world), 11);
    release_all(&log);
    let mut seen = vec![files(&world)];
    for _ in 0..9 {
        write_mib(&log, 1);
        release_all(&log);
        seen.push(files(&world));
    }
    assert_eq!(seen, [9, 8, 7, 6, 5, 4, 3, 2, 2, 2]);
}

/// Six chunks, all committed; then a new run that has two of them to replay.
fn reopened(world: &World) -> Arc<Log> {
    let (log, _) = open(world, 2, 0);
    write_mib(&log, 180);
    drop(log);
    let (log, found) = open(world, 3, 130);
    assert_eq!(found.records.len(), 50);
    Arc::new(log)
}

fn header_is_zero(world: &World, path: &str) -> bool {
    let mut header = [1; 512];
    world.disk.open(path).unwrap().read_at(&mut header, 0).unwrap();
    header.iter().all(|byte| *byte == 0)
}

/// The process is killed, or the power fails after everything was synced, at each slice.
#[test]
fn a_found_file_that_is_half_overwritten_is_still_a_spare() {
    let directory = tempfile::tempdir().unwrap();
    let world = world(directory.path());
    let log = reopened(&world);
    assert_eq!(files(&world), 3 + 3, "of five old files one is kept for each chunk in use");
    let mut request = warming(&log, &world);
    let path = request.shelf.path().expect("a file that was found is prepared");
    assert!(!header_is_zero(&world, &path));
    for slice in 0..=SLICES {
        let Progress::More(rest) = request.go_on(&world) else { panic!("slice {slice} is not the last") };
        request = rest;
        assert!(header_is_zero(&world, &path), "the header goes first");
        if slice < SLICES {
            let mut byte = [0];
            let behind = CHUNK_BYTES / SLICES * slice + 9_000;
            world.disk.open(&path).unwrap().read_at(&mut byte, behind).unwrap();
            assert_ne!(byte, [0], "what lies at {behind} is for the next slice");
        }
        let found = read_back(&world, 130, None).unwrap();
        assert_eq!((found.records(), found.torn, found.newest_epoch), (50, None, Some(3)));
    }
    let Progress::Done(Ok(Some(spare))) = request.go_on(&world) else { panic!("it is ready") };
    assert!(spare.warmth == Warmth::Warm && spare.path == path);
}

#[test]
fn a_rotation_takes_no_file_that_is_being_prepared() {
    let directory = tempfile::tempdir().unwrap();
    let world = world(directory.path());
    let log = reopened(&world);
    let mut request = Some(warming(&log, &world));
    // A chunk is filled after each slice.
    for _ in 0..SLICES + 3 {
        write_mib(&log, 31);
        request = match request.map(|request| request.go_on(&world)) {
            Some(Progress::More(rest)) => Some(rest),
            Some(Progress::Done(made)) => {
                log.appender.lock().file_prepared(made.unwrap());
                log.wants_file()
            }
            None => None,
        };
    }
    let last = log.last_sequence();
    drop(log);
    let found = read_back(&world, 130, None).unwrap();
    assert_eq!((found.last_sequence, found.torn), (last, None));
}

/// A processor on which the log grows by a chunk while a slice is written.
struct Busy {
    log: Mutex<Option<Arc<Log>>>,
    jobs: AtomicU64,
}

impl Cpu for Busy {
    fn submit(&self, job: Job) {
        let before = self.jobs.fetch_add(1, Ordering::Relaxed);
        job();
        let log = self.log.lock().take();
        if let Some(log) = log {
            write_mib(&log, 31);
            // Writing back what was written is work too, but not what is counted.
            self.jobs.store(before + 1, Ordering::Relaxed);
        }
    }
}

#[test]
fn a_log_that_grows_fast_gets_files_before_warm_ones() {
    let directory = tempfile::tempdir().unwrap();
    let cpu = Arc::new(Busy { log: Mutex::new(None), jobs: AtomicU64::new(0) });
    let world = World { cpu: cpu.clone(), ..world(directory.path()) };
    let log = Arc::new(open(&world, 2, 0).0);
    write_mib(&log, 40);
    let request = warming(&log, &world);
    log.appender.lock().file_prepared(request.stop());
    *cpu.log.lock() = Some(log.clone());
    let before = cpu.jobs.load(Ordering::Relaxed);
    block_on(log.prepare_file().expect("a warm file is wanted")).unwrap();
    let jobs = cpu.jobs.load(Ordering::Relaxed) - before;
    assert_eq!(jobs, 1, "the warming goes on though the log lacks files");
    let request = log.wants_file().expect("a file is wanted");
    assert!(request.shelf.path().is_none(), "a new one comes first");
    log.appender.lock().file_prepared(None);
    write_mib(&log, 31);
    let last = log.last_sequence();
    drop((log, cpu));
    assert_eq!(read_back(&world, 0, None).unwrap().last_sequence, last);
}

#[test]
fn on_a_full_disk_the_file_that_is_being_prepared_serves() {
    let directory = tempfile::tempdir().unwrap();
    let (world, disk) = tight_world(directory.path());
    let log = Arc::new(open(&world, 2, 0).0);
    write_mib(&log, 62);
    let mut request = warming(&log, &world);
    for _ in 0..4 {
        let Progress::More(rest) = request.go_on(&world) else { panic!("it is not ready") };
        request = rest;
    }
    disk.set_full(true);
    write_mib(&log, 62);
    assert!(matches!(request.go_on(&world), Progress::Done(Ok(None))), "the file is not its any more");
    refused(&log);
    log.appender.lock().file_prepared(None);
    assert!(log.prepare_file().is_none(), "none is asked for until something has changed");
    disk.set_full(false);
    write_mib(&log, 1);
    drop(log);
    assert_eq!(read_back(&world, 0, None).unwrap().last_sequence, 125);
}

#[test]
fn a_file_that_cannot_be_made_is_asked_for_once() {
    let directory = tempfile::tempdir().unwrap();
    let (world, disk) = tight_world(directory.path());
    let log = Arc::new(open(&world, 2, 0).0);
    write_mib(&log, 20);
    disk.set_full(true);
    block_on(log.prepare_file().expect("a file is wanted")).expect_err("there is no room");
    assert!(log.prepare_file().is_none());
    disk.set_full(false);
    write_mib(&log, 20);
    assert_eq!(prepare_all(&log), 4, "a chunk has changed hands");
}

/// The next opening in the same process may use the file at once.
#[test]
fn nothing_is_written_to_a_file_after_the_log_has_ended() {
    let directory = tempfile::tempdir().unwrap();
    let world = world(directory.path());
    let log = reopened(&world);
    let mut request = warming(&log, &world);
    let path = request.shelf.path().expect("it is on the shelf");
    for _ in 0..3 {
        let Progress::More(rest) = request.go_on(&world) else { panic!("it is not ready") };
        request = rest;
    }
    log.close();
    let mark = [7; 512];
    let file = world.disk.open(&path).unwrap();
    for slice in 0..SLICES {
        file.write_at(&[IoSlice::new(&mark)], CHUNK_BYTES / SLICES * slice).unwrap();
    }
    assert!(matches!(request.go_on(&world), Progress::Done(Ok(None))));
    let mut found = [0; 512];
    for slice in 0..SLICES {
        file.read_at(&mut found, CHUNK_BYTES / SLICES * slice).unwrap();
        assert_eq!(found, mark);
    }
    assert!(log.wants_file().is_none());
}

/// What the files of the log take of the real disk.
fn space_taken(world: &World, directory: &Path) -> u64 {
    let dir = DIRECTORY.log_path(LOG);
    let entries = world.disk.list(&dir).unwrap();
    entries
        .iter()
        .map(|entry| directory.join(&dir).join(&entry.name).metadata().unwrap().blocks() * 512)
        .sum()
}

#[test]
fn a_log_takes_no_space_before_something_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let (world, _) = tight_world(directory.path());
    for epoch in 2..5 {
        let (log, _) = open(&world, epoch, 0);
        assert_eq!(prepare_all(&Arc::new(log)), 0);
        assert!(
            space_taken(&world, directory.path()) < 64 << 10,
            "{} bytes",
            space_taken(&world, directory.path())
        );
    }
    let (log, _) = open(&world, 5, 0);
    write(&log, 1, 1, 1);
    assert!(space_taken(&world, directory.path()) >= CHUNK_BYTES);
}

#[test]
fn a_first_write_on_a_full_disk_leaves_no_trace() {
    let directory = tempfile::tempdir().unwrap();
    let (world, disk) = tight_world(directory.path());
    disk.set_free(CHUNK_BYTES / 2);
    let (log, _) = open(&world, 2, 0);
    for _ in 0..2 {
        refused(&log);
        assert_eq!((disk.taken(), files(&world)), (0, 1), "what there was is there for others");
        assert!(space_taken(&world, directory.path()) < 64 << 10);
    }
    assert_eq!((log.last_sequence(), log.dirty_bytes(), log.pending_records()), (0, 0, 0));
    log.sync_to(0).unwrap();
    disk.set_full(false);
    write_mib(&log, 40);
    drop(log);
    let found = read_back(&world, 0, None).unwrap();
    assert_eq!((found.last_sequence, found.torn), (40, None));
}

/// The space of a file that an opening found is worth less than a write.
#[test]
fn on_a_full_disk_a_found_file_makes_room_for_the_first_write() {
    let directory = tempfile::tempdir().unwrap();
    let (world, disk) = tight_world(directory.path());
    write_mib(&open(&world, 2, 0).0, 1);
    disk.set_full(true);
    let (log, _) = open(&world, 3, 1);
    assert_eq!(files(&world), 2);
    write_mib(&log, 31);
    assert_eq!(files(&world), 1, "the found file is gone");
    refused(&log);
    disk.set_full(false);
    write_mib(&log, 1);
    assert_eq!(log.last_sequence(), 33);
}

#[test]
fn on_a_full_disk_the_file_that_is_being_prepared_makes_room_for_the_first_write() {
    let directory = tempfile::tempdir().unwrap();
    let (world, disk) = tight_world(directory.path());
    write_mib(&open(&world, 2, 0).0, 40);
    let log = Arc::new(open(&world, 3, 0).0);
    let mut request = warming(&log, &world);
    for _ in 0..3 {
        let Progress::More(rest) = request.go_on(&world) else { panic!("it is not ready") };
        request = rest;
    }
    disk.set_full(true);
    assert_eq!(files(&world), 4 + 2);
    write_mib(&log, 31);
    assert_eq!(files(&world), 3);
    assert!(matches!(request.go_on(&world), Progress::Done(Ok(None))), "the file is not its any more");
}

/// An opening finds a file that never got its space. It is used only with it, and removed where that cannot be had.
#[test]
fn a_found_file_without_space_is_used_only_with_it() {
    for prepared in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let (world, disk) = tight_world(directory.path());
        drop(open(&world, 2, 0));
        let log = Arc::new(open(&world, 3, 0).0);
        write_mib(&log, 31);
        assert_eq!((files(&world), disk.taken()), (2, CHUNK_BYTES - 4096));
        disk.set_free(CHUNK_BYTES / 2);
        if prepared {
            disk.set_free(CHUNK_BYTES * 3 / 2);
            let Progress::Done(Err(_)) = warming(&log, &world).go_on(&world) else { panic!("there is room") };
            log.appender.lock().file_prepared(None);
            assert_eq!((files(&world), disk.taken()), (2, 2 * (CHUNK_BYTES - 4096)), "a new one instead");
            write_mib(&log, 31);
        }
        refused(&log);
        assert_eq!(files(&world), 1 + usize::from(prepared));
        refused(&log);
        disk.set_full(false);
        write_mib(&log, 1);
        assert_eq!(log.last_sequence(), 32 + 31 * u64::from(prepared));
    }
    let directory = tempfile::tempdir().unwrap();
    let (world, disk) = tight_world(directory.path());
    drop(open(&world, 2, 0));
    let log = Arc::new(open(&world, 3, 0).0);
    write_mib(&log, 31);
    assert_eq!((prepare_all(&log), files(&world)), (2, 3));
    disk.set_full(true);
    write_mib(&log, 1);
    assert_eq!(log.last_sequence(), 32);
}
