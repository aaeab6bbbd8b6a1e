//! A store and a clock for tests of the decorators: virtual time, answers as the test wants them.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;

use super::{Listed, Objects, Range, Result, StoreError, StoreErrorKind};
use crate::{
    BoxFuture, Clock, Random,
    sync::{Arc, Mutex},
};

/// The virtual time of a paused tokio runtime.
pub(super) struct Virtual(tokio::time::Instant);

impl Virtual {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(tokio::time::Instant::now()))
    }
}

impl Clock for Virtual {
    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }

    fn wall_ms(&self) -> u64 {
        0
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// Always half of what could be.
pub(super) struct Half;

impl Random for Half {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(0);
    }

    fn below(&self, bound: u64) -> u64 {
        bound / 2
    }
}

/// An answer: after how long, and which.
pub(super) type Planned = (Duration, std::result::Result<Bytes, StoreErrorKind>);

/// Gives planned answers, then the usual one.
pub(super) struct Stage {
    planned: Mutex<VecDeque<Planned>>,
    usual: Mutex<Planned>,
    asked: Mutex<Vec<Range>>,
}

impl Stage {
    pub(super) fn new(usual: Planned) -> Arc<Self> {
        let asked = Mutex::new(Vec::new());
        Arc::new(Self { planned: Mutex::default(), usual: Mutex::new(usual), asked })
    }

    pub(super) fn plan(&self, answer: Planned) {
        self.planned.lock().push_back(answer);
    }

    pub(super) fn set_usual(&self, usual: Planned) {
        *self.usual.lock() = usual;
    }

    pub(super) fn requests(&self) -> usize {
        self.asked.lock().len()
    }

    pub(super) fn asked(&self) -> Vec<Range> {
        self.asked.lock().clone()
    }

    async fn answer(&self, range: Range) -> Result<Bytes> {
        self.asked.lock().push(range);
        let planned = self.planned.lock().pop_front();
        let (after, answer) = planned.unwrap_or_else(|| self.usual.lock().clone());
        tokio::time::sleep(after).await;
        answer.map_err(|kind| StoreError::new(kind, "try", "name", "planned"))
    }
}

impl Objects for Stage {
    fn put_new<'a>(&'a self, _: &'a str, _: Bytes) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { self.answer(Range::All).await.map(drop) })
    }

    fn get<'a>(&'a self, _: &'a str, range: Range) -> BoxFuture<'a, Result<Bytes>> {
        Box::pin(self.answer(range))
    }

    fn list<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Vec<Listed>>> {
        Box::pin(async { self.answer(Range::All).await.map(|_| Vec::new()) })
    }

    fn delete<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { self.answer(Range::All).await.map(drop) })
    }

    fn describe(&self) -> String {
        "a stage".to_owned()
    }
}
