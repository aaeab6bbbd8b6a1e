//! Measuring the pool, beside no round of this run.

use std::time::Duration;

use super::Host;
use crate::{
    Result,
    core::grace::{self, Verdict},
    reclaim::waiting,
    space::{Space, measure},
};

impl Host {
    /// How much of the pool is whose, and which of the dead objects are due after `grace`. No round of this run takes
    /// anything away meanwhile.
    pub async fn space(
        &self,
        grace: Duration,
        progress: &(dyn Fn(u64, u64) + Sync),
    ) -> Result<(Space, Verdict)> {
        let _turn = self.rounds.turn.acquire().await;
        let (world, since) = (self.pool.world(), *self.rounds.last.lock());
        let space = measure(&self.pool, progress).await?;
        let list = waiting::load(world, self.pool.id());
        let elapsed =
            list.as_ref().map_or(Duration::ZERO, |list| waiting::elapsed(world, list, since, grace));
        let known = list.as_ref().map_or(&[][..], |list| &list.dead);
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let verdict = grace::judge(&space.gone, known, millis(elapsed), millis(grace));
        Ok((space, verdict))
    }
}
