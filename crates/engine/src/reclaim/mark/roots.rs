//! Who is a root: the heads that a LIST shows, and those that somebody reads. What hangs below one is `walk`'s.

use std::collections::BTreeMap;

use esker_format::{
    head::{Head, HeadKind},
    ids::{RunId, VolumeId},
    names,
    property::History,
};
use esker_io::{Bug, planted};
use futures_util::{StreamExt, stream};

use super::{
    super::{delete, released::is_over},
    Mark,
};
use crate::{
    EngineError, Result,
    birth::{Fate, Pin},
    pool::Pool,
    recover::effective,
};

/// Heads that are read at once.
const HEADS_AT_ONCE: usize = 16;

/// All heads of a pool, by volume, ascending.
pub(in crate::reclaim) type Listed = BTreeMap<VolumeId, Vec<u64>>;

/// Who wrote a volume's newest head.
#[derive(Debug, Clone)]
pub(in crate::reclaim) struct Newest {
    pub(in crate::reclaim) kind: HeadKind,
    pub(in crate::reclaim) run: RunId,
    number: u64,
    pub(in crate::reclaim) history: History,
    /// It is not born.
    pub(in crate::reclaim) pin: Option<Pin>,
    /// Numbers below or above it that no history goes through.
    strays: Vec<u64>,
}

impl Newest {
    fn is_written_by(&self, run: RunId) -> bool {
        self.run == run && matches!(self.kind, HeadKind::Data | HeadKind::Claim)
    }
}

/// How a head is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::reclaim) enum Age {
    /// What it shows: it is its volume's newest, or somebody reads it.
    Newest,
    /// All that it names.
    Older,
}

impl Mark {
    /// Looks who wrote the newest head of each volume of which a listed head was not looked at. False when heads came
    /// and went meanwhile, so that a volume's newest one was not seen: list again.
    pub(in crate::reclaim) async fn look(&mut self, pool: &Pool, listed: &Listed) -> Result<bool> {
        let mut all_seen = true;
        for (volume, numbers) in listed {
            if !self.has_new(*volume, numbers) {
                continue;
            }
            match pool.newest_of(*volume, numbers).await {
                Err(error) => {
                    self.pass_over(*volume, stopped_by(&names::heads(*volume), error))?;
                    self.heads.extend(numbers.iter().map(|number| (*volume, *number)));
                }
                Ok(None) => all_seen = false,
                Ok(Some(newest)) => {
                    let Head { kind, run, number, .. } = newest.head;
                    let history = effective(&newest.head.properties, &pool.record().properties).history;
                    let pin = (kind == HeadKind::Unborn).then(|| Pin::of(&newest));
                    let strays = newest.strays;
                    self.newest.insert(*volume, Newest { kind, run, number, history, pin, strays });
                }
            }
        }
        Ok(all_seen)
    }

    fn has_new(&self, volume: VolumeId, numbers: &[u64]) -> bool {
        numbers.iter().any(|number| !self.heads.contains(&(volume, *number)))
    }

    /// Marks what the listed heads reach, as far as it is not marked. All were looked at. The newest heads of what `run`
    /// writes come first: a page is walked once, and so it is known which segments they name. Then the newest ones of
    /// others, so that what a head shows is told from what older ones may only name.
    pub(in crate::reclaim) async fn add(&mut self, pool: &Pool, listed: &Listed, run: RunId) -> Result<()> {
        for own in [true, false] {
            self.open = own;
            for (volume, numbers) in listed {
                let newest = self.newest.get(volume).filter(|newest| newest.is_written_by(run) == own);
                let newest = newest.filter(|newest| numbers.contains(&newest.number)).cloned();
                if let Some(newest) = newest {
                    self.add_volume(pool, *volume, &[newest.number], &newest).await?;
                }
            }
        }
        for (volume, numbers) in listed {
            if let Some(newest) = self.newest.get(volume).cloned().filter(|_| self.has_new(*volume, numbers))
            {
                self.add_volume(pool, *volume, numbers, &newest).await?;
            }
        }
        Ok(())
    }

    async fn add_volume(
        &mut self,
        pool: &Pool,
        volume: VolumeId,
        numbers: &[u64],
        newest: &Newest,
    ) -> Result<()> {
        let fresh = numbers.iter().copied().filter(|number| !self.heads.contains(&(volume, *number)));
        // Rule H3: a stray is no root, or one would stop reclaim for ever. Rule H6: of a deleted volume nothing is.
        let deleted = newest.kind == HeadKind::Deleted;
        let (none, fresh): (Vec<u64>, Vec<u64>) =
            fresh.partition(|number| deleted || newest.strays.contains(number));
        self.heads.extend(none.into_iter().map(|number| (volume, number)));
        let gets = fresh.into_iter().map(|number| async move { (number, pool.head(volume, number).await) });
        let gets = gets.collect::<Vec<_>>();
        let mut gets = stream::iter(gets).buffered(HEADS_AT_ONCE);
        while let Some((number, head)) = gets.next().await {
            match head {
                // Thinned meanwhile, and no root any more; its successors are in the next LIST. If it is there, too, only
                // this answer was wrong.
                Ok(None) => continue,
                // Heads live above it: a burial that came when its number was free again, and never was (rule H2).
                Ok(Some(head)) if head.kind == HeadKind::Deleted => {}
                Ok(Some(head)) => {
                    let age = if number == newest.number { Age::Newest } else { Age::Older };
                    let outcome = match head.kind {
                        HeadKind::Unborn => self.unborn(pool, &head, age).await,
                        _ => self.root(pool, &head, &names::head(volume, number), age).await,
                    };
                    match outcome {
                        Err(error @ EngineError::Damaged { .. })
                            if age == Age::Older && is_over(pool, volume, number, newest.history).await? =>
                        {
                            tracing::warn!(%volume, number, %error, "an old head came back late, and goes again");
                            if !self.looks_only {
                                delete(pool, volume, number).await?;
                            }
                        }
                        outcome => outcome?,
                    }
                }
                Err(error) => self.pass_over(volume, stopped_by(&names::head(volume, number), error))?,
            }
            self.heads.insert((volume, number));
        }
        Ok(())
    }

    /// Marks what a volume reaches that was not born, or not when its first head was written. That it cannot be read
    /// stops no round: it never was a root that somebody could rely on (rule R6). What was born is judged by the heads
    /// that say so.
    async fn unborn(&mut self, pool: &Pool, head: &Head, age: Age) -> Result<()> {
        if planted(Bug::UnbornNotRoot) {
            return Ok(());
        }
        match self.root(pool, head, &names::head(head.volume, head.number), age).await {
            Err(error @ EngineError::Damaged { .. }) if !planted(Bug::UnbornNotBuried) => {
                tracing::warn!(volume = %head.volume, %error, "a fork or snapshot that was never finished");
                self.bury(pool, head.volume).await
            }
            outcome => outcome,
        }
    }

    /// Buries a volume, if it is not born. One that is born meanwhile has a head that the next LIST shows.
    pub(in crate::reclaim) async fn bury(&mut self, pool: &Pool, volume: VolumeId) -> Result<()> {
        let Some(newest) = self.newest.get_mut(&volume) else { return Ok(()) };
        if let Some(pin) = &newest.pin
            && (self.looks_only || pin.bury(pool).await? == Fate::Buried)
        {
            (newest.kind, newest.pin) = (HeadKind::Deleted, None);
            self.buried += 1;
        }
        Ok(())
    }

    /// Marks what a head reaches; of an older one, perhaps, more than that.
    pub(in crate::reclaim) async fn root(
        &mut self,
        pool: &Pool,
        head: &Head,
        name: &str,
        age: Age,
    ) -> Result<()> {
        self.roots += 1;
        let outcome = match age {
            Age::Newest => self.shown(pool, head).await,
            Age::Older => self.named(pool, head).await,
        };
        outcome.or_else(|error| self.pass_over(head.volume, stopped_by(name, error)))
    }

    /// Rule R13: a root that cannot be read ends the round, unless its volume was set aside.
    fn pass_over(&self, volume: VolumeId, error: EngineError) -> Result<()> {
        if matches!(error, EngineError::Damaged { .. }) && self.set_aside.has(volume) {
            tracing::warn!(%volume, %error, "a volume in quarantine is passed over");
            return Ok(());
        }
        if planted(Bug::UnreadablePassed) { Ok(()) } else { Err(error) }
    }
}

/// Says which root stopped the round, and what to do.
fn stopped_by(root: &str, error: EngineError) -> EngineError {
    match error {
        EngineError::Store(_) => error,
        error => EngineError::Damaged {
            object: root.to_owned(),
            message: format!(
                "what it reaches cannot be read, so nothing is deleted in this pool (rule R13): {error}; put the object \
                 back, delete the volume, or set it aside: esker quarantine VOLUME"
            ),
        },
    }
}
