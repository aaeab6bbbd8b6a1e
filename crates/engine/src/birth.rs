//! How a fork or a snapshot is born: pin, look, use (rules R6, R7, R8).
//!
//! ```text
//! source  v/98 ← v/99 ← v/100 ←──────────── v/101 …            its chain goes on, or ends with a deletion
//!                         │ the same root and tail, no pieces
//! new                    F/1 unborn ← F/2 released: a fork │ frozen: a snapshot │ deleted: it never was
//! ```
//! In numbered steps:
//! 1. Pin: PUT F/1, unborn, with a random id and the root and the tail of the source. From here on it is a root.
//! 2. The name, if it is to have one, is given to F. Nobody can open F yet.
//! 3. Look: a LIST of the source's heads, made now, still shows the head that was pinned, and no deletion.
//! 4. Use: PUT F/2, released or frozen. F is born.
//! 5. Or bury it: PUT F/2, deleted. Whoever wins number 2 decides, and it is taken for ever (rule H1).
//!
//! **Why that is safe.** What the pin names was whole when the source's head was a root. If the look shows that head,
//! it was a root until after the pin was there; so at every moment the one or the other was, and no round can have
//! found dead what they name: a mark is valid only if a LIST made after it shows no head that it did not mark (rule R7).
//! If the look does not show it, the pin may name what is gone, and nobody gets it.
//!
//! **After a crash**, or a request that is late for ever:
//! - before 1: nothing is there. A late F/1 is as after 1.
//! - after 1 or 2: an unborn head, a root that nobody can rely on. Reclaim buries it once its source is gone, what it
//!   names cannot be read, or it is old ([`crate::reclaim`]); it stops no round. Its name says that it was never
//!   finished; who wants the name buries F and takes it over.
//! - after 3: the same; a late F/2 finds number 2 taken, or makes F after all, whose pin was a root all the time.
//! - after 4: F is like every other volume.
//!
//! Only a volume's own heads may name its heads: what the source holds in pieces is written as a segment before the
//! pin (rule H7, [`State::of_newest`]).

mod group;
mod label;
mod source;

use std::sync::Arc;

use esker_format::{
    head::{Head, HeadKind, Lineage, Previous, Source},
    ids::{AttemptId, Hash, LogId, VolumeId},
    names,
};
use esker_io::{Bug, planted};

use crate::{
    EngineError, Result,
    commit::Owner,
    pool::{Newest, Place, Pool, create},
    upload::Settled,
    uses::{InFlight, Sent},
};

pub(crate) use group::points;
pub use label::Labels;
pub(crate) use label::relabel;
pub use source::Making;
pub(crate) use source::check_alive;

/// The state of a volume that can be pinned: all of it is in pages and segments.
pub struct State {
    head: Head,
    /// Segments that no head names yet.
    held: Vec<Arc<InFlight>>,
}

/// A volume that is not born yet.
#[derive(Debug, Clone)]
pub struct Pin {
    first: Head,
    hash: Hash,
    /// The head that it was made from; who only found the pin knows its number.
    attempt: Option<AttemptId>,
}

/// What came of a pin that was to be buried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It will never be born.
    Buried,
    /// It was born meanwhile.
    Born,
}

impl State {
    /// What `head` says without its pieces: exactly what its root and its segments hold. A prefix of the history, for
    /// segments leave out nothing but what they themselves overwrite (rule W6).
    pub fn of(head: &Head) -> State {
        let head = Head { sequence: head.covered(), pieces: Vec::new(), piece: Vec::new(), ..head.clone() };
        State { head, held: Vec::new() }
    }

    /// The head that it was taken from, as far as it can be pinned.
    pub fn head(&self) -> &Head {
        &self.head
    }
}

impl Pool {
    /// Steps 1 and 2. `lineage` says what the new volume is called; where it comes from is added.
    pub async fn pin(
        &self,
        state: State,
        place: Option<Place>,
        lineage: Lineage,
        owner: Owner,
    ) -> Result<Pin> {
        let State { head: source, held } = state;
        assert!(source.pieces.is_empty(), "a pin names no head of another volume (rule H7)");
        let from = Source { volume: source.volume, head: source.number };
        let first = Head {
            volume: VolumeId(self.world().random.id()),
            number: 1,
            epoch: 1,
            attempt: AttemptId(self.world().random.id()),
            previous: None,
            kind: HeadKind::Unborn,
            run: owner.run,
            directory: owner.directory,
            // Rule H5: no log belongs to it.
            log: LogId([0; 16]),
            written_ms: self.world().clock.wall_ms(),
            lineage: Lineage { source: Some(from), ..lineage },
            ..source.clone()
        };
        let sent = Sent::new(first.volume, held);
        let hash = self.put(&first).await?.ok_or_else(|| EngineError::Damaged {
            object: names::head(first.volume, 1),
            message: "expected no volume of an id just drawn, found a head".to_owned(),
        })?;
        sent.settled();
        let pin = Pin { first, hash, attempt: Some(source.attempt) };
        if let Some(place) = place
            && let Err(error) = self.bind(place, pin.volume()).await
        {
            pin.bury(self).await?;
            return Err(error);
        }
        Ok(pin)
    }

    /// The volume of this id, if it is not born.
    pub async fn unborn(&self, volume: VolumeId) -> Result<Option<Pin>> {
        let newest = self.newest_head(volume).await?;
        Ok((newest.head.kind == HeadKind::Unborn).then(|| Pin::of(&newest)))
    }

    /// The hash of what was put; `None` when somebody else's head is there.
    async fn put(&self, head: &Head) -> Result<Option<Hash>> {
        let encoded = head.encode();
        let hash = Hash::of(&encoded);
        let held = create(self.world(), &names::head(head.volume, head.number), encoded).await?;
        Ok((held == Settled::Ours).then_some(hash))
    }
}

impl Pin {
    /// The pin that a volume's newest head is.
    pub fn of(newest: &Newest) -> Pin {
        assert_eq!(newest.head.kind, HeadKind::Unborn, "only what is not born is a pin");
        Pin { first: newest.head.clone(), hash: newest.hash, attempt: None }
    }

    /// The new volume.
    pub fn volume(&self) -> VolumeId {
        self.first.volume
    }

    /// Its first head.
    pub fn head(&self) -> &Head {
        &self.first
    }

    /// What it was made from.
    pub fn source(&self) -> Source {
        self.first.lineage.source.expect("an unborn head names its source")
    }

    /// Step 3: whether the source still is what was pinned. `own` tells the highest head of the source that this run
    /// has committed itself, if it is the source's writer: those are no deletions.
    pub async fn look(&self, pool: &Pool, own: impl Fn() -> u64) -> Result<bool> {
        if planted(Bug::LookSkipped) {
            return Ok(true);
        }
        let Source { volume, head } = self.source();
        let numbers = pool.head_numbers(volume).await?;
        let Some(highest) = numbers.last().copied().filter(|_| numbers.binary_search(&head).is_ok()) else {
            return Ok(false);
        };
        // The newest head is never deleted, so one that is the newest still was never gone (rule H2).
        if highest == head && self.attempt.is_some() {
            return Ok(true);
        }
        if highest > own() {
            let newest = pool.newest_of(volume, &numbers).await?;
            if newest.is_none_or(|newest| newest.head.kind == HeadKind::Deleted) {
                return Ok(false);
            }
        }
        // Rule H2: a number that was free for a while can be taken again.
        let there = pool.head(volume, head).await?;
        Ok(there.is_some_and(|there| self.attempt.is_none_or(|attempt| attempt == there.attempt)))
    }

    /// Step 4: makes it a fork ([`HeadKind::Released`]) or a snapshot ([`HeadKind::Frozen`]).
    ///
    /// # Errors
    /// [`EngineError::Invalid`] when it was buried.
    pub async fn born(&self, pool: &Pool, kind: HeadKind) -> Result<Head> {
        assert!(matches!(kind, HeadKind::Released | HeadKind::Frozen), "born as a fork or as a snapshot");
        let second = Head { epoch: self.first.epoch, ..self.second(pool, kind) };
        if pool.put(&second).await?.is_some() {
            return Ok(second);
        }
        let held = pool.newest_head(self.volume()).await?.head;
        if held.kind == kind {
            // Somebody who found it finished it.
            return Ok(held);
        }
        Err(EngineError::Invalid(format!(
            "volume {} was given up by somebody else before it was finished; make it again",
            self.volume()
        )))
    }

    /// Step 5. A name that it has can be given to another from then on.
    pub async fn bury(&self, pool: &Pool) -> Result<Fate> {
        // Rule W12: never one member alone.
        if self.bury_group(pool).await? == Fate::Born {
            return Ok(Fate::Born);
        }
        let second = Head { epoch: 2, ..self.second(pool, HeadKind::Deleted) };
        if pool.put(&second).await?.is_some() {
            return Ok(Fate::Buried);
        }
        let held = pool.newest_head(self.volume()).await?.head;
        Ok(if held.kind == HeadKind::Deleted { Fate::Buried } else { Fate::Born })
    }

    fn second(&self, pool: &Pool, kind: HeadKind) -> Head {
        Head {
            number: 2,
            attempt: AttemptId(pool.world().random.id()),
            previous: Some(Previous { number: 1, attempt: self.first.attempt, hash: self.hash }),
            kind,
            written_ms: pool.world().clock.wall_ms(),
            ..self.first.clone()
        }
    }
}

#[cfg(test)]
mod tests;
