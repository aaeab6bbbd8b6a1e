//! Rounds of reclaim by this run, one at a time.

use std::time::Duration;

use esker_io::sync::{Mutex, atomic::Ordering};

use super::Host;
use crate::{
    Result,
    core::victims::Victim,
    permits::Permits,
    reclaim::{
        plan::Known,
        round::{Options, Report, Round},
    },
};

/// What is kept between rounds.
pub(super) struct Rounds {
    pub(super) turn: Permits,
    /// When the last one began, by the monotonic clock.
    pub(super) last: Mutex<Option<Duration>>,
    known: Known,
}

impl Default for Rounds {
    fn default() -> Self {
        Self { turn: Permits::new(1), last: Mutex::new(None), known: Known::default() }
    }
}

impl Host {
    /// Makes one round of reclaim in the pool, when one that is under way has ended: see [`crate::reclaim::round`].
    pub async fn reclaim(&self, options: Options, progress: &(dyn Fn(u64, u64) + Sync)) -> Result<Report> {
        self.reclaim_asked(options, &[], progress).await
    }

    /// The same, which also rewrites these segments.
    pub async fn reclaim_asked(
        &self,
        options: Options,
        asked: &[Victim],
        progress: &(dyn Fn(u64, u64) + Sync),
    ) -> Result<Report> {
        let _turn = self.rounds.turn.acquire().await;
        let (pool, since) = (&*self.pool, *self.rounds.last.lock());
        let began = pool.world().clock.monotonic();
        let stop = || self.stopping.load(Ordering::Acquire);
        let owners = self.volumes();
        let (run, known) = (self.owner.run, &self.rounds.known);
        let (owners, table) = (&owners[..], Mutex::default());
        let round = Round { pool, run, options, owners, asked, table, since, known, stop: &stop, progress };
        let outcome = round.run().await;
        if !options.dry_run {
            // One that failed may have written its list; if not, some time is not counted.
            *self.rounds.last.lock() = Some(began);
        }
        outcome
    }

    /// Rounds under way end early.
    pub fn stop_reclaim(&self) {
        self.stopping.store(true, Ordering::Release);
    }
}
