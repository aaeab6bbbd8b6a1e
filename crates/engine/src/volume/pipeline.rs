//! From the log to the store: cut → seal → upload → commit → apply → release, and checkpoints.
//!
//! One task a volume. Seals are encoded and uploaded side by side; commits are made in the order of the log,
//! one at a time. The order *segment durable → commit → apply → release* makes a crash after each step replay to
//! the same map: an orphan segment is the only residue.

use std::{
    collections::BTreeMap,
    future::poll_fn,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use esker_format::{
    head::{HeadKind, TAIL_SEGMENTS_MAX},
    segment::SegmentIndex,
};
use esker_io::{
    BoxFuture, World,
    sync::{
        atomic::{Ordering, fence},
        either,
    },
};
use futures_util::{FutureExt, Stream, stream::FuturesUnordered};

use super::{
    Committed, Volume, Writer,
    stages::{Done, STORE_RETRY, apply, deflate, seal_and_upload, write_pages},
};
use crate::{
    EngineError, Result,
    commit::{Chain, Change, HEADS_COMMIT_MAX, NewRoot},
    core::{
        heads::HeadFacts,
        policy::{self, CHECKPOINT_AT, Choice, View, Yield},
    },
    reclaim,
};

/// What one round of the loop waits for.
enum Happened {
    Woken,
    Sealed(Result<Done>),
    Committed(Box<CommitEnd>),
    Checkpointed(Result<NewRoot>),
    Prepared(Result<()>),
    Reclaimed(Box<reclaim::Heads>),
}

struct CommitEnd {
    chain: Chain,
    outcome: Result<()>,
    done: Vec<Done>,
    root: Option<NewRoot>,
}

/// What a pipeline begins with.
pub(crate) struct Start {
    pub(crate) chain: Chain,
    pub(crate) heads: reclaim::Heads,
    /// The indexes of the tail's segments, in its order.
    pub(crate) tail: Vec<Arc<SegmentIndex>>,
}

/// The background work of one volume that is open for writing.
pub(crate) struct Pipeline {
    volume: Arc<Volume>,
    /// Here while no commit is on its way (rule H1: one head PUT at most).
    chain: Option<Chain>,
    heads: Option<reclaim::Heads>,
    /// How many heads reclaim knows of.
    heads_known: usize,
    /// Heads that reclaim was not told of yet.
    written: Vec<HeadFacts>,
    tail: Vec<Arc<SegmentIndex>>,
    seals: FuturesUnordered<BoxFuture<'static, Result<Done>>>,
    next_order: u64,
    next_commit: u64,
    ready: BTreeMap<u64, Done>,
    new_root: Option<NewRoot>,
    commit: Option<BoxFuture<'static, Box<CommitEnd>>>,
    checkpoint: Option<BoxFuture<'static, Result<NewRoot>>>,
    deflate: Option<BoxFuture<'static, ()>>,
    prepare: Option<BoxFuture<'static, Result<()>>>,
    reclaim: Option<BoxFuture<'static, Box<reclaim::Heads>>>,
    timer: Option<BoxFuture<'static, ()>>,
    stored: Yield,
    released: bool,
}

impl Pipeline {
    pub(crate) fn new(volume: Arc<Volume>, start: Start) -> Self {
        Self {
            volume,
            chain: Some(start.chain),
            heads_known: start.heads.count(),
            heads: Some(start.heads),
            written: Vec::new(),
            tail: start.tail,
            seals: FuturesUnordered::new(),
            next_order: 0,
            next_commit: 0,
            ready: BTreeMap::new(),
            new_root: None,
            commit: None,
            checkpoint: None,
            deflate: None,
            prepare: None,
            reclaim: None,
            timer: None,
            stored: Yield::default(),
            released: false,
        }
    }

    /// Runs until the volume is released (true) or has stopped.
    pub(crate) async fn run(mut self) -> bool {
        let volume = self.volume.clone();
        let writer = volume.writer.as_ref().expect("only writers have a pipeline");
        // A bug must not leave a volume that looks alive and commits nothing.
        let outcome = AssertUnwindSafe(self.work(writer)).catch_unwind().await.unwrap_or_else(|_| {
            let reason = "its background work panicked; the log says where".to_owned();
            Err(EngineError::Stopped { volume: volume.name.clone(), reason })
        });
        if let Err(error) = &outcome {
            volume.stop(error);
        }
        writer.log.close();
        let released = outcome.is_ok();
        volume.closed(writer, outcome);
        released
    }

    async fn work(&mut self, writer: &Writer) -> Result<()> {
        loop {
            let seen = (writer.wake.generation(), writer.budget.pressure.generation());
            self.begin_work(writer)?;
            if self.released {
                return Ok(());
            }
            let happened = self.next(writer, seen).await;
            writer.wake_at.store(u64::MAX, Ordering::Release);
            self.handle(writer, happened)?;
            self.check_stopped(writer)?;
        }
    }

    /// After a fail-stop nothing more is taken out of this log (invariant I11).
    fn check_stopped(&self, writer: &Writer) -> Result<()> {
        if !writer.draining.load(Ordering::Acquire) {
            self.volume.check_running()?;
        }
        if let super::Status::Failed(error) = &*self.volume.status.lock() {
            return Err(error.clone());
        }
        Ok(())
    }

    /// Begins everything that can begin now.
    fn begin_work(&mut self, writer: &Writer) -> Result<()> {
        let draining = writer.draining.load(Ordering::Acquire);
        self.begin_seals(writer, draining);
        if self.checkpoint.is_none() && self.new_root.is_none() {
            self.begin_checkpoint();
        }
        if self.prepare.is_none() && !draining {
            self.prepare = writer.log.wants_file().map(|request| {
                let (log, world) = (writer.log.clone(), self.world().clone());
                let job = move || log.file_created(request.create(&world));
                esker_io::run_first(&*self.world().cpu, job)
            });
        }
        self.begin_reclaim();
        self.begin_commit(writer, draining);
        Ok(())
    }

    fn begin_seals(&mut self, writer: &Writer, draining: bool) {
        self.timer = None;
        loop {
            // Written before the log is looked at: a write after the look sees it, and wakes us.
            writer.wake_at.store(writer.log.end_position() + 1, Ordering::Release);
            fence(Ordering::SeqCst);
            let view = self.view(writer, draining);
            let durability = self.volume.effective.durability;
            let choice = policy::next_seal(&view, durability, &self.stored);
            if let Choice::Seal { blocks_max } = choice {
                let cut = writer.log.cut(blocks_max).expect("a backlog was seen, and only this task cuts");
                self.seals.push(Box::pin(seal_and_upload(self.volume.clone(), self.next_order, cut)));
                self.next_order += 1;
                continue;
            }
            if view.oldest_age_ms.is_some() {
                // What is there waits for time, for room or for a seal: a further write alone changes little.
                let more = policy::bytes_before_next_look(&view, durability, &self.stored);
                writer.wake_at.store(writer.log.end_position().saturating_add(more), Ordering::Release);
            }
            if let Choice::Wait { ms } = choice {
                self.timer = Some(self.world().clock.sleep(Duration::from_millis(ms.max(1))));
            }
            return;
        }
    }

    fn view(&self, writer: &Writer, draining: bool) -> View {
        let backlog = writer.log.backlog();
        let now_ms = self.world().clock.monotonic().as_millis() as u64;
        View {
            backlog_blocks: backlog.blocks,
            oldest_age_ms: backlog.oldest_ms.map(|at| now_ms.saturating_sub(at)),
            dirty_bytes: writer.log.dirty_bytes(),
            dirty_bound: writer.limits.dirty_bytes_max,
            pressed: writer.budget.is_pressed(),
            in_flight: self.seals.len() + self.ready.len(),
            draining,
        }
    }

    fn begin_checkpoint(&mut self) {
        let Some(chain) = &self.chain else { return };
        if chain.newest().tail.len() >= CHECKPOINT_AT {
            let changes: Vec<_> = self.tail.iter().map(|index| (index.id, index.clone())).collect();
            let head = chain.newest();
            assert_eq!(head.tail.len(), changes.len(), "the indexes at hand are those of the tail");
            let (old, sequence) = (head.root, head.sequence);
            self.checkpoint = Some(Box::pin(write_pages(self.volume.clone(), old, changes, sequence)));
        }
    }

    /// Thins the heads after each commit, and as long as there are too many.
    fn begin_reclaim(&mut self) {
        if self.written.is_empty() && !self.too_many_heads() {
            return;
        }
        let Some(mut heads) = self.heads.take() else { return };
        self.written.drain(..).for_each(|head| heads.written(head));
        self.heads_known = heads.count();
        let volume = self.volume.clone();
        self.reclaim = Some(Box::pin(async move {
            let outcome = heads.pass(&volume.pool, volume.id).await;
            if let Err(error) = &outcome {
                tracing::warn!(volume = %volume.name, %error, "old heads could not be removed");
            }
            // Too many and nothing could go: ask again, but not at once.
            if heads.count() >= HEADS_COMMIT_MAX && !matches!(outcome, Ok(1..)) {
                volume.pool.world().clock.sleep(STORE_RETRY).await;
            }
            Box::new(heads)
        }));
    }

    /// Rule H8: at the bound the next commit waits until old heads are gone.
    fn too_many_heads(&self) -> bool {
        self.heads_known + self.written.len() >= HEADS_COMMIT_MAX
    }

    /// Commits what is ready, in order; releases the volume when it drains and nothing is left.
    fn begin_commit(&mut self, writer: &Writer, draining: bool) {
        if self.too_many_heads() {
            return;
        }
        let Some(chain) = &self.chain else { return };
        let root = self.new_root.take();
        let folded = root.as_ref().map_or(0, |root| root.sequence);
        let tail = chain.newest().tail.iter().filter(|segment| segment.last_sequence > folded).count();
        let mut done = Vec::new();
        while tail + done.len() < TAIL_SEGMENTS_MAX {
            let Some(next) = self.ready.remove(&self.next_commit) else {
                break;
            };
            self.next_commit += 1;
            done.push(next);
        }
        let nothing_left = self.seals.is_empty() && self.ready.is_empty() && self.checkpoint.is_none();
        // From here on a late write is refused: it would come behind the release and be in no store.
        let nothing_left = nothing_left && done.is_empty() && root.is_none();
        let release = draining && nothing_left && writer.log.close_if_released();
        if done.is_empty() && root.is_none() && !release {
            return;
        }
        let mut chain = self.chain.take().expect("it was seen above");
        let change = Change {
            kind: if release { HeadKind::Released } else { HeadKind::Data },
            segments: done.iter().map(|done: &Done| done.uploaded.clone()).collect(),
            root: root.clone(),
        };
        let volume = self.volume.clone();
        self.commit = Some(Box::pin(async move {
            let world = volume.pool.world();
            let outcome = chain.commit(world, change, || volume.gives_up()).await;
            if outcome.is_ok() {
                apply(&volume, &mut done).await;
            }
            Box::new(CommitEnd { chain, outcome, done, root })
        }));
    }

    fn handle(&mut self, writer: &Writer, happened: Happened) -> Result<()> {
        match happened {
            Happened::Woken => {}
            Happened::Sealed(done) => {
                let done = done?;
                self.ready.insert(done.order, done);
            }
            Happened::Checkpointed(root) => self.new_root = Some(root?),
            Happened::Prepared(outcome) => {
                if let Err(error) = outcome {
                    tracing::warn!(volume = %self.volume.name, %error, "no log file could be prepared");
                }
            }
            Happened::Committed(end) => self.committed(writer, *end)?,
            Happened::Reclaimed(heads) => {
                self.heads_known = heads.count();
                self.heads = Some(*heads);
            }
        }
        Ok(())
    }

    fn committed(&mut self, writer: &Writer, end: CommitEnd) -> Result<()> {
        let CommitEnd { chain, outcome, done, root } = end;
        outcome?;
        let head = chain.newest();
        *writer.committed.lock() = Committed {
            number: head.number,
            epoch: head.epoch,
            sequence: head.sequence,
            tail_segments: head.tail.len(),
        };
        self.released = head.kind == HeadKind::Released;
        for done in done {
            self.stored.learn(done.blocks, done.uploaded.0.object_bytes);
            writer.log.release(done.end);
            self.tail.push(done.index);
        }
        if let Some(root) = root {
            let folded = self.tail.extract_if(.., |index| index.last_sequence <= root.sequence).collect();
            self.deflate = Some(Box::pin(deflate(self.volume.clone(), folded)));
        }
        writer.room.notify();
        self.written.push(HeadFacts::of(head));
        self.chain = Some(chain);
        Ok(())
    }

    /// Waits for the first thing that happens; the order of looking is fixed.
    async fn next(&mut self, writer: &Writer, seen: (u64, u64)) -> Happened {
        let mut woken =
            Box::pin(either(writer.wake.wait_past(seen.0), writer.budget.pressure.wait_past(seen.1)));
        poll_fn(|context| {
            if let Some(end) = poll_slot(&mut self.commit, context) {
                return Poll::Ready(Happened::Committed(end));
            }
            if let Some(root) = poll_slot(&mut self.checkpoint, context) {
                return Poll::Ready(Happened::Checkpointed(root));
            }
            // Nobody waits for it: the next checkpoint is far away.
            poll_slot(&mut self.deflate, context);
            if let Some(outcome) = poll_slot(&mut self.prepare, context) {
                return Poll::Ready(Happened::Prepared(outcome));
            }
            if let Some(heads) = poll_slot(&mut self.reclaim, context) {
                return Poll::Ready(Happened::Reclaimed(heads));
            }
            if let Poll::Ready(Some(done)) = Pin::new(&mut self.seals).poll_next(context) {
                return Poll::Ready(Happened::Sealed(done));
            }
            let timer = poll_slot(&mut self.timer, context).is_some();
            if timer || woken.as_mut().poll(context).is_ready() {
                return Poll::Ready(Happened::Woken);
            }
            Poll::Pending
        })
        .await
    }

    fn world(&self) -> &World {
        self.volume.pool.world()
    }
}

/// Polls what is in the slot; takes it out when it has ended.
fn poll_slot<T>(slot: &mut Option<BoxFuture<'static, T>>, context: &mut Context<'_>) -> Option<T> {
    match slot.as_mut()?.as_mut().poll(context) {
        Poll::Ready(value) => {
            *slot = None;
            Some(value)
        }
        Poll::Pending => None,
    }
}
