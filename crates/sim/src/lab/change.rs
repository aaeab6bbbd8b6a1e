//! Changing the volume, and telling the model which records came of it.

use std::{
    future::{Future, poll_fn},
    sync::Arc,
    task::Poll,
};

use bytes::Bytes;
use esker_engine::{
    EngineError,
    volume::{OwnedChange, Scratch, Status, Volume, WriteStep},
};
use esker_format::BLOCK_BYTES;

use super::{Lab, Outcome, Stop, book::Book, violation};
use crate::{Operation, Stamp, model::Effect};

const BLOCK: u64 = BLOCK_BYTES as u64;

impl Lab {
    /// A write of whole blocks with fresh contents.
    pub fn fresh(&mut self, lba: u64, blocks: u64) -> Operation {
        let data = self.contents(lba * BLOCK, blocks * BLOCK);
        Operation::Write { offset: lba * BLOCK, data }
    }

    /// A write of any bytes with fresh contents.
    pub fn fresh_bytes(&mut self, offset: u64, length: u64) -> Operation {
        let data = self.contents(offset, length);
        Operation::Write { offset, data }
    }

    fn contents(&mut self, offset: u64, length: u64) -> Bytes {
        self.writes += 1;
        let epoch = self.owner.map_or(0, |owner| self.sites[owner].report.epoch);
        let (first, last) = (offset / BLOCK, (offset + length).div_ceil(BLOCK));
        let mut bytes = Vec::with_capacity(((last - first) * BLOCK) as usize);
        for lba in first..last {
            bytes.extend_from_slice(&Stamp { volume: 1, lba, write: self.writes, epoch }.block());
        }
        let skip = (offset - first * BLOCK) as usize;
        Bytes::from(bytes).slice(skip..skip + length as usize)
    }

    /// Writes blocks; it has to be acknowledged.
    pub fn write(&mut self, lba: u64, blocks: u64) -> Outcome {
        let write = self.fresh(lba, blocks);
        self.change(&[write])
    }

    /// Writes any bytes.
    pub fn write_bytes(&mut self, offset: u64, length: u64) -> Outcome {
        let write = self.fresh_bytes(offset, length);
        self.change(&[write])
    }

    /// Trims blocks.
    pub fn trim(&mut self, lba: u64, blocks: u64) -> Outcome {
        self.change(&[Operation::Trim { offset: lba * BLOCK, length: blocks * BLOCK }])
    }

    /// Zeroes blocks.
    pub fn zero(&mut self, lba: u64, blocks: u64) -> Outcome {
        self.change(&[Operation::Zero { offset: lba * BLOCK, length: blocks * BLOCK, may_trim: false }])
    }

    /// Changes, all of which have to succeed; one that must wait is waited for.
    pub fn change(&mut self, operations: &[Operation]) -> Outcome {
        for outcome in self.try_change(operations)? {
            outcome.map_err(|error| violation(format!("a change fails: {error}")))?;
        }
        self.finish_later()
    }

    /// Changes that may fail. Those that must wait are left waiting: see [`Lab::finish_later`].
    pub fn try_change(&mut self, operations: &[Operation]) -> Outcome<Vec<Result<(), EngineError>>> {
        let owner = self.owner();
        let mut outcomes = Vec::new();
        let mut rest = operations;
        while !rest.is_empty() {
            // What is not whole blocks is done one by one, so that each record is known to its change.
            let whole = rest.iter().take_while(|operation| operation.is_whole()).count();
            let (now, behind) = rest.split_at(whole.max(1));
            rest = behind;
            let steps = self.change_now(owner, now)?;
            for (operation, step) in now.iter().zip(steps) {
                outcomes.push(match step {
                    WriteStep::Done => Ok(()),
                    WriteStep::Failed(error) => Err(error),
                    WriteStep::Later => {
                        self.change_later(owner, operation.clone());
                        Ok(())
                    }
                });
            }
        }
        Ok(outcomes)
    }

    fn change_now(&mut self, owner: usize, operations: &[Operation]) -> Outcome<Vec<WriteStep>> {
        let volume = self.volume(owner);
        let opening = self.book.opening();
        let live = is_live(&volume);
        let effects: Vec<_> = operations.iter().map(Operation::effects).collect();
        let changes: Vec<_> = operations.iter().map(Operation::borrow).collect();
        if live {
            self.book.begin(opening, &effects.concat());
        }
        let mut end = volume.last_sequence().0;
        let mut scratch = Scratch::default();
        volume.change(&changes, &mut scratch);
        if live {
            self.book.grown(opening, volume.last_sequence().0, !is_live(&volume));
        }
        for (step, effects) in scratch.steps.iter().zip(&effects) {
            end += effects.len() as u64;
            match step {
                WriteStep::Done if live => self.book.acknowledged(opening, end),
                WriteStep::Done => return Err(violation("a volume that had stopped acknowledges a write")),
                WriteStep::Later | WriteStep::Failed(_) => {}
            }
        }
        self.observe()?;
        self.alive(owner)?;
        Ok(scratch.steps)
    }

    /// Starts a change that may wait, beside everything else.
    pub fn change_later(&mut self, site: usize, operation: Operation) {
        let work = tracked(self.book.clone(), self.book.opening(), self.volume(site), operation);
        let task = self.sites[site].host.spawn("change later", work);
        self.later.push(task);
    }

    /// Does one change and waits for its answer, beside those that wait already.
    pub fn change_apart(&mut self, site: usize, operation: Operation) -> Outcome<Result<(), EngineError>> {
        let others = std::mem::take(&mut self.later);
        self.change_later(site, operation);
        let task = self.later.pop().expect("a change was begun");
        self.later = others;
        self.wait(task)
    }

    /// Waits for all changes that wait; they have to succeed.
    pub fn finish_later(&mut self) -> Outcome {
        for task in std::mem::take(&mut self.later) {
            self.wait(task)?.map_err(|error| violation(format!("a change that waited fails: {error}")))?;
        }
        Ok(())
    }

    /// Takes the answers of changes that waited and have ended. They fail only with their volume, or for want
    /// of the store or of room.
    pub fn reap_later(&mut self) -> Outcome {
        let (done, waiting) = std::mem::take(&mut self.later).into_iter().partition(crate::Task::is_done);
        self.later = waiting;
        let stopped = self.owner.is_none_or(|owner| self.has_stopped(owner));
        for task in done {
            match task.take() {
                Some(Ok(Err(error)))
                    if !stopped && !matches!(error, EngineError::Store(_) | EngineError::Disk(_)) =>
                {
                    return Err(violation(format!("a change that waited fails: {error}")));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// How many changes wait.
    pub fn waiting(&self) -> usize {
        self.later.iter().filter(|task| !task.is_done()).count()
    }

    /// Forgets the changes that wait; they go on.
    pub fn forget_later(&mut self) {
        self.later.clear();
    }

    /// A FLUSH; it has to succeed.
    pub fn flush(&mut self) -> Outcome {
        self.try_flush()?.map_err(|error| violation(format!("a flush fails: {error}")))
    }

    /// A FLUSH that may fail. A volume that has stopped never answers with success (I11).
    pub fn try_flush(&mut self) -> Outcome<Result<(), EngineError>> {
        let owner = self.owner();
        let volume = self.volume(owner);
        let (live, last) = (is_live(&volume), volume.last_sequence().0);
        let mut outcome = volume.flush();
        self.alive(owner)?;
        if outcome.is_ok() {
            if !live {
                return Err(violation("a volume that had stopped acknowledges a flush"));
            }
            self.book.flushed(last);
            if !volume.is_stored() {
                let task = self.host(owner).spawn("flush", volume.stored_later());
                outcome = self.wait(task)?;
            }
            if outcome.is_ok() && self.settings.is_sync() {
                // Such a flush survives the loss of the host, too.
                self.book.settled(last);
            }
        }
        self.observe()?;
        Ok(outcome)
    }

    /// A write at a site that may not be the owner any more; whatever it answers, nobody may ever read it.
    pub fn stray_write(&mut self, site: usize, lba: u64) -> Outcome<Result<(), EngineError>> {
        let write = self.fresh(lba, 1);
        let volume = self.volume(site);
        let mut scratch = Scratch::default();
        volume.change(&[write.borrow()], &mut scratch);
        self.alive(site)?;
        match scratch.steps.pop() {
            Some(WriteStep::Failed(error)) => Ok(Err(error)),
            Some(_) => Ok(Ok(())),
            None => Err(Stop::Violation("a change without an answer".into())),
        }
    }
}

fn is_live(volume: &Volume) -> bool {
    matches!(volume.status().status, Status::Running)
}

fn owned(operation: &Operation) -> OwnedChange {
    match operation.clone() {
        Operation::Write { offset, data } => OwnedChange::Write { offset, data },
        Operation::Trim { offset, length } => OwnedChange::Trim { offset, length },
        Operation::Zero { offset, length, may_trim } => OwnedChange::Zero { offset, length, may_trim },
    }
}

/// Work that may append records which change nothing: what a volume holds is what it was.
pub(super) async fn unchanging<T>(
    book: Arc<Book>,
    opening: u64,
    volume: Arc<Volume>,
    work: impl Future<Output = T>,
) -> T {
    const RECORDS_MAX: usize = 64;
    let nothing = vec![Effect::Patch { offset: 0, data: Bytes::new() }; RECORDS_MAX];
    let mut work = Box::pin(work);
    poll_fn(move |context| {
        let live = is_live(&volume);
        if live {
            book.begin(opening, &nothing);
        }
        let polled = work.as_mut().poll(context);
        if live {
            book.grown(opening, volume.last_sequence().0, !is_live(&volume));
        }
        polled
    })
    .await
}

/// A change that may wait. All tasks share one thread, so what the log grows by while this one is polled is its.
async fn tracked(
    book: Arc<Book>,
    opening: u64,
    volume: Arc<Volume>,
    operation: Operation,
) -> Result<(), EngineError> {
    let effects = operation.effects();
    let mut done = 0;
    let mut change = Box::pin(volume.clone().change_later(owned(&operation)));
    poll_fn(move |context| {
        let live = is_live(&volume);
        let before = volume.last_sequence().0;
        if live {
            book.begin(opening, &effects[done..]);
        }
        let polled = change.as_mut().poll(context);
        let after = volume.last_sequence().0;
        if live {
            book.grown(opening, after, !is_live(&volume));
        }
        done += (after - before) as usize;
        if let Poll::Ready(Ok(())) = polled {
            if !live {
                book.error("a volume that had stopped acknowledges a write".into());
            }
            book.acknowledged(opening, after);
        }
        polled
    })
    .await
}
