//! THE deleter of objects. Heads go at once: each owner thins its own ([`Heads`]). Segments and packs go in a round,
//! with grace ([`round`]).

mod mark;
pub mod round;
mod uses;
mod waiting;

use std::collections::BTreeMap;

use esker_format::{ids::VolumeId, names};
use esker_io::{Bug, planted};

use crate::{
    Result,
    core::heads::{HeadFacts, deletable},
    pool::Pool,
};

pub(crate) use uses::InFlight;
pub use uses::Uses;

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
        for number in unread {
            match pool.head(volume, number).await? {
                Some(head) => self.known.insert(number, Some(HeadFacts::of(&head))),
                None => self.known.remove(&number),
            };
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
        for number in gone.into_iter().take(DELETIONS_PER_PASS) {
            delete(pool, volume, number).await?;
            self.known.remove(&number);
        }
        while let Some(stray) = self.strays.last() {
            delete(pool, volume, *stray).await?;
            self.strays.pop();
        }
        Ok(before - self.count())
    }
}

async fn delete(pool: &Pool, volume: VolumeId, number: u64) -> Result<()> {
    Ok(pool.world().objects.delete(&names::head(volume, number)).await?)
}
