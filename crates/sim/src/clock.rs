//! A host's clock and processor, both on the executor's virtual time.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use esker_io::{BoxFuture, Clock, Cpu};

use crate::{
    Prng,
    executor::{Executor, Group},
};

/// A clock whose monotonic time is the executor's and whose wall time can be anything.
/// Cheap to clone; all clones are the same clock.
#[derive(Clone)]
pub struct SimClock {
    executor: Executor,
    wall: Arc<Mutex<Wall>>,
}

#[derive(Clone, Copy)]
enum Wall {
    /// Milliseconds at virtual time zero.
    Running(i128),
    Frozen(u64),
}

impl SimClock {
    /// A clock that shows `wall_ms` now.
    pub fn new(executor: Executor, wall_ms: u64) -> Self {
        let clock = Self { executor, wall: Arc::new(Mutex::new(Wall::Frozen(wall_ms))) };
        clock.set_wall(wall_ms);
        clock
    }

    /// Sets the wall time; it runs on from there.
    pub fn set_wall(&self, wall_ms: u64) {
        let now = self.executor.now().as_millis() as i128;
        self.change(Wall::Running(i128::from(wall_ms) - now));
    }

    /// Moves the wall time, forwards or backwards.
    pub fn jump_wall(&self, by_ms: i64) {
        self.set_wall(self.wall_ms().saturating_add_signed(by_ms));
    }

    /// Stops the wall time where it is, until it is set or moved.
    pub fn freeze_wall(&self) {
        self.change(Wall::Frozen(self.wall_ms()));
    }

    fn change(&self, wall: Wall) {
        *self.wall.lock().unwrap_or_else(PoisonError::into_inner) = wall;
    }
}

impl Clock for SimClock {
    fn monotonic(&self) -> Duration {
        self.executor.now()
    }

    fn wall_ms(&self) -> u64 {
        let now = self.executor.now().as_millis() as i128;
        match *self.wall.lock().unwrap_or_else(PoisonError::into_inner) {
            Wall::Running(start) => u64::try_from((start + now).max(0)).unwrap_or(u64::MAX),
            Wall::Frozen(ms) => ms,
        }
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(self.executor.sleep_until(self.executor.now().saturating_add(duration)))
    }
}

/// A processor that runs each job later, as a step of the executor, so that jobs interleave with everything else.
pub struct SimCpu {
    executor: Executor,
    group: Group,
    random: Mutex<Prng>,
    delay_max: Duration,
}

impl SimCpu {
    /// A processor whose jobs die with `group` and take up to `delay_max` of virtual time.
    pub fn new(executor: Executor, group: Group, random: Prng, delay_max: Duration) -> Self {
        Self { executor, group, random: Mutex::new(random), delay_max }
    }
}

impl Cpu for SimCpu {
    fn submit(&self, job: esker_io::Job) {
        let nanos = {
            let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
            random.between(0, self.delay_max.as_nanos() as u64)
        };
        let start = self.executor.sleep_until(self.executor.now() + Duration::from_nanos(nanos));
        self.executor.spawn(self.group, "cpu job", async move {
            start.await;
            job();
        });
    }
}
