//! From the log to the store: cut → seal → upload → commit → apply → release, and checkpoints.
//!
//! One task a volume. Seals are encoded and uploaded side by side; commits are made in the order of the log,
//! one at a time. The order *segment durable → commit → apply → release* makes a crash after each step replay to
//! the same map: an orphan segment is the only residue. What is ready may be held for a while, so that a head names
//! several segments; `core::policy` says for how long.

mod begin;
mod piece;
mod point;
mod resize;
mod set;

use std::{
    collections::BTreeMap,
    future::poll_fn,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use esker_format::{head::HeadKind, segment::SegmentIndex};
use esker_io::{
    BoxFuture, World,
    sync::{
        atomic::{Ordering, fence},
        either,
    },
};
use futures_util::{FutureExt, Stream, stream::FuturesUnordered};

use self::{resize::Resizing, set::Setting};
use super::{
    Committed, StoredMap, Volume, Writer,
    point::Request,
    stages::{Done, Taken, deflate, seal_and_upload},
};
use crate::{
    EngineError, Result,
    commit::{Chain, NewRoot},
    core::{heads::HeadFacts, policy::Yield},
    reclaim,
};

/// What one round of the loop waits for.
enum Happened {
    Woken,
    Sealed(Result<(Done, Taken)>),
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
    /// The head says another size.
    resized: bool,
}

impl CommitEnd {
    /// Of a commit that takes no seal along.
    fn alone(chain: Chain, outcome: Result<()>) -> Box<Self> {
        Box::new(Self { chain, outcome, done: Vec::new(), root: None, resized: false })
    }
}

/// What a pipeline begins with.
pub(crate) struct Start {
    pub(crate) chain: Chain,
    pub(crate) heads: reclaim::Heads,
    /// The indexes of the tail's segments, in its order.
    pub(crate) tail: Vec<Arc<SegmentIndex>>,
    /// The segments of the pieces that the volume was opened with: the first to be committed.
    pub(crate) sealed: Vec<Done>,
}

/// The background work of one volume that is open for writing.
pub(crate) struct Pipeline {
    volume: Arc<Volume>,
    /// Here while no commit is on its way (rule H1: one head PUT at most).
    chain: Option<Chain>,
    /// The last sequence that the newest head's pages hold.
    root_sequence: u64,
    heads: Option<reclaim::Heads>,
    /// How many heads reclaim knows of.
    heads_known: usize,
    /// Heads that reclaim was not told of yet.
    written: Vec<HeadFacts>,
    tail: Vec<Arc<SegmentIndex>>,
    seals: FuturesUnordered<BoxFuture<'static, Result<(Done, Taken)>>>,
    /// The first sequence that no commit of a segment has taken.
    next_commit: u64,
    /// What is in the store, by its first sequence.
    ready: BTreeMap<u64, Done>,
    new_root: Option<NewRoot>,
    commit: Option<BoxFuture<'static, Box<CommitEnd>>>,
    checkpoint: Option<BoxFuture<'static, Result<NewRoot>>>,
    resizing: Option<Resizing>,
    setting: Option<Setting>,
    /// The newest head was made for properties: the next one is for others, if they want one.
    others_turn: bool,
    /// Points that the newest head has not reached.
    points: Vec<Request>,
    deflate: Option<BoxFuture<'static, ()>>,
    prepare: Option<BoxFuture<'static, Result<()>>>,
    reclaim: Option<BoxFuture<'static, Box<reclaim::Heads>>>,
    /// In how many milliseconds to look again, from the beginning of this round.
    timer: Option<(u64, BoxFuture<'static, ()>)>,
    stored: Yield,
    released: bool,
}

impl Pipeline {
    pub(crate) fn new(volume: Arc<Volume>, start: Start) -> Self {
        Self {
            volume,
            root_sequence: start.chain.newest().root_sequence,
            next_commit: start.chain.newest().covered() + 1,
            chain: Some(start.chain),
            heads_known: start.heads.count(),
            heads: Some(start.heads),
            written: Vec::new(),
            tail: start.tail,
            seals: FuturesUnordered::new(),
            ready: start.sealed.into_iter().map(|done| (done.facts.first_sequence, done)).collect(),
            new_root: None,
            commit: None,
            checkpoint: None,
            resizing: None,
            setting: None,
            others_turn: false,
            points: Vec::new(),
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
            // Before the first wait too: it may have been stopped before this began to listen.
            self.check_stopped()?;
            self.begin_work(writer)?;
            if self.released {
                return Ok(());
            }
            let happened = self.next(writer, seen).await;
            writer.wake_never();
            self.handle(writer, happened)?;
        }
    }

    /// After a fail-stop nothing more is taken out of this log (I11). A volume that drains goes on.
    fn check_stopped(&self) -> Result<()> {
        match &*self.volume.status.lock() {
            super::Status::Failed(error) => Err(error.clone()),
            _ => Ok(()),
        }
    }

    /// Begins everything that can begin now.
    fn begin_work(&mut self, writer: &Writer) -> Result<()> {
        let draining = writer.draining.load(Ordering::Acquire);
        self.answer_points(writer);
        if !self.others_turn {
            self.begin_set(writer);
        }
        self.begin_resize(writer);
        let full = self.volume.pool.maps().memory().is_full();
        let view = self.begin_seals(writer, draining || self.hurries() || full);
        if self.checkpoint.is_none() && self.new_root.is_none() {
            self.begin_checkpoint(writer);
        }
        if self.prepare.is_none() && !draining {
            // Written before the log is looked at, as for the seals.
            writer.wake_at.fetch_min(writer.log.file_wanted_at(), Ordering::AcqRel);
            fence(Ordering::SeqCst);
            self.prepare = writer.log.prepare_file();
        }
        self.begin_reclaim();
        self.begin_commit(writer, &view, draining);
        self.begin_piece(writer, &view);
        self.begin_set(writer);
        self.watch_lag(writer, &view);
        Ok(())
    }

    fn handle(&mut self, writer: &Writer, happened: Happened) -> Result<()> {
        match happened {
            Happened::Woken => {}
            Happened::Sealed(done) => {
                let (done, left) = done?;
                self.ready.insert(done.facts.first_sequence, done);
                if !left.cuts.is_empty() {
                    self.seals.push(Box::pin(seal_and_upload(self.volume.clone(), left)));
                }
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
        let CommitEnd { chain, outcome, done, root, resized } = end;
        outcome?;
        let head = chain.newest();
        *writer.committed.lock() = Committed::of(head);
        writer.log.committed(head.sequence);
        self.released = head.kind == HeadKind::Released;
        self.root_sequence = head.root_sequence;
        let released = done.iter().map(|done| done.facts.log_bytes).sum();
        for done in done {
            self.stored.learn(done.blocks, done.uploaded.0.object_bytes);
            writer.log.release(done.end);
            self.tail.push(done.index);
        }
        *self.volume.stored.lock() = StoredMap::of(head);
        if let Some(root) = root {
            let folded = self.tail.extract_if(.., |index| index.last_sequence <= root.sequence).collect();
            self.deflate = Some(Box::pin(deflate(self.volume.clone(), folded)));
            // What it holds may leave the map now.
            self.volume.pool.maps().look_again();
        }
        self.set();
        writer.came_back(released, self.world().clock.monotonic());
        writer.room.notify();
        self.written.push(HeadFacts::of(head));
        self.chain = Some(chain);
        if resized {
            self.resized();
        }
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
            let timer = self.timer.as_mut().map(|(_, timer)| timer.as_mut().poll(context));
            if timer.is_some_and(|timer| timer.is_ready()) || woken.as_mut().poll(context).is_ready() {
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
