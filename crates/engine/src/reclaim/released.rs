//! Old heads of volumes that nobody has open.
//!
//! Who has a volume open removes its heads as they get older than the property `history`. Once it is released that is the
//! business of rounds. A round knows the volume's newest head, and its own run is the only one that may be at work in the
//! pool. Should somebody claim the volume meanwhile, two remove by the same function: the newest head that the round knows
//! is the one before the claim, and stays.
//!
//! What the heads reached is dead from the next round on.
//!
//! **A head that comes back.** 1 The PUT of head n is tried twice, or its run is killed while it is on its way. 2 Head n is
//! removed as too old, and what only it named goes after the grace. 3 The late PUT arrives: its number is free. It is no
//! stray, for its chain is sound, and names what is gone. So a head that cannot be read, is not the newest and may be
//! removed anyway is removed again, and stops no round ([`is_over`]). What is not too old yet does stop it: that cannot be
//! told from damage.

use std::time::Duration;

use esker_format::{head::HeadKind, ids::VolumeId, property::History};

use super::{Heads, mark::Mark};
use crate::{
    Result,
    commit::HEADS_MAX,
    core::heads::{HEADS_KEPT, Keep},
    pool::Pool,
};

/// What came of looking for old heads.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Expired {
    /// How many were deleted.
    pub(super) heads: u64,
    /// How long until the next one is too old.
    pub(super) next: Option<Duration>,
}

/// Whether a head is older than the history and no rule keeps it, whoever has the volume.
pub(super) async fn is_over(pool: &Pool, volume: VolumeId, number: u64, history: History) -> Result<bool> {
    let found = pool.newest_head(volume).await?;
    let keep = Keep { heads: HEADS_MAX, history };
    Heads::new(&found.numbers, &found.strays, keep).may_go(pool, volume, number).await
}

/// Removes the heads of released volumes that are older than their history.
pub(super) async fn expire(pool: &Pool, mark: &Mark, stop: &(dyn Fn() -> bool + Sync)) -> Expired {
    let mut expired = Expired::default();
    for (volume, newest) in mark.newest.iter().filter(|(_, newest)| newest.kind == HeadKind::Released) {
        let keep = Keep { heads: HEADS_KEPT, history: newest.history };
        if let Err(error) = expire_one(pool, mark, *volume, keep, stop, &mut expired).await {
            tracing::warn!(%volume, %error, "old heads of a volume that nobody has open stay for now");
        }
        if stop() {
            break;
        }
    }
    expired
}

async fn expire_one(
    pool: &Pool,
    mark: &Mark,
    volume: VolumeId,
    keep: Keep,
    stop: &(dyn Fn() -> bool + Sync),
    expired: &mut Expired,
) -> Result<()> {
    // The oldest head is the first to go, unless a rule keeps it: one request, as long as it stays.
    let Some(second) = mark.numbers(volume).nth(1) else { return Ok(()) };
    let replaced_ms = pool.head(volume, second).await?.map_or(0, |head| head.written_ms);
    let mut next_ms = Some(replaced_ms.saturating_add(keep.history.ms()));
    let now_ms = pool.world().clock.wall_ms();
    if next_ms.is_some_and(|at| at <= now_ms) {
        let found = pool.newest_head(volume).await?;
        if found.head.kind != HeadKind::Released {
            return Ok(());
        }
        let mut heads = Heads::new(&found.numbers, &found.strays, keep);
        heads.expire();
        heads.thin(pool, volume, stop, &mut expired.heads).await?;
        next_ms = heads.expires_ms();
    }
    if let Some(at) = next_ms {
        let wait = Duration::from_millis(at.saturating_sub(now_ms));
        expired.next = Some(expired.next.map_or(wait, |other| other.min(wait)));
    }
    Ok(())
}
