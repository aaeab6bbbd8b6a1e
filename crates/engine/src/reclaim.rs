//! THE deleter of objects. Heads go at once: each owner thins its own ([`Heads`]); those of volumes that nobody has go in a
//! round ([`released`]). Segments and packs go in a round, with grace ([`round`]).

mod chains;
mod dead;
mod mark;
pub mod plan;
mod quarantine;
mod released;
mod report;
mod rewrite;
pub mod round;
pub(crate) mod waiting;

use std::collections::BTreeMap;

use esker_format::{ids::VolumeId, names, property::History};
use esker_io::{Bug, planted};
use futures_util::{StreamExt, stream};

use crate::{
    Result,
    core::heads::{HeadFacts, Keep, deletable, next_expiry},
    pool::Pool,
};

pub use quarantine::quarantine;

/// Heads that are read at the same time; each may carry a piece.
const READS_IN_FLIGHT: usize = 8;
/// Deletions in one pass, so that a pass is short; the next commit brings the next pass.
const DELETIONS_PER_PASS: usize = 16;
/// Heads that could not be read or deleted are tried again after so long, if nothing is committed before.
const RETRY_MS: u64 = 60_000;

/// What the owner of a volume knows of its heads.
pub struct Heads {
    /// By number; `None` until the head was read.
    known: BTreeMap<u64, Option<HeadFacts>>,
    /// Numbers that no history goes through (rule H3).
    strays: Vec<u64>,
    keep: Keep,
    /// When the next one is older than the history, in wall time.
    expires_ms: Option<u64>,
}

impl Heads {
    /// The heads that a LIST showed when the volume was opened.
    pub(crate) fn new(numbers: &[u64], strays: &[u64], keep: Keep) -> Self {
        let known = numbers.iter().map(|number| (*number, None)).collect();
        Self { known, strays: strays.to_vec(), keep, expires_ms: None }
    }

    /// This run wrote one more, in the place of the one before.
    pub(crate) fn written(&mut self, head: HeadFacts) {
        if !self.known.is_empty() {
            let expires_ms = head.written_ms.saturating_add(self.keep.history.ms());
            self.expires_ms = Some(self.expires_ms.map_or(expires_ms, |other| other.min(expires_ms)));
        }
        self.known.insert(head.number, Some(head));
    }

    /// How long old heads stay reachable, from the next pass on.
    pub(crate) fn keep_for(&mut self, history: History) {
        if self.keep.history != history {
            self.keep.history = history;
            // Those that were young enough may not be so any more.
            self.expires_ms = Some(0);
        }
    }

    /// Nobody writes the volume any more, so what is too old has to be looked for.
    fn expire(&mut self) {
        self.expires_ms = Some(0);
    }

    /// When a pass is worth its while though nothing is written, in wall time.
    pub(crate) fn expires_ms(&self) -> Option<u64> {
        self.expires_ms
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.known.len() + self.strays.len()
    }

    /// Deletes all that may go, and counts it.
    async fn thin(
        &mut self,
        pool: &Pool,
        volume: VolumeId,
        stop: &(dyn Fn() -> bool + Sync),
        deleted: &mut u64,
    ) -> Result<()> {
        while !stop() {
            match self.pass(pool, volume).await? {
                0 => break,
                gone => *deleted += gone as u64,
            }
        }
        Ok(())
    }

    /// Whether a head may go.
    async fn may_go(mut self, pool: &Pool, volume: VolumeId, number: u64) -> Result<bool> {
        let (_, outcome) = self.learn(pool, volume).await;
        outcome?;
        let facts: Vec<HeadFacts> = self.known.values().copied().flatten().collect();
        Ok(self.deletable(&facts, pool.world().clock.wall_ms()).contains(&number))
    }

    /// Reads the heads that were not read yet. Returns those that cannot be.
    async fn learn(&mut self, pool: &Pool, volume: VolumeId) -> (Vec<u64>, Result<()>) {
        let unread: Vec<u64> =
            self.known.iter().filter(|(_, facts)| facts.is_none()).map(|(number, _)| *number).collect();
        let reads = unread.into_iter().map(|number| async move { (number, pool.head(volume, number).await) });
        let mut reads = stream::iter(reads).buffered(READS_IN_FLIGHT);
        // One that cannot be read or deleted is no reason to keep all.
        let (mut unreadable, mut outcome) = (Vec::new(), Ok(()));
        while let Some((number, head)) = reads.next().await {
            match head {
                Ok(Some(head)) => drop(self.known.insert(number, Some(HeadFacts::of(&head)))),
                Ok(None) => drop(self.known.remove(&number)),
                Err(error) => {
                    unreadable.push(number);
                    outcome = outcome.and(Err(error));
                }
            }
        }
        (unreadable, outcome)
    }

    /// Deletes some of what may go; returns how many heads that were.
    pub(crate) async fn pass(&mut self, pool: &Pool, volume: VolumeId) -> Result<usize> {
        let now_ms = pool.world().clock.wall_ms();
        let expired = self.expires_ms.is_some_and(|at| at <= now_ms);
        if self.known.len() <= self.keep.heads && self.strays.is_empty() && !expired {
            return Ok(0);
        }
        let before = self.count();
        let (unreadable, mut outcome) = self.learn(pool, volume).await;
        let mut facts: Vec<HeadFacts> = self.known.values().copied().flatten().collect();
        if planted(Bug::PiecesDeleted) {
            facts.iter_mut().for_each(|facts| facts.oldest_piece = None);
        }
        let gone = self.deletable(&facts, now_ms);
        // What is too much for this pass goes in the next one.
        let more = (gone.len() > DELETIONS_PER_PASS).then_some(now_ms);
        self.expires_ms = more.or_else(|| next_expiry(&facts, self.keep.history, now_ms));
        let gone = gone.into_iter().filter(|number| !may_be_needed(*number, &facts, &unreadable));
        for number in gone.take(DELETIONS_PER_PASS) {
            match delete(pool, volume, number).await {
                Ok(()) => drop(self.known.remove(&number)),
                Err(error) => outcome = outcome.and(Err(error)),
            }
        }
        while let Some(stray) = self.strays.last() {
            if let Err(error) = delete(pool, volume, *stray).await {
                outcome = outcome.and(Err(error));
                break;
            }
            self.strays.pop();
        }
        if outcome.is_err() {
            self.expires_ms = Some(now_ms + RETRY_MS);
        }
        match before - self.count() {
            0 => outcome.map(|()| 0),
            deleted => {
                if let Err(error) = outcome {
                    tracing::warn!(%volume, %error, "some old heads could not be removed");
                }
                Ok(deleted)
            }
        }
    }
}

impl Heads {
    fn deletable(&self, facts: &[HeadFacts], now_ms: u64) -> Vec<u64> {
        let mut keep = self.keep;
        if planted(Bug::HistoryIgnored) {
            keep.history = History::of_seconds(3_650 * 86_400).unwrap_or_default();
        }
        if planted(Bug::ClaimDeleted) {
            return facts[..facts.len().saturating_sub(keep.heads)]
                .iter()
                .map(|facts| facts.number)
                .collect();
        }
        let mut gone = deletable(facts, keep, now_ms);
        if planted(Bug::NewestExpired) {
            let is_old = |head: &&HeadFacts| head.written_ms.saturating_add(keep.history.ms()) <= now_ms;
            gone.extend(facts.last().filter(is_old).map(|head| head.number));
        }
        gone
    }
}

/// Whether a head that cannot be read could need this one: its piece (rule H7), or that its number is taken (rule H1).
fn may_be_needed(number: u64, heads: &[HeadFacts], unreadable: &[u64]) -> bool {
    let carries = heads.iter().any(|head| head.number == number && head.carries);
    let before = |unread: &u64| heads.iter().map(|head| head.number).filter(|known| known < unread).max();
    unreadable.iter().any(|unread| carries && number < *unread || before(unread) == Some(number))
}

async fn delete(pool: &Pool, volume: VolumeId, number: u64) -> Result<()> {
    Ok(pool.world().objects.delete(&names::head(volume, number)).await?)
}
