//! One run of a host: from its start to its crash. Everything that a run does to the world passes here.

use std::{
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
};

use crate::executor::{Executor, Group};

/// On which side of a step a host crashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The step has no effect.
    Before,
    /// The step has its effect; nobody learns of it.
    After,
}

/// Where a host's requests to the store are held up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// Nowhere.
    Nothing,
    /// On the way there: they have no effect before the release.
    Requests,
    /// On the way back: they have their effect, the answer waits for the release.
    Answers,
}

/// The run was over before the step.
pub(crate) struct Gone;

/// A host's steps: effects on its disk and on the store, counted together from 1, across its runs.
#[derive(Default)]
pub(crate) struct Steps {
    pub(crate) taken: u64,
    pub(crate) crash: Option<(u64, Side)>,
}

pub(crate) struct Run {
    pub(crate) host: u32,
    pub(crate) group: Group,
    executor: Executor,
    steps: Arc<Mutex<Steps>>,
    state: Mutex<State>,
}

struct State {
    dead: bool,
    hold: Hold,
    held: Vec<Waker>,
}

impl Run {
    pub(crate) fn new(host: u32, executor: Executor, steps: Arc<Mutex<Steps>>) -> Self {
        let state = State { dead: false, hold: Hold::Nothing, held: Vec::new() };
        Self { host, group: executor.group(), executor, steps, state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.lock().dead
    }

    /// Ends the run: from now on nothing it does has an effect.
    pub(crate) fn die(&self) {
        self.lock().dead = true;
    }

    /// Takes one step: the effect, or the crash that was asked for at this step.
    pub(crate) fn step<T>(&self, effect: impl FnOnce() -> T) -> Result<T, Gone> {
        if self.is_dead() {
            return Err(Gone);
        }
        let crash = {
            let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
            steps.taken += 1;
            steps.crash.filter(|(at, _)| *at == steps.taken).map(|(_, side)| side)
        };
        match crash {
            None => Ok(effect()),
            Some(side) => {
                if side == Side::After {
                    effect();
                }
                self.die();
                self.executor.interrupt(self.group);
                Err(Gone)
            }
        }
    }

    /// Holds up requests or answers, or lets all go.
    pub(crate) fn hold(&self, hold: Hold) {
        let mut state = self.lock();
        state.hold = hold;
        let held = std::mem::take(&mut state.held);
        drop(state);
        for waker in held {
            waker.wake();
        }
    }

    /// Waits until a request may reach the store.
    pub(crate) async fn pass_request(&self) {
        self.pass(|hold| hold == Hold::Requests).await;
    }

    /// Waits until an answer may come back. Who cannot send cannot receive either.
    pub(crate) async fn pass_answer(&self) {
        self.pass(|hold| hold != Hold::Nothing).await;
    }

    async fn pass(&self, holds: impl Fn(Hold) -> bool) {
        poll_fn(|context| {
            let mut state = self.lock();
            if holds(state.hold) {
                state.held.push(context.waker().clone());
                return Poll::Pending;
            }
            Poll::Ready(())
        })
        .await;
    }
}
