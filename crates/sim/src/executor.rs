//! A single-threaded executor with virtual time: ready tasks are polled in a seeded random order, and time
//! moves only when nothing is ready.

mod sleep;
mod waker;

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use esker_io::BoxFuture;

pub(crate) use sleep::Sleep;
use waker::TaskWaker;

use crate::{Prng, Task, Trace, trace::Event};

/// Tasks that live and die together: one run of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group(u64);

impl Group {
    /// Tasks that belong to no host and survive every crash.
    pub const NONE: Group = Group(0);
}

/// Why the executor came back without an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Halt {
    /// Nothing is ready and no timer is set: whoever is waited for will never come.
    #[error("stuck at {now:?}: nothing is ready and no timer is set; waiting: {waiting}")]
    Stuck {
        /// The virtual time.
        now: Duration,
        /// The names of the tasks that still wait, with their count.
        waiting: String,
    },
    /// The budget of steps is spent: probably a loop that never waits.
    #[error("{steps} steps and no end at {now:?}; waiting: {waiting}")]
    Budget {
        /// The budget.
        steps: u64,
        /// The virtual time.
        now: Duration,
        /// The names of the unfinished tasks, with their count.
        waiting: String,
    },
    /// A host reached its crash point.
    #[error("a host crashed at {now:?}")]
    Crashed {
        /// The virtual time.
        now: Duration,
    },
}

/// The executor. Cheap to clone; all clones are the same executor.
#[derive(Clone)]
pub struct Executor {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    trace: Trace,
}

struct State {
    now: Duration,
    timers: BTreeMap<(Duration, u64), Waker>,
    tasks: BTreeMap<u64, Entry>,
    ready: Vec<u64>,
    random: Prng,
    next_id: u64,
    steps_max: u64,
    /// Groups that reached their crash point and were not cancelled yet.
    crashed: BTreeSet<Group>,
    running: bool,
    closed: bool,
    paused: BTreeSet<Group>,
    dead: BTreeSet<Group>,
}

struct Entry {
    name: &'static str,
    group: Group,
    queued: bool,
    /// `None` while it is polled, and always for the main future.
    future: Option<BoxFuture<'static, ()>>,
}

/// The main future of `run_until` is known by this id.
const MAIN: u64 = 0;

enum Next {
    Poll(u64),
    Reached,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn queue(&mut self, id: u64) {
        if let Some(entry) = self.tasks.get_mut(&id)
            && !entry.queued
        {
            entry.queued = true;
            self.ready.push(id);
        }
    }

    /// Takes one of the ready tasks of running hosts, at random.
    fn choose(&mut self) -> Option<u64> {
        let tasks = &self.tasks;
        self.ready.retain(|id| tasks.contains_key(id));
        let index = if self.paused.is_empty() {
            (!self.ready.is_empty()).then(|| self.random.below(self.ready.len() as u64) as usize)?
        } else {
            let runs = |id: &u64| !self.paused.contains(&self.tasks[id].group);
            let able: Vec<usize> = (0..self.ready.len()).filter(|&index| runs(&self.ready[index])).collect();
            if able.is_empty() {
                return None;
            }
            *self.random.pick(&able)
        };
        let id = self.ready.swap_remove(index);
        self.tasks.get_mut(&id).expect("a ready task is known").queued = false;
        Some(id)
    }

    fn waiting(&self) -> String {
        let mut names: BTreeMap<&str, usize> = BTreeMap::new();
        for entry in self.tasks.values() {
            *names.entry(entry.name).or_default() += 1;
        }
        let names: Vec<String> = names.into_iter().map(|(name, count)| format!("{name} ×{count}")).collect();
        if names.is_empty() { "nothing".into() } else { names.join(", ") }
    }
}

impl Executor {
    /// An executor whose schedule is decided by `random`; each call that runs it takes at most `steps_max` steps.
    pub fn new(random: Prng, trace: Trace, steps_max: u64) -> Self {
        let state = State {
            now: Duration::ZERO,
            timers: BTreeMap::new(),
            tasks: BTreeMap::new(),
            ready: Vec::new(),
            random,
            next_id: MAIN,
            steps_max,
            crashed: BTreeSet::new(),
            running: false,
            closed: false,
            paused: BTreeSet::new(),
            dead: BTreeSet::new(),
        };
        Self { shared: Arc::new(Shared { state: Mutex::new(state), trace }) }
    }

    /// The virtual time since the start.
    pub fn now(&self) -> Duration {
        self.shared.lock().now
    }

    /// The trace that all parts of the simulation write.
    pub fn trace(&self) -> &Trace {
        &self.shared.trace
    }

    /// A new group of tasks.
    pub fn group(&self) -> Group {
        Group(self.shared.lock().id())
    }

    /// Starts a task. In a group that was cancelled it never runs.
    pub fn spawn<T: Send + 'static>(
        &self,
        group: Group,
        name: &'static str,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Task<T> {
        let (run, task) = Task::split(future);
        let mut state = self.shared.lock();
        if state.closed {
            // Outside the lock: dropping a future runs its destructors, which may come back here.
            drop(state);
            drop(run);
            return task;
        }
        let id = state.id();
        state.tasks.insert(id, Entry { name, group, queued: false, future: Some(Box::pin(run)) });
        // A task of a dead group is kept, not dropped: its owner would take a lost answer for a bug.
        if !state.dead.contains(&group) {
            state.queue(id);
        }
        task
    }

    /// Runs until `future` has its answer. Other tasks go on as far as they get.
    pub fn run_until<F: Future>(&self, future: F) -> Result<F::Output, Halt> {
        let mut future = pin!(future);
        let _main = self.enter(true);
        let waker = self.waker(MAIN);
        let mut steps = 0;
        loop {
            match self.next(&mut steps, None)? {
                Next::Poll(MAIN) => {
                    let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
                    self.check_crash()?;
                    if let Poll::Ready(answer) = polled {
                        return Ok(answer);
                    }
                }
                Next::Poll(id) => self.poll_task(id),
                Next::Reached => unreachable!("there was no limit to reach"),
            }
        }
    }

    /// Runs all tasks for a stretch of virtual time.
    pub fn run_for(&self, duration: Duration) -> Result<(), Halt> {
        let _main = self.enter(false);
        let limit = self.now() + duration;
        let mut steps = 0;
        loop {
            match self.next(&mut steps, Some(limit))? {
                Next::Poll(id) => self.poll_task(id),
                Next::Reached => return Ok(()),
            }
        }
    }

    /// Completes at `when`.
    pub(crate) fn sleep_until(&self, when: Duration) -> Sleep {
        Sleep::new(self.clone(), when)
    }

    /// Makes the running call, or else the next one, return [`Halt::Crashed`].
    pub(crate) fn interrupt(&self, group: Group) {
        self.shared.lock().crashed.insert(group);
    }

    /// Drops all tasks of a group, in the order in which they were spawned, and never runs another.
    pub(crate) fn cancel(&self, group: Group) {
        let mut state = self.shared.lock();
        state.dead.insert(group);
        state.paused.remove(&group);
        state.crashed.remove(&group);
        let gone: Vec<u64> =
            state.tasks.iter().filter(|(_, task)| task.group == group).map(|(id, _)| *id).collect();
        let futures: Vec<_> = gone.iter().filter_map(|id| state.tasks.remove(id)).collect();
        drop(state);
        drop(futures);
    }

    /// Stops polling a group's tasks, or goes on with them.
    pub(crate) fn pause(&self, group: Group, pause: bool) {
        let mut state = self.shared.lock();
        if pause {
            state.paused.insert(group);
        } else {
            state.paused.remove(&group);
        }
    }

    /// Drops everything. Tasks hold their executor, so without this neither would ever be freed.
    pub(crate) fn close(&self) {
        let mut state = self.shared.lock();
        state.closed = true;
        let tasks = std::mem::take(&mut state.tasks);
        let timers = std::mem::take(&mut state.timers);
        drop(state);
        drop(tasks);
        drop(timers);
    }

    fn waker(&self, id: u64) -> Waker {
        Waker::from(Arc::new(TaskWaker { id, shared: Arc::downgrade(&self.shared) }))
    }

    fn enter(&self, main: bool) -> Running<'_> {
        let mut state = self.shared.lock();
        assert!(!state.running, "the executor runs inside itself");
        state.running = true;
        if main {
            state.tasks.insert(MAIN, Entry { name: "main", group: Group::NONE, queued: false, future: None });
            state.queue(MAIN);
        }
        Running { executor: self }
    }

    fn check_crash(&self) -> Result<(), Halt> {
        let mut state = self.shared.lock();
        if std::mem::take(&mut state.crashed).is_empty() {
            Ok(())
        } else {
            Err(Halt::Crashed { now: state.now })
        }
    }

    /// Finds what to do next; moves time when nothing is ready.
    fn next(&self, steps: &mut u64, limit: Option<Duration>) -> Result<Next, Halt> {
        self.check_crash()?;
        loop {
            let mut state = self.shared.lock();
            if let Some(id) = state.choose() {
                if *steps >= state.steps_max {
                    let waiting = state.waiting();
                    return Err(Halt::Budget { steps: *steps, now: state.now, waiting });
                }
                *steps += 1;
                let now = state.now;
                drop(state);
                let event = Event { now, host: 0, kind: "poll", path: "", numbers: [id, 0], content: None };
                self.shared.trace.record(&event);
                return Ok(Next::Poll(id));
            }
            match (state.timers.first_key_value().map(|((when, _), _)| *when), limit) {
                (Some(when), None) => drop_and_fire(state, when),
                (Some(when), Some(limit)) if when <= limit => drop_and_fire(state, when),
                (_, Some(limit)) => {
                    state.now = limit;
                    return Ok(Next::Reached);
                }
                (None, None) => return Err(Halt::Stuck { now: state.now, waiting: state.waiting() }),
            }
        }
    }

    fn poll_task(&self, id: u64) {
        let taken = self.shared.lock().tasks.get_mut(&id).and_then(|entry| entry.future.take());
        let Some(mut future) = taken else { return };
        let waker = self.waker(id);
        let polled = Pin::new(&mut future).poll(&mut Context::from_waker(&waker));
        let mut state = self.shared.lock();
        match polled {
            Poll::Ready(()) => {
                state.tasks.remove(&id);
            }
            // Without an entry the group was cancelled while the task ran: it ends here.
            Poll::Pending => {
                if let Some(entry) = state.tasks.get_mut(&id) {
                    entry.future = Some(future);
                    return;
                }
            }
        }
        drop(state);
        drop(future);
    }
}

/// Moves time to `when` and wakes all whose timer that was.
fn drop_and_fire(mut state: MutexGuard<'_, State>, when: Duration) {
    assert!(when >= state.now, "virtual time went backwards");
    state.now = when;
    let later = state.timers.split_off(&(when + Duration::from_nanos(1), 0));
    let due = std::mem::replace(&mut state.timers, later);
    drop(state);
    for waker in due.into_values() {
        waker.wake();
    }
}

struct Running<'a> {
    executor: &'a Executor,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut state = self.executor.shared.lock();
        state.running = false;
        state.tasks.remove(&MAIN);
    }
}

#[cfg(test)]
mod tests;
