//! Comparing two states, and what the answer has to say: a range that is not named holds the same bytes, one that is
//! named says what is there.

use esker_engine::{
    EngineError,
    diff::{Change, Kind, NamedState, Walk},
    pool::Pool,
};
use futures_util::future::try_join;

use super::{
    Family,
    members::{BLOCKS, Image, Presence, is_snapshot, pick},
    runs::{CACHE_BYTES, End},
    steps::{About, BLOCK},
};
use crate::lab::{Outcome, violation};

/// Two states, as the store has them.
struct Compared {
    /// The last sequence of each.
    sequences: [u64; 2],
    changes: Vec<Change>,
}

impl Family {
    /// Compares two states of members, or of their histories, in the store, or a volume as it is with a state of before.
    pub(super) fn compare_some(&mut self, volume: &str) -> Outcome<About> {
        let states = self.states();
        let Some(from) = pick(&mut self.random, &states) else { return Ok(About::All) };
        if self.random.chance(500_000) {
            self.compare_open(volume, &from)?;
        } else {
            let to = self.random.pick(&states).clone();
            self.compare_stored(&from, &to)?;
        }
        Ok(About::One(volume.to_owned()))
    }

    /// The names of states that can be compared.
    fn states(&self) -> Vec<String> {
        let mut states = self.members.that_are(Presence::There);
        for name in self.members.open() {
            let points = &self.members.get(&name).points;
            states.extend(points.iter().map(|(head, _)| format!("{name}#{head}")));
        }
        states
    }

    /// What a state holds; `None` when it is from before all that is known.
    fn image_of(&self, state: &str, sequence: u64) -> Option<Image> {
        match state.split_once('#') {
            Some((name, head)) => {
                let points = &self.members.get(name).points;
                points.iter().find(|(number, _)| number.to_string() == head).map(|(_, image)| *image)
            }
            None if is_snapshot(state) => Some(self.members.get(state).image),
            None => self.members.get(state).at(sequence).copied(),
        }
    }

    fn compare_stored(&mut self, from: &str, to: &str) -> Outcome {
        self.began("compare", format!("compare {from} with {to}"));
        let found = match self.compared(from, to)? {
            Ok(found) => found,
            // A head was thinned away.
            Err(EngineError::NotFound(_)) if from.contains('#') || to.contains('#') => return Ok(()),
            Err(error) => return Err(violation(format!("{from} and {to} cannot be compared: {error}"))),
        };
        let [older, newer] = found.sequences;
        let images = self.image_of(from, older).zip(self.image_of(to, newer));
        let Some((older, newer)) = images else {
            return Err(violation(format!("{from} and {to} are at sequences {:?} (I6)", found.sequences)));
        };
        let kinds =
            kinds(&found.changes).map_err(|message| violation(format!("{from} to {to}: {message}")))?;
        for (lba, kind) in kinds.iter().enumerate() {
            let right = match kind {
                None => older[lba] == newer[lba],
                Some(Kind::Data) => newer[lba] != 0,
                Some(Kind::Zero | Kind::Hole) => newer[lba] == 0,
            };
            if !right {
                let (older, newer) = (older[lba], newer[lba]);
                return Err(violation(format!(
                    "{from} to {to}, block {lba}: write {older} became write {newer}, and a comparison says {kind:?}"
                )));
            }
        }
        Ok(())
    }

    /// A fork that nobody has written differs in nothing from what it was made of.
    pub(super) fn check_alike(&mut self, source: &str, fork: &str) -> Outcome {
        match self.compared(source, fork)? {
            Ok(Compared { changes, .. }) if changes.is_empty() => Ok(()),
            Ok(Compared { changes, .. }) => {
                Err(violation(format!("{fork} differs from {source}: {changes:?}")))
            }
            Err(error) => Err(violation(format!("{source} and {fork} cannot be compared: {error}"))),
        }
    }

    fn compared(&self, from: &str, to: &str) -> Outcome<Result<Compared, EngineError>> {
        let (world, from, to) = (self.auditor.world(), from.to_owned(), to.to_owned());
        self.answer(self.auditor.spawn("compare", async move {
            let pool = Pool::open(world, CACHE_BYTES).await?;
            let (from, to) = try_join(NamedState::find(&pool, &from), NamedState::find(&pool, &to)).await?;
            let from = from.against(to.volume);
            let mut walk = Walk::new(pool.fetcher(), &from.state, &to.state, 0..to.state.blocks);
            let mut changes = Vec::new();
            while let Some(found) = walk.next().await? {
                changes.extend(found);
            }
            Ok(Compared { sequences: [from.sequence, to.sequence], changes })
        }))
    }

    /// What a volume that is open has changed since a state, its own or another's.
    fn compare_open(&mut self, name: &str, from: &str) -> Outcome {
        self.began("compare with now", format!("compare {name} now with {from}"));
        let volume = self.members.get(name).volume.clone().expect("it is one of those that are open");
        let wanted = if from.contains(['@', '#']) { from.to_owned() } else { return Ok(()) };
        let end = self.attempt("compare", async move {
            let state = volume.compared_with(&wanted).await?;
            volume.changed_since(&state, 0, BLOCKS * BLOCK, usize::MAX).await
        })?;
        let stretches = match end {
            End::Done(stretches) => stretches,
            End::Refused(EngineError::NotFound(_)) if from.contains('#') => return Ok(()),
            End::Refused(error) => {
                return Err(violation(format!("{name} cannot be compared with {from}: {error}")));
            }
            End::Failed | End::Cut => return Ok(()),
        };
        let older = self.image_of(from, 0).expect("of heads and snapshots it is known what they hold");
        let newer = self.members.get(name).image;
        let blocks = stretches.iter().flat_map(|(bytes, changed)| (0..bytes / BLOCK).map(move |_| *changed));
        let changed: Vec<bool> = blocks.collect();
        if changed.len() as u64 != BLOCKS {
            return Err(violation(format!("{from} to {name} now: {stretches:?} are not {BLOCKS} blocks")));
        }
        let wrong = (0..BLOCKS as usize).find(|lba| !changed[*lba] && older[*lba] != newer[*lba]);
        wrong.map_or(Ok(()), |lba| {
            let (older, newer) = (older[lba], newer[lba]);
            Err(violation(format!(
                "{from} to {name} now, block {lba}: write {older} became write {newer}, and a comparison says nothing"
            )))
        })
    }
}

/// What a comparison says of each block.
fn kinds(changes: &[Change]) -> Result<[Option<Kind>; BLOCKS as usize], String> {
    let mut kinds = [None; BLOCKS as usize];
    let mut end = 0;
    for change in changes {
        if change.lba < end || change.blocks == 0 || change.lba + change.blocks > BLOCKS {
            return Err(format!("{change:?} is not in order, or of blocks that nobody writes: {changes:?}"));
        }
        end = change.lba + change.blocks;
        kinds[change.lba as usize..end as usize].fill(Some(change.kind));
    }
    Ok(kinds)
}
