//! Labels of a snapshot: another frozen head of its chain, which says the same but for them, its time too.

use esker_format::{
    head::{Head, HeadKind, LABELS_MAX, Previous},
    ids::{AttemptId, VolumeId},
    property::History,
};

use crate::{EngineError, Result, commit::Owner, core::heads::Keep, pool::Pool, reclaim::Heads};

use super::check_alive;

/// Labels, by key.
pub type Labels = Vec<(String, String)>;

/// How often it is tried against others.
const TRIES_MAX: usize = 16;
/// Heads of a snapshot that are kept when it gets another label.
const HEADS_KEPT: usize = 16;

/// Changes the labels of a snapshot.
///
/// # Errors
/// [`EngineError::Invalid`] when it is no snapshot, or has too many labels then.
pub(crate) async fn relabel(
    pool: &Pool,
    owner: Owner,
    name: &str,
    volume: VolumeId,
    change: impl Fn(&mut Labels),
) -> Result<Head> {
    for _ in 0..TRIES_MAX {
        let newest = pool.newest_head(volume).await?;
        let before = &newest.head;
        check_alive(name, before)?;
        if before.kind != HeadKind::Frozen {
            return Err(EngineError::Invalid(format!("{name} is no snapshot; only snapshots have labels")));
        }
        let mut head = Head {
            number: newest.next_number(),
            attempt: AttemptId(pool.world().random.id()),
            previous: Some(Previous { number: before.number, attempt: before.attempt, hash: newest.hash }),
            run: owner.run,
            directory: owner.directory,
            // The time is that of the snapshot.
            ..before.clone()
        };
        change(&mut head.lineage.labels);
        if head.lineage.labels == before.lineage.labels {
            return Ok(newest.head);
        }
        if head.lineage.labels.len() > LABELS_MAX {
            return Err(EngineError::Invalid(format!("{name} would have more than {LABELS_MAX} labels")));
        }
        // The number is taken: somebody labelled or deleted it. What they made of it decides.
        if pool.put(&head).await?.is_none() {
            continue;
        }
        // Nobody owns a snapshot, so nobody else thins its heads (rule H8).
        let keep = Keep { heads: HEADS_KEPT, history: History::default() };
        Heads::new(&newest.numbers, &newest.strays, keep).pass(pool, volume).await?;
        return Ok(head);
    }
    Err(EngineError::Invalid(format!("{name} is labelled by others all the time; try again")))
}
