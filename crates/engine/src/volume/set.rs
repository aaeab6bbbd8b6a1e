//! Other properties for a volume that is open.
//!
//! What the newest head says of properties is what an opening believes, on whatever host, and what reclaim thins by. The
//! pipeline, the guests and the status work by what is in memory. So the head comes first, in numbered steps; after a
//! crash the volume has the properties from before up to step 2, the new ones from there on:
//! 1. The change waits for the chain (rule H1), and is laid over the properties that the newest head has then: what
//!    others have changed meanwhile stays. Those who wait together are served by one head.
//! 2. A head with the new properties is committed, alone: no segment, piece, root or size goes with it. Before it nothing
//!    works by them: a FLUSH under a promise that is about to be loosened still keeps it.
//! 3. They hold from now on: for pieces and seals that begin, for FLUSH, for writes that wait while the store lags (which
//!    look again: under the new properties nothing may ever wake them), and for the next thinning of heads.
//! 4. A durability that promises something of the store is promised for all that was acknowledged before step 3, too: a
//!    FLUSH from before may have been content with the local disk. So whoever asked waits until the store has it.
//!
//! A FLUSH that waits for the store when `sync` ends is brought to its end all the same, under any durability. Whoever
//! asked has the answer after the last step; a volume that stops before says why. The pipeline's part is in
//! `pipeline/set.rs`.

use esker_format::property::{Compression, Durability, History, OnLag, Properties};
use esker_io::{Bug, planted};
use futures_channel::oneshot;

use super::{Effective, Volume, Writer};
use crate::{EngineError, Result};

/// Those who may wait for other properties of one volume.
const WAITING_MAX: usize = 64;

/// What becomes of one property.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wish<T> {
    /// It stays.
    #[default]
    Keep,
    /// The volume says nothing of it, so the pool does.
    Inherit,
    /// The volume says this.
    Set(T),
}

impl<T> Wish<T> {
    fn over(self, before: Option<T>) -> Option<T> {
        match self {
            Wish::Keep => before,
            Wish::Inherit => None,
            Wish::Set(value) => Some(value),
        }
    }
}

/// A change of a volume's properties.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PropertyChange {
    /// What may be lost with the host.
    pub durability: Wish<Durability>,
    /// How frames are compressed from now on.
    pub compression: Wish<Compression>,
    /// What happens while the store lags behind.
    pub on_lag: Wish<OnLag>,
    /// How long old heads stay reachable.
    pub history: Wish<History>,
}

impl PropertyChange {
    /// The properties after the change.
    pub fn over(&self, before: &Properties) -> Properties {
        Properties {
            durability: self.durability.over(before.durability),
            compression: self.compression.over(before.compression),
            on_lag: self.on_lag.over(before.on_lag),
            history: self.history.over(before.history),
        }
    }
}

/// Somebody waits for a change.
pub(super) struct Request {
    pub(super) change: PropertyChange,
    pub(super) answer: oneshot::Sender<()>,
}

impl Volume {
    /// The settings that hold now, after inheritance.
    pub fn effective(&self) -> Effective {
        *self.effective.lock()
    }

    /// Changes the volume's properties, and returns when a head says so and they hold; where they promise something of
    /// the store, for what was acknowledged before, too.
    ///
    /// # Errors
    /// When the volume is not written here, or stops before.
    pub async fn set(&self, change: PropertyChange) -> Result<()> {
        let writer = self.writable()?;
        let (answer, answered) = oneshot::channel();
        {
            let mut waiting = writer.sets.lock();
            if waiting.len() >= WAITING_MAX {
                return Err(EngineError::Invalid(format!(
                    "{WAITING_MAX} others wait for other properties of volume {}; try again",
                    self.name
                )));
            }
            waiting.push(Request { change, answer });
        }
        // The pipeline takes what waits when it ends, after it has said so.
        if writer.ended_with.lock().is_some() {
            drop(writer.take_sets());
        }
        writer.wake.notify();
        if let Err(oneshot::Canceled) = answered.await {
            self.check_running()?;
            return Err(EngineError::Closing(self.name.clone()));
        }
        let promises = self.effective().durability != Durability::Ephemeral;
        if promises && change.durability != Wish::Keep && !planted(Bug::SetBeforeStored) {
            self.stored().await?;
        }
        Ok(())
    }
}

impl Writer {
    /// The requests that came since.
    pub(super) fn take_sets(&self) -> Vec<Request> {
        std::mem::take(&mut *self.sets.lock())
    }
}
