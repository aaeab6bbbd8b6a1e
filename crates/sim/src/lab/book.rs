//! The model, shared by the scenario and the changes that wait, and the violations that these find.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{Loss, Model, model::Effect};

/// The model of the volume as its present owner has it. What an earlier opening still does is not recorded:
/// none of it may ever be seen.
pub(super) struct Book {
    state: Mutex<State>,
}

struct State {
    model: Model,
    /// Counts the openings.
    opening: u64,
    error: Option<String>,
}

impl State {
    fn note(&mut self, outcome: Result<(), String>) {
        if let Err(error) = outcome {
            self.error.get_or_insert(error);
        }
    }
}

impl Book {
    pub(super) fn new(size_bytes: u64) -> Self {
        Self { state: Mutex::new(State { model: Model::new(size_bytes), opening: 0, error: None }) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The opening that records are made for now.
    pub(super) fn opening(&self) -> u64 {
        self.lock().opening
    }

    /// The model of that opening, if it is the present one.
    fn with(&self, opening: u64, change: impl FnOnce(&mut Model) -> Result<(), String>) {
        let mut state = self.lock();
        if state.opening == opening {
            let outcome = change(&mut state.model);
            state.note(outcome);
        }
    }

    /// The volume may have so many blocks from now on.
    pub(super) fn reach(&self, blocks: u64) {
        self.lock().model.reach(blocks);
    }

    pub(super) fn begin(&self, opening: u64, effects: &[Effect]) {
        self.with(opening, |model| {
            model.begin(effects);
            Ok(())
        });
    }

    pub(super) fn grown(&self, opening: u64, last: u64, failed: bool) {
        self.with(opening, |model| model.grown(last, failed));
    }

    pub(super) fn acknowledged(&self, opening: u64, sequence: u64) {
        self.with(opening, |model| {
            model.acknowledged(sequence);
            Ok(())
        });
    }

    pub(super) fn flushed(&self, sequence: u64) {
        self.lock().model.flushed(sequence);
    }

    pub(super) fn settled(&self, sequence: u64) {
        let mut state = self.lock();
        let outcome = state.model.settled(sequence);
        state.note(outcome);
    }

    pub(super) fn lose(&self, loss: Loss) {
        self.lock().model.lose(loss);
    }

    /// A new opening begins at `sequence`: what earlier ones still do is not recorded.
    pub(super) fn reopened(&self, sequence: u64) -> Result<(), String> {
        let mut state = self.lock();
        state.opening += 1;
        state.model.reopened(sequence)
    }

    pub(super) fn compare(&self, lba: u64, found: &[u8]) -> Result<(), String> {
        self.lock().model.compare(lba, found)
    }

    /// As the volume was at a sequence that the store has.
    pub(super) fn compare_at(&self, sequence: u64, found: &[u8]) -> Result<(), String> {
        self.lock().model.compare_at(sequence, found)
    }

    pub(super) fn committed(&self) -> u64 {
        self.lock().model.committed()
    }

    pub(super) fn last(&self) -> u64 {
        self.lock().model.last()
    }

    pub(super) fn error(&self, error: String) {
        self.lock().note(Err(error));
    }

    pub(super) fn take_error(&self) -> Option<String> {
        self.lock().error.take()
    }
}
