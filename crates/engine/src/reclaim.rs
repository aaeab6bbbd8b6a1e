//! THE deleter of objects. Heads go at once: each owner thins its own ([`Heads`]). Segments and packs go in a round,
//! with grace ([`round`]).

mod chains;
mod dead;
mod mark;
mod quarantine;
mod rewrite;
pub mod round;
mod uses;
mod waiting;

use std::collections::BTreeMap;

use esker_format::{ids::VolumeId, names};
use esker_io::{Bug, planted};
use futures_util::{StreamExt, stream};

use crate::{
    Result,
    core::heads::{HeadFacts, deletable},
    pool::Pool,
};

pub use quarantine::quarantine;
pub use uses::Uses;
pub(crate) use uses::{InFlight, Sent};

/// Heads that are read at the same time; each may carry a piece.
const READS_IN_FLIGHT: usize = 8;
/// Deletions in one pass, so that a pass is short; the next commit brings the next pass.
const DELETIONS_PER_PASS: usize = 16;

/// What the owner of a volume knows of its heads.
pub struct Heads {
    /// By number; `None` until the head was read.
    known: BTreeMap<u64, Option<HeadFacts>>,
    /// Numbers that no history goes through (rule H3).
    strays: Vec<u64>,
    /// How many are kept besides those that a rule keeps.
    kept: usize,
}

impl Heads {
    /// The heads that a LIST showed when the volume was opened.
    pub(crate) fn new(numbers: &[u64], strays: &[u64], kept: usize) -> Self {
        let known = numbers.iter().map(|number| (*number, None)).collect();
        Self { known, strays: strays.to_vec(), kept }
    }

    /// This run wrote one more.
    pub(crate) fn written(&mut self, head: HeadFacts) {
        self.known.insert(head.number, Some(head));
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.known.len() + self.strays.len()
    }

    /// Deletes some of what may go; returns how many heads that were.
    pub(crate) async fn pass(&mut self, pool: &Pool, volume: VolumeId) -> Result<usize> {
        if self.known.len() <= self.kept && self.strays.is_empty() {
            return Ok(0);
        }
        let before = self.count();
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
        let mut facts: Vec<HeadFacts> = self.known.values().copied().flatten().collect();
        if planted(Bug::PiecesDeleted) {
            facts.iter_mut().for_each(|facts| facts.oldest_piece = None);
        }
        let gone = if planted(Bug::ClaimDeleted) {
            facts[..facts.len().saturating_sub(self.kept)].iter().map(|facts| facts.number).collect()
        } else {
            deletable(&facts, self.kept)
        };
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

/// Whether a head that cannot be read could need this one: its piece (rule H7), or that its number is taken (rule H1).
fn may_be_needed(number: u64, heads: &[HeadFacts], unreadable: &[u64]) -> bool {
    let carries = heads.iter().any(|head| head.number == number && head.carries);
    let before = |unread: &u64| heads.iter().map(|head| head.number).filter(|known| known < unread).max();
    unreadable.iter().any(|unread| carries && number < *unread || before(unread) == Some(number))
}

async fn delete(pool: &Pool, volume: VolumeId, number: u64) -> Result<()> {
    Ok(pool.world().objects.delete(&names::head(volume, number)).await?)
}
