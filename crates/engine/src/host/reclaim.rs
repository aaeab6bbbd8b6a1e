//! Rounds of reclaim by this run, one at a time.

use std::time::Duration;

use esker_io::sync::atomic::Ordering;

use super::Host;
use crate::{
    EngineError, Result,
    reclaim::round::{Options, Report, Round},
};

/// What is kept between rounds.
#[derive(Default)]
pub(super) struct Rounds {
    busy: bool,
    /// When the last one began, by the monotonic clock.
    last: Option<Duration>,
}

impl Host {
    /// Makes one round of reclaim in the pool: see [`crate::reclaim::round`].
    ///
    /// # Errors
    /// [`EngineError::Invalid`] when one is under way, and all that a round can say.
    pub async fn reclaim(&self, options: Options, progress: &(dyn Fn(u64, u64) + Sync)) -> Result<Report> {
        let turn = self.turn()?;
        let pool = &*self.pool;
        let began = pool.world().clock.monotonic();
        let stop = || self.stopping.load(Ordering::Acquire);
        let round = Round { pool, run: self.owner.run, options, since: turn.last(), stop: &stop, progress };
        let outcome = round.run().await;
        if !options.dry_run {
            // One that failed may have written its list; if not, some time is not counted.
            self.rounds.lock().last = Some(began);
        }
        outcome
    }

    /// Rounds under way end early.
    pub fn stop_reclaim(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    fn turn(&self) -> Result<Turn<'_>> {
        let mut rounds = self.rounds.lock();
        if rounds.busy {
            return Err(EngineError::Invalid("a round of reclaim is under way".to_owned()));
        }
        rounds.busy = true;
        Ok(Turn(self))
    }
}

/// The right to make a round.
struct Turn<'a>(&'a Host);

impl Turn<'_> {
    fn last(&self) -> Option<Duration> {
        self.0.rounds.lock().last
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.rounds.lock().busy = false;
    }
}
