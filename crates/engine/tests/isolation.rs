//! One broken volume never touches another, behind the decorators that all of them share.

use std::{
    future::pending,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use esker_engine::{
    EngineError,
    host::Host,
    pool::Pool,
    volume::{Change, Limits, ReadStep, Scratch, Status, Volume, WriteStep},
};
use esker_format::{
    ids::DirectoryId,
    names,
    property::{Durability, Properties},
};
use esker_io::{
    BoxFuture, InlineCpu, Listed, LocalDisk, Objects, Range, StoreError, StoreErrorKind, SystemClock,
    SystemRandom, World,
    objects::{self, MemoryObjects, Sheltered},
};

/// What happens to requests for the objects whose names contain some text.
#[derive(Clone, Copy)]
enum Fault {
    /// PUTs are never answered.
    Stuck,
    /// PUTs fail.
    Fails,
    /// PUTs panic.
    Panics,
    /// Bodies of GETs are damaged.
    Damaged,
    /// DELETEs are refused.
    Stays,
}

/// A store that breaks requests for some objects.
struct Broken {
    inner: Arc<MemoryObjects>,
    fault: Mutex<Option<(String, Fault)>>,
}

impl Broken {
    fn fault(&self, name: &str) -> Option<Fault> {
        let fault = self.fault.lock().unwrap();
        fault.as_ref().and_then(|(part, fault)| name.contains(part).then_some(*fault))
    }
}

impl Objects for Broken {
    fn put_new<'a>(&'a self, name: &'a str, body: Bytes) -> BoxFuture<'a, objects::Result<()>> {
        Box::pin(async move {
            match self.fault(name) {
                Some(Fault::Stuck) => pending().await,
                Some(Fault::Panics) => panic!("planted in a PUT of {name}"),
                Some(Fault::Fails) => Err(StoreError {
                    kind: StoreErrorKind::Transient,
                    operation: "put",
                    name: name.to_owned(),
                    message: "planted".to_owned(),
                }),
                Some(Fault::Damaged | Fault::Stays) | None => self.inner.put_new(name, body).await,
            }
        })
    }

    fn get<'a>(&'a self, name: &'a str, range: Range) -> BoxFuture<'a, objects::Result<Bytes>> {
        Box::pin(async move {
            let body = self.inner.get(name, range).await?;
            if !matches!(self.fault(name), Some(Fault::Damaged)) {
                return Ok(body);
            }
            Ok(body.iter().map(|byte| byte ^ 0x10).collect::<Vec<u8>>().into())
        })
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, objects::Result<Vec<Listed>>> {
        self.inner.list(prefix)
    }

    fn delete<'a>(&'a self, name: &'a str) -> BoxFuture<'a, objects::Result<()>> {
        Box::pin(async move {
            if !matches!(self.fault(name), Some(Fault::Stays)) {
                return self.inner.delete(name).await;
            }
            Err(StoreError {
                kind: StoreErrorKind::Permanent,
                operation: "delete",
                name: name.to_owned(),
                message: "planted".to_owned(),
            })
        })
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }
}

/// Two volumes in one daemon.
struct Bench {
    broken: Arc<Broken>,
    host: Host,
    bad: Arc<Volume>,
    good: Arc<Volume>,
    _directory: tempfile::TempDir,
}

async fn host(directory: &Path, store: Arc<dyn Objects>, limits: Limits) -> Host {
    let (clock, random) = (Arc::new(SystemClock::new()), Arc::new(SystemRandom));
    let world = World {
        disk: Arc::new(LocalDisk::open(directory).unwrap()),
        objects: Arc::new(Sheltered::new(store, clock.clone(), random.clone())),
        clock,
        random,
        cpu: Arc::new(InlineCpu),
    };
    let pool = Pool::create(world, Properties::default(), 8 << 20).await.unwrap();
    let spawn = Arc::new(|work| drop(tokio::spawn(work)));
    Host::new(Arc::new(pool), DirectoryId([7; 16]), limits, spawn)
}

async fn bench(store: &str, limits: Limits) -> Bench {
    let directory = tempfile::tempdir().unwrap();
    let inner = MemoryObjects::shared(store);
    let broken = Arc::new(Broken { inner, fault: Mutex::new(None) });
    let host = host(directory.path(), broken.clone(), limits).await;
    let properties =
        Properties { durability: Some(Durability::Bounded { seconds: 1 }), ..Properties::default() };
    let bad = host.create("bad", 64 << 20, properties).await.unwrap();
    let good = host.create("good", 64 << 20, properties).await.unwrap();
    Bench { broken, host, bad, good, _directory: directory }
}

impl Bench {
    fn break_objects(&self, part: &str, fault: Fault) {
        *self.broken.fault.lock().unwrap() = Some((part.to_owned(), fault));
    }

    /// The good volume takes writes, commits them, and reads them.
    async fn good_goes_on(&self, times: u8) {
        for time in 1..=times {
            write(&self.good, 0, &[time; 8192]);
            committed(&self.good).await;
            assert_eq!(read(&self.good, 0, 8192).await.unwrap(), [time; 8192]);
        }
    }
}

fn write(volume: &Volume, offset: u64, data: &[u8]) {
    let mut scratch = Scratch::default();
    volume.change(&[Change::Write { offset, data }], &mut scratch);
    assert!(matches!(scratch.steps[..], [WriteStep::Done]), "{:?}", scratch.steps);
}

async fn read(volume: &Arc<Volume>, offset: u64, length: usize) -> Result<Vec<u8>, EngineError> {
    let mut buffer = vec![0xEE; length];
    match volume.read(offset, &mut buffer) {
        ReadStep::Done => Ok(buffer),
        ReadStep::Later => volume.clone().read_later(offset, length).await,
        ReadStep::Failed(error) => Err(error),
    }
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..3_000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{what}: not within a minute");
}

async fn committed(volume: &Volume) {
    until("a commit", || volume.committed_sequence() == volume.last_sequence()).await;
}

#[tokio::test]
async fn a_commit_without_an_answer() {
    let bench = bench("isolation-stuck", Limits::default()).await;
    bench.break_objects(&bench.bad.id().to_string(), Fault::Stuck);
    write(&bench.bad, 0, &[9; 4096]);
    bench.good_goes_on(2).await;
    assert_ne!(bench.bad.committed_sequence(), bench.bad.last_sequence());
    assert_eq!(read(&bench.bad, 0, 4096).await.unwrap(), [9; 4096]);
    bench.good.drain().await.unwrap();
}

#[tokio::test]
async fn objects_that_fail_for_ever() {
    let bench = bench("isolation-fails", Limits::default()).await;
    bench.break_objects(&bench.bad.id().to_string(), Fault::Fails);
    write(&bench.bad, 0, &[9; 4096]);
    tokio::time::sleep(Duration::from_secs(4)).await;
    bench.good_goes_on(3).await;
    assert_ne!(bench.bad.committed_sequence(), bench.bad.last_sequence());
    // And what is mended drains.
    *bench.broken.fault.lock().unwrap() = None;
    committed(&bench.bad).await;
}

#[tokio::test]
async fn a_volume_at_its_bound() {
    let limits = Limits { dirty_bytes_max: 1 << 20, ..Limits::default() };
    let bench = bench("isolation-full", limits).await;
    bench.break_objects(&bench.bad.id().to_string(), Fault::Stuck);
    let mut scratch = Scratch::default();
    let data = [9; 256 << 10];
    for _ in 0..5 {
        bench.bad.change(&[Change::Write { offset: 0, data: &data }], &mut scratch);
    }
    assert!(matches!(scratch.steps[..], [WriteStep::Later]), "{:?}", scratch.steps);
    bench.good_goes_on(2).await;
}

#[tokio::test]
async fn a_damaged_object() {
    // No piece comes before the segment.
    let limits = Limits { seal_age: Duration::ZERO, ..Limits::default() };
    let bench = bench("isolation-damaged", limits).await;
    write(&bench.bad, 0, &[9; 4096]);
    committed(&bench.bad).await;
    let segments = bench.broken.list("segments/").await.unwrap();
    bench.break_objects(&segments[0].name, Fault::Damaged);
    let error = read(&bench.bad, 0, 4096).await.unwrap_err();
    assert!(matches!(error, EngineError::Damaged { .. }), "{error}");
    bench.good_goes_on(2).await;
    // Nor is the rest of the volume touched.
    write(&bench.bad, 1 << 20, &[8; 4096]);
    committed(&bench.bad).await;
    assert_eq!(read(&bench.bad, 1 << 20, 4096).await.unwrap(), [8; 4096]);
}

#[tokio::test]
async fn a_pipeline_that_panics() {
    let bench = bench("isolation-panics", Limits::default()).await;
    bench.break_objects(&bench.bad.id().to_string(), Fault::Panics);
    write(&bench.bad, 0, &[9; 4096]);
    until("the volume stops", || matches!(bench.bad.status().status, Status::Failed(_))).await;
    assert_eq!(read(&bench.bad, 0, 4096).await.unwrap(), [9; 4096]);
    bench.good_goes_on(2).await;
    *bench.broken.fault.lock().unwrap() = None;
    let (again, _) = bench.host.open("bad", None).await.unwrap();
    assert_eq!(read(&again, 0, 4096).await.unwrap(), [9; 4096]);
}

#[tokio::test]
async fn a_head_that_stays() {
    let limits = Limits { heads_kept: 2, seal_age: Duration::ZERO, ..Limits::default() };
    let bench = bench("isolation-stays", limits).await;
    let heads = async || bench.broken.list(&names::heads(bench.bad.id())).await.unwrap().len();
    bench.break_objects(&names::head(bench.bad.id(), 2), Fault::Stays);
    for round in 0..8 {
        write(&bench.bad, 0, &[round; 4096]);
        committed(&bench.bad).await;
    }
    // The newest two, two for history, the one that stays, and one that a commit has just added.
    for _ in 0..100 {
        if heads().await <= 6 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{} heads are left", heads().await);
}
