//! What each member of a family must hold, and what it may hold where a step ended without an answer.

use std::{collections::BTreeMap, sync::Arc};

use esker_engine::volume::Volume;
use esker_format::{BLOCK_BYTES, names};

use crate::{
    Prng, Stamp,
    lab::{Outcome, violation},
};

/// The blocks of each member that are ever written.
pub(super) const BLOCKS: u64 = 24;

/// Which write each block holds; zero is zeros.
pub(super) type Image = [u64; BLOCKS as usize];

/// Whether a member exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// It does.
    There,
    /// Nobody knows how the step ended that makes it: it is there, will be, or never was.
    Unclear,
    /// Nobody knows how the step ended that deletes it: it is there, or was deleted.
    Going,
}

/// A volume or a snapshot.
#[derive(Clone)]
pub(super) struct Member {
    pub(super) presence: Presence,
    pub(super) image: Image,
    /// What it may hold instead when it is looked at next.
    others: Vec<Image>,
    /// What it held from some sequence on: of a volume, since it was there.
    states: BTreeMap<u64, Image>,
    /// Up to here a flush has answered.
    flushed: u64,
    /// What it held as of some of its heads.
    pub(super) points: Vec<(u64, Image)>,
    /// What it was made from, if that can be done again: nothing has changed there since.
    pub(super) source: Option<String>,
    /// The volume, open for writing; none of a snapshot.
    pub(super) volume: Option<Arc<Volume>>,
}

impl Member {
    fn last(&self) -> u64 {
        self.volume.as_ref().map_or(0, |volume| volume.last_sequence().0)
    }

    /// Its image is another one, by a change of a guest.
    pub(super) fn changed(&mut self, image: Image) {
        self.image = image;
        self.states.insert(self.last(), image);
    }

    /// A flush has answered.
    pub(super) fn flushed(&mut self) {
        self.flushed = self.last();
    }

    /// It may hold this as well when it is looked at next.
    pub(super) fn may_hold(&mut self, image: Image) {
        self.others.push(image);
    }

    /// Whether it is known what it holds.
    pub(super) fn is_settled(&self) -> bool {
        self.others.is_empty()
    }

    /// What it held at a sequence; `None` where that was before it was opened first.
    pub(super) fn at(&self, sequence: u64) -> Option<&Image> {
        self.states.range(..=sequence).next_back().map(|(_, image)| image)
    }

    /// The run that had it open is over.
    fn closed(&mut self) {
        self.volume = None;
        self.flushed = 0;
    }

    /// The power failed: what was neither flushed nor committed may be lost, from the end.
    fn lost_power(&mut self) {
        if let Some(volume) = &self.volume {
            let floor = self.flushed.max(volume.committed_sequence().0);
            let kept = self.at(floor).copied();
            self.others.extend(kept.into_iter().chain(self.states.range(floor..).map(|(_, image)| *image)));
        }
        self.closed();
    }
}

/// All members, by name.
#[derive(Default)]
pub(super) struct Members {
    all: BTreeMap<String, Member>,
    contents: Contents,
}

impl Members {
    pub(super) fn add(&mut self, name: &str, image: Image, presence: Presence) -> &mut Member {
        let member = Member {
            presence,
            image,
            others: Vec::new(),
            states: BTreeMap::new(),
            flushed: 0,
            points: Vec::new(),
            source: None,
            volume: None,
        };
        let before = self.all.insert(name.to_owned(), member);
        assert!(before.is_none(), "a step gives each member a new name");
        self.get_mut(name)
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.all.remove(name);
    }

    /// The run that had them open has ended in order, or was killed.
    pub(super) fn closed(&mut self) {
        self.all.values_mut().for_each(Member::closed);
    }

    /// The host that had them open has lost its power.
    pub(super) fn lost_power(&mut self) {
        self.all.values_mut().for_each(Member::lost_power);
    }

    pub(super) fn get(&self, name: &str) -> &Member {
        &self.all[name]
    }

    pub(super) fn get_mut(&mut self, name: &str) -> &mut Member {
        self.all.get_mut(name).expect("a step picks among the members")
    }

    pub(super) fn knows(&self, name: &str) -> bool {
        self.all.contains_key(name)
    }

    pub(super) fn count(&self) -> usize {
        self.all.len()
    }

    pub(super) fn all(&self) -> Vec<String> {
        self.all.keys().cloned().collect()
    }

    /// Those of this kind.
    pub(super) fn that_are(&self, presence: Presence) -> Vec<String> {
        self.all
            .iter()
            .filter(|(_, member)| member.presence == presence)
            .map(|(name, _)| name.clone())
            .collect()
    }

    pub(super) fn volumes(&self) -> Vec<String> {
        self.all.keys().filter(|name| !is_snapshot(name)).cloned().collect()
    }

    /// The volumes that are open, and there to stay.
    pub(super) fn open(&self) -> Vec<String> {
        let mut there = self.that_are(Presence::There);
        there.retain(|name| self.get(name).volume.is_some());
        there
    }

    /// The snapshots of a volume that are there, without its name.
    pub(super) fn snapshots(&self, volume: &str) -> Vec<String> {
        let there = self.all.iter().filter(|(_, member)| member.presence == Presence::There);
        let parts = there.filter_map(|(name, _)| names::snapshot_parts(name));
        parts.filter(|(of, _)| *of == volume).map(|(_, snapshot)| snapshot.to_owned()).collect()
    }

    /// A volume was opened, by a run that knows its outcome: it holds one of the images that it may hold.
    pub(super) fn opened(&mut self, name: &str, volume: Arc<Volume>, found: &[u8]) -> Outcome {
        self.compare(name, found)?;
        let member = self.get_mut(name);
        let sequence = volume.last_sequence().0;
        // What was lost is given again (invariant 3).
        member.states.split_off(&(sequence + 1));
        member.states.insert(sequence, member.image);
        member.presence = Presence::There;
        if member.volume.as_ref().is_none_or(|before| !Arc::ptr_eq(before, &volume)) {
            // An opening syncs what it replays.
            member.flushed = sequence;
        }
        member.volume = Some(volume);
        Ok(())
    }

    /// Compares what was read of a member with what it must hold. If it may hold several images, it is settled now.
    pub(super) fn compare(&mut self, name: &str, found: &[u8]) -> Outcome {
        let image = self.get(name).image;
        let mut outcome = self.compare_with(name, &image, found);
        for image in std::mem::take(&mut self.get_mut(name).others) {
            if outcome.is_err() && self.compare_with(name, &image, found).is_ok() {
                self.get_mut(name).image = image;
                outcome = Ok(());
            }
        }
        outcome
    }

    /// Compares what was read with an image.
    pub(super) fn compare_with(&mut self, name: &str, image: &Image, found: &[u8]) -> Outcome {
        for (lba, (write, block)) in (0..).zip(image.iter().zip(found.chunks_exact(BLOCK_BYTES))) {
            if self.contents.of(lba, *write) != block {
                let found = match Stamp::read(block) {
                    Some(stamp) => format!("write {} of block {}", stamp.write, stamp.lba),
                    None => "no write".to_owned(),
                };
                let message = format!("{name}, block {lba}: expected write {write}, found {found} (I4, I8)");
                return Err(violation(message));
            }
        }
        Ok(())
    }
}

pub(super) fn is_snapshot(name: &str) -> bool {
    names::snapshot_parts(name).is_some()
}

/// Some member.
pub(super) fn pick(random: &mut Prng, among: &[String]) -> Option<String> {
    (!among.is_empty()).then(|| random.pick(among).clone())
}

/// Blocks that were asked for: each is compared many times.
#[derive(Default)]
pub(super) struct Contents(BTreeMap<(u64, u64), Box<[u8; BLOCK_BYTES]>>);

impl Contents {
    /// The contents of a block.
    pub(super) fn of(&mut self, lba: u64, write: u64) -> &[u8; BLOCK_BYTES] {
        self.0.entry((lba, write)).or_insert_with(|| Box::new(contents(lba, write)))
    }
}

/// The contents of a block.
pub(super) fn contents(lba: u64, write: u64) -> [u8; BLOCK_BYTES] {
    if write == 0 { [0; BLOCK_BYTES] } else { Stamp { volume: 1, lba, write, epoch: 0 }.block() }
}
