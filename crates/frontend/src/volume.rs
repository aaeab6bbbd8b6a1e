//! Volumes and runs of the engine, as front ends see them.

use std::{cell::RefCell, sync::Arc, time::Duration};

use esker_engine::{
    EngineError,
    diff::NamedState,
    host::Host,
    volume::{self, ReadStep, Scratch, Volume, WriteStep},
};
use futures_util::future::{BoxFuture, FutureExt};

use crate::{Change, Device, Exports, Extent, ExtentState, Failure, Owned, Since, Step};

/// How many bytes one step of [`Device::cache`] brings near: it holds them in memory for a moment.
const CACHE_STEP_BYTES: u64 = 1 << 20;

thread_local! {
    /// A connection's thread makes one batch after the other.
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl Device for Volume {
    fn name(&self) -> &str {
        Volume::name(self)
    }

    fn size_bytes(&self) -> u64 {
        Volume::size_bytes(self)
    }

    fn read_only(&self) -> bool {
        Volume::read_only(self)
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> Step {
        match Volume::read(self, offset, buffer) {
            ReadStep::Done => Step::Done,
            ReadStep::Later => Step::Later,
            ReadStep::Failed(error) => Step::Failed(failed(self, "read", &error)),
        }
    }

    fn read_later(
        self: Arc<Self>,
        offset: u64,
        length: usize,
    ) -> BoxFuture<'static, Result<Vec<u8>, Failure>> {
        let volume = self.clone();
        let read = Volume::read_later(self, offset, length);
        read.map(move |read| read.map_err(|error| failed(&volume, "read", &error))).boxed()
    }

    fn change(&self, batch: &[Change<'_>], steps: &mut Vec<Step>) {
        if Volume::read_only(self) {
            steps.extend(batch.iter().map(|_| Step::Failed(Failure::ReadOnly)));
            return;
        }
        SCRATCH.with_borrow_mut(|scratch| {
            Volume::change(self, batch, scratch);
            steps.extend(scratch.steps.drain(..).map(|step| match step {
                WriteStep::Done => Step::Done,
                WriteStep::Later => Step::Later,
                WriteStep::Failed(error) => Step::Failed(failed(self, "change", &error)),
            }));
        });
    }

    fn pause_after(&self, bytes: u64) -> Duration {
        Volume::pause_after(self, bytes)
    }

    fn background_jobs(&self) -> usize {
        Volume::background_jobs(self)
    }

    fn change_later(self: Arc<Self>, change: Owned) -> BoxFuture<'static, Result<(), Failure>> {
        let volume = self.clone();
        let made = Volume::change_later(self, change);
        made.map(move |made| made.map_err(|error| failed(&volume, "change", &error))).boxed()
    }

    fn flush(&self) -> Step {
        match Volume::flush(self) {
            Ok(()) if Volume::is_stored(self) => Step::Done,
            Ok(()) => Step::Later,
            Err(error) => Step::Failed(failed(self, "flush", &error)),
        }
    }

    fn stored_later(self: Arc<Self>) -> BoxFuture<'static, Result<(), Failure>> {
        let volume = self.clone();
        let stored = Volume::stored_later(self);
        stored.map(move |stored| stored.map_err(|error| failed(&volume, "flush", &error))).boxed()
    }

    fn extents(&self, offset: u64, length: u64, out: &mut Vec<Extent>) -> Step {
        let Some(found) = Volume::extents(self, offset, length) else { return Step::Later };
        out.extend(found.into_iter().map(extent));
        Step::Done
    }

    fn extents_later(
        self: Arc<Self>,
        offset: u64,
        length: u64,
    ) -> BoxFuture<'static, Result<Vec<Extent>, Failure>> {
        let volume = self.clone();
        let found = Volume::extents_later(self, offset, length);
        found
            .map(move |found| match found {
                Ok(found) => Ok(found.into_iter().map(extent).collect()),
                Err(error) => Err(failed(&volume, "block status", &error)),
            })
            .boxed()
    }

    fn cache(self: Arc<Self>, offset: u64, length: u64) -> BoxFuture<'static, Result<(), Failure>> {
        async move {
            let end = offset.saturating_add(length).min(Volume::size_bytes(&self));
            let mut at = offset;
            while at < end {
                let step = (end - at).min(CACHE_STEP_BYTES);
                let read = Volume::read_later(self.clone(), at, step as usize).await;
                read.map_err(|error| failed(&self, "cache", &error))?;
                at += step;
            }
            Ok(())
        }
        .boxed()
    }

    fn states(self: Arc<Self>) -> BoxFuture<'static, Vec<String>> {
        async move {
            Volume::comparable(&self).await.unwrap_or_else(|error| {
                tracing::warn!(volume = self.name(), %error, "its snapshots cannot be listed");
                Vec::new()
            })
        }
        .boxed()
    }

    fn since(self: Arc<Self>, state: String) -> BoxFuture<'static, Option<Arc<dyn Since>>> {
        async move {
            match Volume::compared_with(&self, &state).await {
                Ok(from) => Some(Arc::new(Comparison { volume: self, from }) as Arc<dyn Since>),
                Err(error) => {
                    tracing::warn!(volume = self.name(), state, %error, "a client cannot compare it with this");
                    None
                }
            }
        }
        .boxed()
    }
}

/// A volume, and a state to compare it with.
struct Comparison {
    volume: Arc<Volume>,
    from: Arc<NamedState>,
}

impl Since for Comparison {
    fn changed(
        self: Arc<Self>,
        offset: u64,
        length: u64,
        most: usize,
    ) -> BoxFuture<'static, Result<Vec<(u64, bool)>, Failure>> {
        async move {
            let found = self.volume.changed_since(&self.from, offset, length, most).await;
            found.map_err(|error| failed(&self.volume, "block status", &error))
        }
        .boxed()
    }
}

impl Exports for Host {
    fn find(&self, name: &str) -> Option<Arc<dyn Device>> {
        if !name.is_empty() {
            return self.volume(name).map(|volume| volume as Arc<dyn Device>);
        }
        // The default export is the only one, where there is only one.
        let mut volumes = self.volumes();
        let only = volumes.pop()?;
        volumes.is_empty().then_some(only as Arc<dyn Device>)
    }

    /// Snapshots are opened for who asks for one by its name.
    fn open(&self, name: &str) -> Option<BoxFuture<'_, Option<Arc<dyn Device>>>> {
        let name = name.contains('@').then(|| name.to_owned())?;
        Some(Box::pin(async move {
            match self.visit(&name).await {
                Ok(snapshot) => Some(snapshot as Arc<dyn Device>),
                Err(error) => {
                    tracing::info!(snapshot = name, %error, "a client asked for a snapshot that cannot be served");
                    None
                }
            }
        }))
    }

    fn names(&self) -> Vec<String> {
        self.volumes().iter().map(|volume| volume.name().to_owned()).collect()
    }
}

fn extent((length, state): (u64, volume::ExtentState)) -> Extent {
    let state = match state {
        volume::ExtentState::Data => ExtentState::Data,
        volume::ExtentState::Hole => ExtentState::Hole,
        volume::ExtentState::Zero => ExtentState::Zero,
    };
    Extent { length, state }
}

/// What a guest is told. What it is not told goes to the daemon's log.
fn failed(volume: &Volume, what: &'static str, error: &EngineError) -> Failure {
    let failure = failure(error);
    if failure == Failure::Io {
        tracing::error!(volume = volume.name(), what, %error, "a request of a guest failed");
    } else {
        tracing::debug!(volume = volume.name(), what, %error, "a request of a guest was refused");
    }
    failure
}

fn failure(error: &EngineError) -> Failure {
    match error {
        EngineError::Disk(error) if error.no_space => Failure::NoSpace,
        EngineError::Invalid(_) => Failure::Invalid,
        // Served elsewhere from now on, or not at all: no use in trying again here.
        EngineError::Closing(_) | EngineError::Fenced { .. } => Failure::Shutdown,
        EngineError::Disk(_)
        | EngineError::Store(_)
        | EngineError::Damaged { .. }
        | EngineError::Missing { .. }
        | EngineError::Format(_)
        | EngineError::LogDamaged { .. }
        | EngineError::NotFound(_)
        | EngineError::Exists(_)
        | EngineError::Stopped { .. }
        | EngineError::Unknown { .. } => Failure::Io,
    }
}
