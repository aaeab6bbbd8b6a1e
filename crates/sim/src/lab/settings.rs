//! The volume's properties, and changing them.

use esker_engine::{
    EngineError,
    volume::{Effective, PropertyChange, Wish},
};
use esker_format::property::Durability;

use super::{Lab, Outcome, Setup, violation};
use crate::Task;

/// What the volume's properties may be.
pub(super) struct Settings {
    known: Effective,
    /// Some that were asked for and not answered: they are true already, or never.
    tried: Option<Effective>,
}

impl Settings {
    pub(super) fn new(setup: &Setup) -> Self {
        let Setup { durability, compression, on_lag, history, .. } = *setup;
        Self { known: Effective { durability, compression, on_lag, history }, tried: None }
    }

    /// Whether a FLUSH has to wait for the store, whatever comes of what was asked for.
    pub(super) fn is_sync(&self) -> bool {
        let sync = |effective: &Effective| effective.durability == Durability::Sync;
        sync(&self.known) && self.tried.as_ref().is_none_or(sync)
    }

    /// The volume came back with these.
    pub(super) fn found(&mut self, effective: Effective) -> Outcome {
        if effective != self.known && Some(effective) != self.tried {
            let Settings { known, tried } = self;
            return Err(violation(format!(
                "the volume has the properties {effective:?}, expected {known:?} or {tried:?}"
            )));
        }
        *self = Self { known: effective, tried: None };
        Ok(())
    }
}

impl Lab {
    /// Changes properties of the owner's volume; it has to succeed.
    pub fn set(&mut self, change: PropertyChange) -> Outcome {
        let setting = self.begin_set(change);
        self.end_set(setting)
    }

    /// Asks for other properties; the answer is the sequence that the store has to have then. None of them is inherited:
    /// the pool says nothing here.
    pub fn begin_set(&mut self, change: PropertyChange) -> Task<Result<u64, EngineError>> {
        let owner = self.owner();
        let volume = self.volume(owner);
        let promises = change.durability != Wish::Keep;
        let Effective { durability, compression, on_lag, history } = self.settings.known;
        self.settings.tried = Some(Effective {
            durability: after(change.durability, durability),
            compression: after(change.compression, compression),
            on_lag: after(change.on_lag, on_lag),
            history: after(change.history, history),
        });
        self.sites[owner].host.spawn("set", async move {
            let last = if promises { volume.last_sequence().0 } else { 0 };
            volume.set(change).await.map(|()| last)
        })
    }

    /// Waits for other properties; they have to come. What a durability promises of the store is true then, for what was
    /// written before.
    pub fn end_set(&mut self, setting: Task<Result<u64, EngineError>>) -> Outcome {
        let last = self.wait(setting)?.map_err(|error| violation(format!("setting fails: {error}")))?;
        let volume = self.volume(self.owner());
        let effective = volume.effective();
        if Some(effective) != self.settings.tried {
            let tried = self.settings.tried;
            return Err(violation(format!("the properties are {effective:?} after {tried:?} was set")));
        }
        let stored = volume.committed_sequence().0;
        if effective.durability != Durability::Ephemeral && stored < last {
            return Err(violation(format!(
                "{} holds, and the store has {stored} of {last}",
                effective.durability
            )));
        }
        self.settings.found(effective)
    }
}

fn after<T>(wish: Wish<T>, before: T) -> T {
    match wish {
        Wish::Set(value) => value,
        Wish::Keep | Wish::Inherit => before,
    }
}
