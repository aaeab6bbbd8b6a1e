//! A volume in memory that can be told to be late, slow or broken.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, RwLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use esker_frontend::{Change, Device, Exports, Extent, ExtentState, Failure, Owned, Since, Step};
use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;

const BLOCK: u64 = 4096;

struct Contents {
    bytes: Vec<u8>,
    states: Vec<ExtentState>,
}

pub(crate) struct Memory {
    /// Stretches that have changed since the state `before`, as (bytes, changed).
    pub(crate) changed: Mutex<Vec<(u64, bool)>>,
    contents: RwLock<Contents>,
    pub(crate) read_only: bool,
    /// Quick reads and changes answer "later".
    pub(crate) late_reads: AtomicBool,
    pub(crate) late_changes: AtomicBool,
    /// A late call waits for a permit from here when `gated`.
    pub(crate) gated: AtomicBool,
    pub(crate) gate: Semaphore,
    /// A late call panics.
    pub(crate) panics: AtomicBool,
    /// Every call fails like this.
    pub(crate) failure: Mutex<Option<Failure>>,
    /// Reads of these blocks fail.
    pub(crate) bad_block: AtomicU64,
    /// A change takes so long.
    pub(crate) change_milliseconds: AtomicU64,
    /// The pause after each batch of changes.
    pub(crate) pause_milliseconds: AtomicU64,
    /// Bytes that pauses were asked for.
    pub(crate) paused_for: AtomicU64,
    /// How many changes each batch had.
    pub(crate) batches: Mutex<Vec<usize>>,
    pub(crate) flushes: AtomicUsize,
    pub(crate) cached: Mutex<Vec<(u64, u64)>>,
    pub(crate) late_calls: AtomicUsize,
}

impl Memory {
    pub(crate) fn new(size_bytes: u64, read_only: bool) -> Arc<Memory> {
        let blocks = size_bytes.div_ceil(BLOCK) as usize;
        Arc::new(Memory {
            changed: Mutex::default(),
            contents: RwLock::new(Contents {
                bytes: vec![0; size_bytes as usize],
                states: vec![ExtentState::Hole; blocks],
            }),
            read_only,
            late_reads: AtomicBool::new(false),
            late_changes: AtomicBool::new(false),
            gated: AtomicBool::new(false),
            gate: Semaphore::new(0),
            panics: AtomicBool::new(false),
            failure: Mutex::new(None),
            bad_block: AtomicU64::new(u64::MAX),
            change_milliseconds: AtomicU64::new(0),
            pause_milliseconds: AtomicU64::new(0),
            paused_for: AtomicU64::new(0),
            batches: Mutex::default(),
            flushes: AtomicUsize::new(0),
            cached: Mutex::default(),
            late_calls: AtomicUsize::new(0),
        })
    }

    /// Gives it another size.
    pub(crate) fn resize(&self, size_bytes: u64) {
        let mut contents = self.contents.write().unwrap();
        contents.bytes.resize(size_bytes as usize, 0);
        contents.states.resize(size_bytes.div_ceil(BLOCK) as usize, ExtentState::Hole);
    }

    pub(crate) fn bytes(&self, offset: usize, length: usize) -> Vec<u8> {
        self.contents.read().unwrap().bytes[offset..offset + length].to_vec()
    }

    pub(crate) fn fill(&self, offset: usize, data: &[u8]) {
        self.apply(&Change::Write { offset: offset as u64, data });
    }

    fn fails(&self) -> Option<Failure> {
        *self.failure.lock().unwrap()
    }

    fn apply(&self, change: &Change<'_>) {
        let mut contents = self.contents.write().unwrap();
        let (offset, length, state) = match *change {
            Change::Write { offset, data } => {
                contents.bytes[offset as usize..][..data.len()].copy_from_slice(data);
                (offset, data.len() as u64, ExtentState::Data)
            }
            Change::Trim { offset, length } => (offset, length, ExtentState::Hole),
            Change::Zero { offset, length, may_trim: true } => (offset, length, ExtentState::Hole),
            Change::Zero { offset, length, may_trim: false } => (offset, length, ExtentState::Zero),
        };
        assert!(length > 0, "an empty change reached the device");
        if state != ExtentState::Data {
            contents.bytes[offset as usize..][..length as usize].fill(0);
        }
        let end = (offset + length) as usize;
        for block in offset / BLOCK..(offset + length).div_ceil(BLOCK) {
            let start = (block * BLOCK) as usize;
            let whole =
                offset as usize <= start && (end >= start + BLOCK as usize || end == contents.bytes.len());
            if state == ExtentState::Data || whole {
                contents.states[block as usize] = state;
            }
        }
    }

    fn copy(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Failure> {
        assert!(!buffer.is_empty(), "an empty read reached the device");
        let bad = self.bad_block.load(SeqCst).saturating_mul(BLOCK);
        if bad < offset + buffer.len() as u64 && offset < bad.saturating_add(BLOCK) {
            return Err(Failure::Io);
        }
        let contents = self.contents.read().unwrap();
        buffer.copy_from_slice(&contents.bytes[offset as usize..][..buffer.len()]);
        Ok(())
    }

    async fn wait(&self) {
        self.late_calls.fetch_add(1, SeqCst);
        assert!(!self.panics.load(SeqCst), "told to panic");
        if self.gated.load(SeqCst) {
            self.gate.acquire().await.unwrap().forget();
        }
    }
}

/// What has changed since `before`, told from wherever it is asked for.
struct Before(Arc<Memory>);

impl Since for Before {
    fn changed(
        self: Arc<Self>,
        _: u64,
        _: u64,
        most: usize,
    ) -> BoxFuture<'static, Result<Vec<(u64, bool)>, Failure>> {
        Box::pin(async move {
            self.0.wait().await;
            let mut changed = self.0.changed.lock().unwrap().clone();
            changed.truncate(most);
            self.0.fails().map_or(Ok(changed), Err)
        })
    }
}

impl Device for Memory {
    fn states(self: Arc<Self>) -> BoxFuture<'static, Vec<String>> {
        Box::pin(async { vec!["before".to_owned()] })
    }

    fn since(self: Arc<Self>, state: String) -> BoxFuture<'static, Option<Arc<dyn Since>>> {
        Box::pin(async move { state.starts_with("before").then(|| Arc::new(Before(self)) as Arc<dyn Since>) })
    }

    fn name(&self) -> &str {
        "memory"
    }

    fn size_bytes(&self) -> u64 {
        self.contents.read().unwrap().bytes.len() as u64
    }

    fn read_only(&self) -> bool {
        self.read_only
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> Step {
        if let Some(failure) = self.fails() {
            return Step::Failed(failure);
        }
        if self.late_reads.load(SeqCst) {
            buffer.fill(0xee);
            return Step::Later;
        }
        self.copy(offset, buffer).map_or_else(Step::Failed, |()| Step::Done)
    }

    fn read_later(
        self: Arc<Self>,
        offset: u64,
        length: usize,
    ) -> BoxFuture<'static, Result<Vec<u8>, Failure>> {
        Box::pin(async move {
            self.wait().await;
            let mut data = vec![0; length];
            self.copy(offset, &mut data).map(|()| data)
        })
    }

    fn change(&self, batch: &[Change<'_>], steps: &mut Vec<Step>) {
        self.batches.lock().unwrap().push(batch.len());
        thread::sleep(Duration::from_millis(self.change_milliseconds.load(SeqCst)));
        for change in batch {
            steps.push(match self.fails() {
                Some(failure) => Step::Failed(failure),
                None if self.late_changes.load(SeqCst) => Step::Later,
                None => {
                    self.apply(change);
                    Step::Done
                }
            });
        }
    }

    fn pause_after(&self, bytes: u64) -> Duration {
        self.paused_for.fetch_add(bytes, SeqCst);
        Duration::from_millis(self.pause_milliseconds.load(SeqCst))
    }

    fn change_later(self: Arc<Self>, change: Owned) -> BoxFuture<'static, Result<(), Failure>> {
        Box::pin(async move {
            self.wait().await;
            self.apply(&change.borrow());
            Ok(())
        })
    }

    fn flush(&self) -> Step {
        self.flushes.fetch_add(1, SeqCst);
        self.fails().map_or(Step::Done, Step::Failed)
    }

    fn extents(&self, offset: u64, length: u64, out: &mut Vec<Extent>) -> Step {
        if let Some(failure) = self.fails() {
            return Step::Failed(failure);
        }
        if self.late_reads.load(SeqCst) {
            out.push(Extent { length: 1, state: ExtentState::Zero });
            return Step::Later;
        }
        let contents = self.contents.read().unwrap();
        let (mut at, end) = (offset, offset + length);
        while at < end {
            let next = ((at / BLOCK + 1) * BLOCK).min(end);
            out.push(Extent { length: next - at, state: contents.states[(at / BLOCK) as usize] });
            at = next;
        }
        Step::Done
    }

    fn extents_later(
        self: Arc<Self>,
        offset: u64,
        length: u64,
    ) -> BoxFuture<'static, Result<Vec<Extent>, Failure>> {
        Box::pin(async move {
            self.wait().await;
            self.late_reads.store(false, SeqCst);
            let mut extents = Vec::new();
            match self.extents(offset, length, &mut extents) {
                Step::Failed(failure) => Err(failure),
                _ => Ok(extents),
            }
        })
    }

    fn cache(self: Arc<Self>, offset: u64, length: u64) -> BoxFuture<'static, Result<(), Failure>> {
        Box::pin(async move {
            self.wait().await;
            self.cached.lock().unwrap().push((offset, length));
            Ok(())
        })
    }
}

pub(crate) struct Table(pub(crate) BTreeMap<String, Arc<Memory>>);

impl Exports for Table {
    fn find(&self, name: &str) -> Option<Arc<dyn Device>> {
        let name = if name.is_empty() { "disk" } else { name };
        self.0.get(name).map(|device| device.clone() as Arc<dyn Device>)
    }

    fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }
}
