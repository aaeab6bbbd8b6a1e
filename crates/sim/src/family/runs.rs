//! The runs of a family's daemon: how they begin, how they end, and what is done by them.

use std::{future::Future, sync::Arc, time::Duration};

use esker_engine::{
    EngineError,
    host::Host as Engine,
    pool::Pool,
    volume::{Limits, Volume},
};
use esker_format::ids::DirectoryId;

use super::{
    Family,
    members::{BLOCKS, Presence},
    steps::BLOCK,
};
use crate::{
    Survival, Task,
    lab::{CHUNK_BYTES, Outcome, violation},
};

/// Decoded frames that are cached: none, so that what is read is in the store.
pub(super) const CACHE_BYTES: usize = 0;
/// What has to succeed may fail so often in a row while the store has faults.
const TRIES_MAX: u32 = 20;
/// After how many milliseconds at most a step is cut off: in its first request, among the first, or anywhere.
const CUTS_MS: [u64; 4] = [30, 150, 600, 2_500];

/// How a step ended.
pub(super) enum End<T> {
    /// With its answer.
    Done(T),
    /// With an error that says that nothing can be done; the host lives.
    Refused(EngineError),
    /// Because of the store: what it does may be done.
    Failed,
    /// Its host has fallen: what it does may be done.
    Cut,
}

impl Family {
    /// A new run, with all volumes open for writing that are there.
    pub(super) fn start(&mut self) -> Outcome {
        let limits =
            Limits { chunk_bytes: CHUNK_BYTES, seal_age: Duration::from_secs(2), ..Limits::default() };
        let pool = self.insist("the pool is opened", |family| {
            let world = family.host.world();
            family.host.spawn("start", async move { Pool::open(world, CACHE_BYTES).await.map(Arc::new) })
        })?;
        let spawner = self.host.clone();
        let spawn = Arc::new(move |work| drop(spawner.spawn("work", work)));
        self.engine = Some(Arc::new(Engine::new(pool, DirectoryId([7; 16]), limits, spawn)));
        for name in self.members.volumes() {
            self.open(&name)?;
        }
        Ok(())
    }

    /// Opens a volume and looks what it holds. One that may not be there may be missing.
    pub(super) fn open(&mut self, name: &str) -> Outcome {
        let sure = self.members.get(name).presence == Presence::There;
        let opened = self.insist(&format!("{name} is opened"), |family| {
            let (engine, name) = (family.engine(), name.to_owned());
            family.host.spawn("open", async move {
                match engine.open(&name, None).await {
                    Ok((volume, _)) => Ok(Some(volume)),
                    // It was deleted, or was never finished.
                    Err(EngineError::NotFound(_) | EngineError::Invalid(_)) if !sure => Ok(None),
                    Err(error) => Err(error),
                }
            })
        })?;
        let Some(volume) = opened else { return Ok(()) };
        let found = self.read_open(name, &volume)?;
        self.members.opened(name, volume, &found)
    }

    pub(super) fn read_open(&mut self, name: &str, volume: &Arc<Volume>) -> Outcome<Vec<u8>> {
        self.insist(&format!("{name} is read"), |family| {
            let reading = volume.clone().read_later(0, (BLOCKS * BLOCK) as usize);
            family.host.spawn("read", reading)
        })
    }

    /// Does something that has to succeed, as often as the store's faults make it fail.
    fn insist<T: Send + 'static>(
        &mut self,
        what: &str,
        work: impl Fn(&Self) -> Task<Result<T, EngineError>>,
    ) -> Outcome<T> {
        let mut tries = 1;
        loop {
            match self.answer(work(self))? {
                Ok(done) => return Ok(done),
                Err(error) if self.is_passing(&error) && tries < TRIES_MAX => tries += 1,
                Err(error) => return Err(violation(format!("{what}, try {tries}: {error}"))),
            }
        }
    }

    /// Whether the store's faults explain an error.
    pub(super) fn is_passing(&self, error: &EngineError) -> bool {
        self.has_faults() && matches!(error, EngineError::Store(_) | EngineError::Unknown { .. })
    }

    /// Runs until a task has ended, whose host does not fall.
    pub(super) fn answer<T: Send + 'static>(&self, task: Task<T>) -> Outcome<T> {
        let answer = self.machine.run_until(task).map_err(violation)?;
        answer.map_err(violation)
    }

    /// Does a step by the run's engine. It may be cut off.
    pub(super) fn attempt<T, F>(&mut self, name: &'static str, work: F) -> Outcome<End<T>>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, EngineError>> + Send + 'static,
    {
        let task = self.host.spawn(name, work);
        self.end_of(task)
    }

    /// Waits for a step's end, or cuts it off.
    pub(super) fn end_of<T: Send + 'static>(
        &mut self,
        task: Task<Result<T, EngineError>>,
    ) -> Outcome<End<T>> {
        if !self.calm && self.random.chance(self.plan.cut_ppm) {
            let within_ms = *self.random.pick(&CUTS_MS);
            let ms = self.random.below(within_ms);
            self.run_for(Duration::from_millis(ms))?;
            if !task.is_done() {
                self.began("cut off", format!("… is cut off after {ms} ms"));
                self.fall();
                return Ok(End::Cut);
            }
        }
        Ok(match self.answer(task)? {
            Ok(done) => End::Done(done),
            Err(error) if self.is_passing(&error) => {
                self.began("failed", format!("… fails: {error}"));
                End::Failed
            }
            Err(error) => End::Refused(error),
        })
    }

    /// The run ends: the process is killed, or the power fails. What was acknowledged is in the log, and what was flushed
    /// is on the disk.
    pub(super) fn fall(&mut self) {
        (self.engine, self.round) = (None, None);
        if self.random.chance(self.plan.power_ppm) {
            self.began("power failure", "the power fails".to_owned());
            let survival = match self.random.below(3) {
                0 => Survival::OnlySynced,
                _ => Survival::Subset(self.random.next_u64()),
            };
            self.members.lost_power();
            self.host.crash(survival);
        } else {
            self.began("kill", "kill -9".to_owned());
            self.members.closed();
            self.host.kill();
        }
        self.host.restart();
    }

    /// Ends the run in peace.
    pub(super) fn drain(&mut self) -> Outcome {
        self.end_round()?;
        if self.engine.is_none() {
            return Ok(());
        }
        self.began("restart", "drain and start again".to_owned());
        let engine = self.engine();
        let left = match self.attempt("drain", async move { Ok(engine.drain().await) })? {
            End::Done(left) => left,
            _ => return Ok(()),
        };
        for (name, error) in left {
            if self.members.get(&name).presence == Presence::There && !self.is_passing(&error) {
                return Err(violation(format!("{name} does not drain: {error}")));
            }
        }
        self.members.closed();
        self.engine = None;
        self.host.restart();
        Ok(())
    }
}
