//! Rounds of reclaim by this run, one at a time.

use std::time::Duration;

use esker_io::sync::{Event, Mutex, atomic::Ordering};

use super::Host;
use crate::{
    Result,
    reclaim::round::{Options, Report, Round},
};

/// What is kept between rounds.
#[derive(Default)]
pub(super) struct Rounds {
    inside: Mutex<Inside>,
    /// A round has ended.
    ended: Event,
}

#[derive(Default)]
struct Inside {
    busy: bool,
    /// When the last one began, by the monotonic clock.
    last: Option<Duration>,
}

impl Host {
    /// Makes one round of reclaim in the pool, when one that is under way has ended: see [`crate::reclaim::round`].
    pub async fn reclaim(&self, options: Options, progress: &(dyn Fn(u64, u64) + Sync)) -> Result<Report> {
        let turn = self.rounds.turn().await;
        let pool = &*self.pool;
        let began = pool.world().clock.monotonic();
        let stop = || self.stopping.load(Ordering::Acquire);
        let round = Round { pool, run: self.owner.run, options, since: turn.last(), stop: &stop, progress };
        let outcome = round.run().await;
        if !options.dry_run {
            // One that failed may have written its list; if not, some time is not counted.
            self.rounds.inside.lock().last = Some(began);
        }
        outcome
    }

    /// Rounds under way end early.
    pub fn stop_reclaim(&self) {
        self.stopping.store(true, Ordering::Release);
    }
}

impl Rounds {
    async fn turn(&self) -> Turn<'_> {
        loop {
            let seen = self.ended.generation();
            {
                let mut inside = self.inside.lock();
                if !inside.busy {
                    inside.busy = true;
                    return Turn(self);
                }
            }
            self.ended.wait_past(seen).await;
        }
    }
}

/// The right to make a round.
struct Turn<'a>(&'a Rounds);

impl Turn<'_> {
    fn last(&self) -> Option<Duration> {
        self.0.inside.lock().last
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.inside.lock().busy = false;
        self.0.ended.notify();
    }
}
