//! The end of a volume, whether it was born or not.

use esker_format::{head::HeadKind, ids::VolumeId};

use crate::{
    Result,
    birth::{Fate, Pin},
    commit::{CLAIM_TRIES_MAX, Claim, Intent, Owner, contended, try_claim},
    pool::Pool,
};

/// Deletes a volume: a claim whose head says so, and stays (rule H6). One that was never born is buried.
pub(crate) async fn delete(
    pool: &Pool,
    volume: VolumeId,
    owner: Owner,
    give_up: impl Fn() -> bool,
) -> Result<()> {
    for _ in 0..CLAIM_TRIES_MAX {
        let newest = pool.newest_head(volume).await?;
        if newest.head.kind == HeadKind::Deleted {
            return Ok(());
        }
        if newest.head.kind == HeadKind::Unborn {
            // Nobody has claimed it. Rule W12: never one member of a group alone.
            match Pin::of(&newest).bury(pool).await? {
                Fate::Buried => return Ok(()),
                Fate::Born => continue,
            }
        }
        if let Claim::Won(_) = try_claim(pool, &newest, owner, Intent::Delete, &give_up).await? {
            return Ok(());
        }
    }
    Err(contended(volume))
}
