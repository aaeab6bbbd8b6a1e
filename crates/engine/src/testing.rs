//! A world for tests: an object store in memory that misbehaves as told, a clock that jumps, seeded randomness.

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use esker_format::{
    ids::SegmentId,
    segment::{Run, RunKind, SegmentIndex},
};
use esker_io::{
    BoxFuture, Clock, Disk, DiskError, File, InlineCpu, Listed, Objects, Random, Range, StoreError,
    StoreErrorKind, World,
    disk::Entry,
    objects::{self, MemoryObjects},
    sync::{Arc, Mutex},
};

/// How often a future is polled before a test counts as hung.
const POLLS_MAX: usize = 100_000;

/// Runs a future to its end. Panics when it hangs.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..POLLS_MAX {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
    panic!("the future hangs");
}

/// Lets other futures run once.
pub(crate) async fn pause() {
    let mut paused = false;
    poll_fn(|context| {
        context.waker().wake_by_ref();
        if std::mem::replace(&mut paused, true) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// Polls a future once, which must not be its last time.
pub(crate) async fn start<F: Future + Unpin>(mut future: F) -> F {
    poll_fn(|context| {
        assert!(Pin::new(&mut future).poll(context).is_pending(), "it is too early for an answer");
        Poll::Ready(())
    })
    .await;
    future
}

/// Segments of one writer.
pub(crate) fn segment(counter: u32) -> SegmentId {
    SegmentId::new(1, counter).expect("a valid id")
}

/// What the index of such a segment says of its runs.
pub(crate) fn index(counter: u32, runs: &[Run]) -> Arc<SegmentIndex> {
    Arc::new(SegmentIndex {
        id: segment(counter),
        first_sequence: 1,
        last_sequence: 1,
        frames: Vec::new(),
        runs: runs.to_vec(),
        slots: 0,
        rewrite: None,
    })
}

pub(crate) fn run(lba: u64, blocks: u64, kind: RunKind) -> Run {
    Run { lba, blocks, sequence: 1, kind }
}

/// What happens to one PUT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PutFault {
    /// Nothing is stored, time-out.
    Lost,
    /// Stored, time-out.
    AnswerLost,
    /// Time-out; stored just before the request after the next one.
    Late,
    /// "Exists", whatever is true.
    Conflict,
    /// Refused.
    Refused,
}

/// What a store does wrong at every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// Conditions are ignored.
    Overwrites,
    /// A condition is checked before the body is taken, so several racers win.
    RacersWin,
    /// The whole object comes for every range.
    NoRanges,
    /// A suffix longer than the object is refused.
    ShortSuffix,
    /// LIST is empty.
    NoList,
    /// DELETE does nothing.
    NoDelete,
}

/// A store in memory whose every request takes one pause.
#[derive(Default)]
pub(crate) struct Store {
    inner: MemoryObjects,
    /// All requests so far: "put NAME", "get NAME START..END", "list PREFIX", "delete NAME".
    pub(crate) requests: Mutex<Vec<String>>,
    /// For the next PUTs.
    pub(crate) puts: Mutex<VecDeque<PutFault>>,
    /// For the next GETs: these fail so.
    pub(crate) gets: Mutex<VecDeque<StoreErrorKind>>,
    /// For the next GETs: this many get a body with one byte changed.
    pub(crate) garbled: Mutex<usize>,
    flaw: Option<Flaw>,
    late: Mutex<Vec<(u32, String, Bytes)>>,
}

impl Store {
    pub(crate) fn with(flaw: Flaw) -> Self {
        Self { flaw: Some(flaw), ..Self::default() }
    }

    /// Requests of one verb so far.
    pub(crate) fn count(&self, verb: &str) -> usize {
        self.requests.lock().iter().filter(|request| request.starts_with(verb)).count()
    }

    /// Replaces an object, as no client can.
    pub(crate) fn replace(&self, name: &str, body: impl Into<Bytes>) {
        block_on(async {
            self.inner.delete(name).await.unwrap();
            self.inner.put_new(name, body.into()).await.unwrap();
        });
    }

    /// An object's bytes.
    pub(crate) fn bytes(&self, name: &str) -> Option<Bytes> {
        block_on(self.inner.get(name, Range::All)).ok()
    }

    /// All names.
    pub(crate) fn names(&self) -> Vec<String> {
        block_on(self.inner.list("")).unwrap().into_iter().map(|listed| listed.name).collect()
    }

    async fn request(&self, line: String) {
        self.requests.lock().push(line);
        let due: Vec<_> = {
            let mut late = self.late.lock();
            late.iter_mut().for_each(|(wait, ..)| *wait = wait.saturating_sub(1));
            late.extract_if(.., |(wait, ..)| *wait == 0).collect()
        };
        for (_, name, body) in due {
            let _ = self.inner.put_new(&name, body).await;
        }
        pause().await;
    }

    async fn store(&self, name: &str, body: Bytes) -> objects::Result<()> {
        match self.flaw {
            Some(Flaw::Overwrites) => self.inner.delete(name).await?,
            Some(Flaw::RacersWin) if self.inner.get(name, Range::All).await.is_err() => {
                pause().await;
                self.inner.delete(name).await?;
            }
            _ => {}
        }
        self.inner.put_new(name, body).await
    }
}

pub(crate) fn failure(kind: StoreErrorKind, operation: &'static str, name: &str) -> StoreError {
    StoreError { kind, operation, name: name.into(), message: "as the test wants it".into() }
}

impl Objects for Store {
    fn put_new<'a>(&'a self, name: &'a str, body: Bytes) -> BoxFuture<'a, objects::Result<()>> {
        Box::pin(async move {
            self.request(format!("put {name}")).await;
            let fail = |kind| Err(failure(kind, "put", name));
            let fault = self.puts.lock().pop_front();
            match fault {
                None => self.store(name, body).await,
                Some(PutFault::Lost) => fail(StoreErrorKind::Transient),
                Some(PutFault::Conflict) => fail(StoreErrorKind::Exists),
                Some(PutFault::Refused) => fail(StoreErrorKind::Permanent),
                Some(PutFault::AnswerLost) => {
                    let _ = self.store(name, body).await;
                    fail(StoreErrorKind::Transient)
                }
                Some(PutFault::Late) => {
                    self.late.lock().push((2, name.into(), body));
                    fail(StoreErrorKind::Transient)
                }
            }
        })
    }

    fn get<'a>(&'a self, name: &'a str, range: Range) -> BoxFuture<'a, objects::Result<Bytes>> {
        Box::pin(async move {
            let line = match range {
                Range::All => format!("get {name}"),
                Range::Bytes { start, end } => format!("get {name} {start}..{end}"),
                Range::Suffix(bytes) => format!("get {name} -{bytes}"),
            };
            self.request(line).await;
            let fault = self.gets.lock().pop_front();
            if let Some(kind) = fault {
                return Err(failure(kind, "get", name));
            }
            let range = match (self.flaw, range) {
                (Some(Flaw::NoRanges), _) => Range::All,
                (Some(Flaw::ShortSuffix), Range::Suffix(bytes)) => {
                    let size = self.inner.get(name, Range::All).await?.len() as u64;
                    let start = size
                        .checked_sub(bytes)
                        .ok_or_else(|| failure(StoreErrorKind::Protocol, "get", name))?;
                    Range::Bytes { start, end: size }
                }
                _ => range,
            };
            let body = self.inner.get(name, range).await?;
            let mut garbled = self.garbled.lock();
            if *garbled == 0 || body.is_empty() {
                return Ok(body);
            }
            *garbled -= 1;
            let mut body = body.to_vec();
            let middle = body.len() / 2;
            body[middle] ^= 1;
            Ok(body.into())
        })
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, objects::Result<Vec<Listed>>> {
        Box::pin(async move {
            self.request(format!("list {prefix}")).await;
            if self.flaw == Some(Flaw::NoList) {
                return Ok(Vec::new());
            }
            self.inner.list(prefix).await
        })
    }

    fn delete<'a>(&'a self, name: &'a str) -> BoxFuture<'a, objects::Result<()>> {
        Box::pin(async move {
            self.request(format!("delete {name}")).await;
            if self.flaw == Some(Flaw::NoDelete) { Ok(()) } else { self.inner.delete(name).await }
        })
    }

    fn describe(&self) -> String {
        "memory://test".into()
    }
}

/// A clock on which every sleep ends at once, and time has passed.
#[derive(Default)]
pub(crate) struct JumpClock {
    now: Arc<Mutex<Duration>>,
}

impl Clock for JumpClock {
    fn monotonic(&self) -> Duration {
        *self.now.lock()
    }

    fn wall_ms(&self) -> u64 {
        1_700_000_000_000 + self.monotonic().as_millis() as u64
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let now = self.now.clone();
        Box::pin(async move {
            pause().await;
            *now.lock() += duration;
        })
    }
}

/// SplitMix64.
pub(crate) struct Seeded(pub(crate) Mutex<u64>);

impl Random for Seeded {
    fn fill(&self, bytes: &mut [u8]) {
        let mut state = self.0.lock();
        for chunk in bytes.chunks_mut(8) {
            *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut word = *state;
            word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            chunk.copy_from_slice(&(word ^ (word >> 31)).to_le_bytes()[..chunk.len()]);
        }
    }
}

/// No disk.
struct NoDisk;

fn no_disk<T>(operation: &'static str, path: &str) -> Result<T, DiskError> {
    let message = "this test has no disk".into();
    Err(DiskError { operation, path: path.into(), not_found: false, no_space: false, message })
}

impl Disk for NoDisk {
    fn open(&self, path: &str) -> Result<Arc<dyn File>, DiskError> {
        no_disk("open", path)
    }
    fn create(&self, path: &str) -> Result<Arc<dyn File>, DiskError> {
        no_disk("create", path)
    }
    fn list(&self, dir: &str) -> Result<Vec<Entry>, DiskError> {
        no_disk("list", dir)
    }
    fn create_dir(&self, dir: &str) -> Result<(), DiskError> {
        no_disk("create", dir)
    }
    fn remove(&self, path: &str) -> Result<(), DiskError> {
        no_disk("remove", path)
    }
    fn remove_dir(&self, dir: &str) -> Result<(), DiskError> {
        no_disk("remove", dir)
    }
    fn rename(&self, from: &str, _to: &str) -> Result<(), DiskError> {
        no_disk("rename", from)
    }
    fn sync_dir(&self, dir: &str) -> Result<(), DiskError> {
        no_disk("sync", dir)
    }
}

/// A world around a store.
pub(crate) fn world(store: &Arc<Store>) -> World {
    World {
        disk: Arc::new(NoDisk),
        objects: store.clone(),
        clock: Arc::new(JumpClock::default()),
        random: Arc::new(Seeded(Mutex::new(1))),
        cpu: Arc::new(InlineCpu),
    }
}
