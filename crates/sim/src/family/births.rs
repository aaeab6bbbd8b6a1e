//! How members come to be, and go back to what they were.

use std::time::Duration;

use esker_engine::{EngineError, host::Target};
use esker_format::{
    names::snapshot_name,
    property::{Compression, Durability, History, Properties},
};

use super::{
    Family,
    members::{BLOCKS, Image, Presence, is_snapshot, pick},
    runs::End,
    steps::About,
};
use crate::lab::{Outcome, violation};

/// Each volume's size: the smallest.
const SIZE_BYTES: u64 = 1 << 20;

impl Family {
    pub(super) fn create(&mut self) -> Outcome<About> {
        if self.is_full() {
            return Ok(About::All);
        }
        let name = self.fresh_name();
        self.began("create", format!("create {name}"));
        let properties = Properties {
            durability: Some(*self.random.pick(&[Durability::Ephemeral, Durability::Bounded { seconds: 1 }])),
            compression: Some(Compression::Lz4),
            history: History::of_seconds(*self.random.pick(&[0, 5, 3_600])),
            ..Properties::default()
        };
        let (engine, named) = (self.engine(), name.clone());
        let end =
            self.attempt("create", async move { engine.create(&named, SIZE_BYTES, properties).await })?;
        self.made(&name, [0; BLOCKS as usize], None, &end)?;
        Ok(About::One(name))
    }

    pub(super) fn snapshot(&mut self, name: &str) -> Outcome<About> {
        if self.is_full() {
            return Ok(About::One(name.to_owned()));
        }
        let snapshot = self.fresh_name();
        self.began("snapshot", format!("snapshot {name}@{snapshot}"));
        let before = self.members.get(name).image;
        let (engine, of, called) = (self.engine(), name.to_owned(), snapshot.clone());
        let made =
            self.host.spawn("snapshot", async move { engine.snapshot(&of, &called, Vec::new()).await });
        // A guest may write meanwhile: the snapshot holds that write or not.
        if self.random.chance(300_000) {
            let ms = self.random.below(30);
            self.run_for(Duration::from_millis(ms))?;
            if !made.is_done() {
                self.write(name)?;
            }
        }
        let end = self.end_of(made)?;
        let member = self.members.get_mut(name);
        let after = member.image;
        if let End::Done(head) = &end
            && before == after
        {
            let source = head.lineage.source.expect("a snapshot has a source");
            member.points.push((source.head, before));
        }
        let snapshot = snapshot_name(name, &snapshot);
        self.made(&snapshot, before, Some(name), &end)?;
        if before != after {
            self.members.get_mut(&snapshot).may_hold(after);
        }
        Ok(About::One(snapshot))
    }

    pub(super) fn fork(&mut self) -> Outcome<About> {
        let Some(source) = pick(&mut self.random, &self.members.that_are(Presence::There)) else {
            return Ok(About::All);
        };
        if self.is_full() {
            return Ok(About::One(source));
        }
        let name = self.fresh_name();
        self.began("fork", format!("fork {source} into {name}"));
        let (engine, of, called) = (self.engine(), source.clone(), name.clone());
        let end = self.attempt("fork", async move { engine.fork(&of, &called).await })?;
        let image = self.members.get(&source).image;
        self.made(&name, image, Some(&source), &end)?;
        if matches!(end, End::Done(_)) && is_snapshot(&source) {
            self.check_alike(&source, &name)?;
        }
        Ok(About::One(name))
    }

    /// What came of a step that makes a member.
    fn made<T>(&mut self, name: &str, image: Image, source: Option<&str>, end: &End<T>) -> Outcome {
        let presence = match end {
            End::Done(_) => Presence::There,
            End::Failed | End::Cut => Presence::Unclear,
            End::Refused(error) => return Err(violation(format!("{name} is not made: {error}"))),
        };
        let member = self.members.add(name, image, presence);
        member.source = source.map(str::to_owned);
        if matches!(end, End::Done(_)) && !is_snapshot(name) { self.open(name) } else { Ok(()) }
    }

    pub(super) fn rewind(&mut self, name: &str) -> Outcome<About> {
        let member = self.members.get(name);
        let heads = member.points.iter().map(|(head, image)| (Target::Head(*head), *image));
        let image_of = |snapshot: &String| self.members.get(&snapshot_name(name, snapshot)).image;
        let snapshots = self.members.snapshots(name);
        let snapshots =
            snapshots.iter().map(|snapshot| (Target::Snapshot(snapshot.clone()), image_of(snapshot)));
        let targets: Vec<(Target, Image)> = heads.chain(snapshots).collect();
        if targets.is_empty() || self.is_full() {
            return Ok(About::One(name.to_owned()));
        }
        let (to, image) = self.random.pick(&targets).clone();
        if self.random.chance(300_000) {
            self.rewind_as(name, to, image)?;
        } else {
            self.rewind_here(name, to, image)?;
        }
        Ok(About::All)
    }

    fn rewind_as(&mut self, name: &str, to: Target, image: Image) -> Outcome {
        let new = self.fresh_name();
        self.began("rewind into a fork", format!("rewind {name} to {to:?} as {new}"));
        let (engine, of, called) = (self.engine(), name.to_owned(), new.clone());
        match self.attempt("rewind", async move { engine.rewind_as(&of, &to, &called).await })? {
            // The head was thinned away.
            End::Refused(EngineError::NotFound(_)) => Ok(()),
            end => self.made(&new, image, None, &end),
        }
    }

    fn rewind_here(&mut self, name: &str, to: Target, image: Image) -> Outcome {
        self.began("rewind in place", format!("rewind {name} to {to:?}"));
        let (engine, of) = (self.engine(), name.to_owned());
        let before = self.members.get(name).image;
        let end = self.attempt("rewind", async move { engine.rewind(&of, &to, &|| 0).await })?;
        match &end {
            End::Done(rewound) => {
                let kept = rewound.kept.as_ref().expect("the state from before is kept");
                self.members.get_mut(name).image = image;
                self.members.add(kept, before, Presence::There);
            }
            // The head was thinned away, or is the one that the volume has.
            End::Refused(EngineError::NotFound(_) | EngineError::Invalid(_)) => {
                self.kept.push((name.to_owned(), before));
            }
            End::Refused(error) => return Err(violation(format!("{name} is not rewound: {error}"))),
            End::Failed => {
                self.members.get_mut(name).may_hold(image);
                self.kept.push((name.to_owned(), before));
            }
            End::Cut => {
                self.members.get_mut(name).may_hold(image);
                self.kept.push((name.to_owned(), before));
                return Ok(());
            }
        }
        // Guests get it back, once the store lets them.
        self.open(name)
    }
}
