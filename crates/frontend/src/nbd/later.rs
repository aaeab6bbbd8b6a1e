//! Requests that have to wait for something run as tasks; their results come back here.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use tokio::runtime::Handle;

use super::{
    bell::Bell,
    limits::{LATER_BYTES_MAX, LATER_REQUESTS_MAX},
    status::{Question, Status, Told},
    traffic::Timed,
};
use crate::{Device, Failure, Owned, Step};

/// What a task came to.
pub(crate) enum Finished {
    /// A request that has no data in its reply.
    Status { cookie: u64, result: Result<(), Failure> },
    /// What is known of a range.
    Extents { cookie: u64, result: Result<Told, Failure> },
    /// A read, or the rest of one.
    Read { cookie: u64, offset: u64, result: Result<Vec<u8>, Failure> },
}

/// What a task did and when its request came, where that is timed.
pub(crate) type Asked = Option<(Timed, Instant)>;

struct Outcome {
    /// Bytes that the task held.
    bytes: usize,
    asked: Asked,
    finished: Finished,
}

/// A connection's tasks.
pub(crate) struct Later {
    runtime: Handle,
    done: Arc<Done>,
    /// Tasks whose result was not collected yet, and the bytes they hold.
    requests: usize,
    bytes: usize,
}

struct Done {
    results: Mutex<Vec<Outcome>>,
    bell: Bell,
}

impl Done {
    fn results(&self) -> MutexGuard<'_, Vec<Outcome>> {
        // A push cannot leave the list half changed.
        self.results.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Later {
    pub(crate) fn new(runtime: Handle) -> io::Result<Later> {
        let done = Done { results: Mutex::default(), bell: Bell::new()? };
        Ok(Later { runtime, done: Arc::new(done), requests: 0, bytes: 0 })
    }

    /// Whether nothing is out.
    pub(crate) fn is_empty(&self) -> bool {
        self.requests == 0
    }

    /// Whether a request that holds so many bytes may start now.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        self.requests < LATER_REQUESTS_MAX && (self.requests == 0 || self.bytes + bytes <= LATER_BYTES_MAX)
    }

    /// Rings while there are results.
    pub(crate) fn bell(&self) -> BorrowedFd<'_> {
        self.done.bell.as_fd()
    }

    /// What has finished since the last call. It counts no longer: send it before anything else is started.
    pub(crate) fn collect(&mut self) -> Vec<(Asked, Finished)> {
        self.done.bell.silence();
        let results = std::mem::take(&mut *self.done.results());
        self.requests -= results.len();
        self.bytes -= results.iter().map(|outcome| outcome.bytes).sum::<usize>();
        results.into_iter().map(|outcome| (outcome.asked, outcome.finished)).collect()
    }

    /// `came` is when the request came.
    pub(crate) fn read(
        &mut self,
        device: Arc<dyn Device>,
        cookie: u64,
        offset: u64,
        length: usize,
        came: Instant,
    ) {
        let lost = Finished::Read { cookie, offset, result: Err(Failure::Io) };
        let token = self.token(length, Some((Timed::Read, came)), lost);
        self.runtime.spawn(async move {
            let result = device.read_later(offset, length).await;
            let result =
                result.and_then(|data| if data.len() == length { Ok(data) } else { Err(Failure::Io) });
            token.complete(Finished::Read { cookie, offset, result });
        });
    }

    /// `came` is when the request came.
    pub(crate) fn change(
        &mut self,
        device: Arc<dyn Device>,
        cookie: u64,
        change: Owned,
        fua: bool,
        came: Instant,
    ) {
        let timed = if fua { Timed::Flush } else { Timed::Write };
        let token = self.token(change.data_bytes(), Some((timed, came)), lost(cookie));
        self.runtime.spawn(async move {
            let mut result = device.clone().change_later(change).await;
            if result.is_ok() && fua {
                // A flush blocks, so it must not hold up a thread of the runtime.
                let here = device.clone();
                let flush = tokio::task::spawn_blocking(move || here.flush());
                result = match flush.await.unwrap_or(Step::Failed(Failure::Io)) {
                    Step::Done => Ok(()),
                    Step::Later => device.stored_later().await,
                    Step::Failed(failure) => Err(failure),
                };
            }
            token.complete(Finished::Status { cookie, result });
        });
    }

    /// The part of a flush that waits for a store; the device has flushed here already. `came` is when the request came.
    pub(crate) fn stored(&mut self, device: Arc<dyn Device>, cookie: u64, came: Instant) {
        let token = self.token(0, Some((Timed::Flush, came)), lost(cookie));
        self.runtime.spawn(async move {
            let result = device.stored_later().await;
            token.complete(Finished::Status { cookie, result });
        });
    }

    pub(crate) fn cache(&mut self, device: Arc<dyn Device>, cookie: u64, offset: u64, length: u64) {
        let token = self.token(0, None, lost(cookie));
        self.runtime.spawn(async move {
            let result = device.cache(offset, length).await;
            token.complete(Finished::Status { cookie, result });
        });
    }

    pub(crate) fn status(&mut self, device: Arc<dyn Device>, cookie: u64, status: Status) {
        let token = self.token(0, None, Finished::Extents { cookie, result: Err(Failure::Io) });
        self.runtime.spawn(async move {
            let result = status.ask_later(device).await.map(Status::told);
            token.complete(Finished::Extents { cookie, result });
        });
    }

    /// What is known of a range in several contexts, or what has changed in it.
    pub(crate) fn statuses(&mut self, device: Arc<dyn Device>, question: Question) {
        let cookie = question.request.cookie;
        let token = self.token(0, None, Finished::Extents { cookie, result: Err(Failure::Io) });
        self.runtime.spawn(async move {
            let result = question.ask(device).await;
            token.complete(Finished::Extents { cookie, result });
        });
    }

    fn token(&mut self, bytes: usize, asked: Asked, lost: Finished) -> Token {
        self.requests += 1;
        self.bytes += bytes;
        Token { done: self.done.clone(), bytes, asked, result: Some(lost) }
    }
}

fn lost(cookie: u64) -> Finished {
    Finished::Status { cookie, result: Err(Failure::Io) }
}

/// Stands for a task's result. A task that panics or is dropped with its runtime has failed: the client gets an
/// answer all the same.
struct Token {
    done: Arc<Done>,
    bytes: usize,
    asked: Asked,
    result: Option<Finished>,
}

impl Token {
    fn complete(mut self, result: Finished) {
        self.result = Some(result);
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        let Some(finished) = self.result.take() else { return };
        let first = {
            let mut results = self.done.results();
            results.push(Outcome { bytes: self.bytes, asked: self.asked, finished });
            results.len() == 1
        };
        if first {
            self.done.bell.ring();
        }
    }
}
