//! The end of a family: nothing fails any more, and everything that was not clear becomes clear.

use std::time::Duration;

use esker_engine::EngineError;
use esker_format::names::snapshot_parts;

use super::{
    Family,
    members::{Presence, is_snapshot, pick},
    steps::About,
};
use crate::{
    StoreFaults,
    enumerate::LATE,
    lab::{Outcome, violation},
};

/// How long the store may take to have everything once nothing fails any more (I10).
const SETTLED_WITHIN: Duration = Duration::from_secs(30);
/// How many of the last deletions lie between two looks at who is left.
const EVERY: usize = 3;

impl Family {
    /// Faults stop. What was left unclear is done again; then everything is read, given back and reclaimed.
    pub(super) fn end(&mut self) -> Outcome {
        if self.has_faults() || self.plan.cut_ppm > 0 {
            self.machine.store().set_faults(StoreFaults::default());
            self.machine.store().end_outage();
            self.run_for(LATE)?;
            // It may have seen the last of them.
            self.end_round()?;
            if self.engine.is_none() {
                self.start()?;
            }
            self.calm = true;
            self.again()?;
        }
        self.adopt()?;
        self.settle()?;
        self.check(&About::All)?;
        while let Some(name) = pick(&mut self.random, &self.members.all()) {
            self.delete(&name)?;
            if self.members.count().is_multiple_of(EVERY) {
                self.check(&About::All)?;
            }
        }
        for _ in 0..3 {
            self.begin_round()?;
            self.end_round()?;
        }
        let left =
            ["segments/", "pages/", "bundles/"].map(|prefix| self.machine.store().names(prefix)).concat();
        match left.first() {
            Some(name) => {
                Err(violation(format!("all is deleted and reclaimed, and {name} is still there (I7)")))
            }
            None => Ok(()),
        }
    }

    /// Steps that ended without an answer lead to the same state when they are done again (I9).
    fn again(&mut self) -> Outcome {
        for name in self.members.that_are(Presence::Unclear) {
            self.make_again(&name)?;
        }
        for name in self.members.that_are(Presence::Going) {
            let (engine, named) = (self.engine(), name.clone());
            self.began("delete again", format!("delete {name} again"));
            let deleted = self.host.spawn("delete", async move { engine.delete(&named).await });
            match self.answer(deleted)? {
                Ok(()) | Err(EngineError::NotFound(_)) => self.members.remove(&name),
                Err(error) => return Err(violation(format!("{name} is not deleted: {error} (I9)"))),
            }
        }
        Ok(())
    }

    /// Makes a member that may be there. Where its source is not what it was it is deleted, whether it is there or not.
    fn make_again(&mut self, name: &str) -> Outcome {
        let member = self.members.get(name);
        let same = |source: &String| {
            self.members.knows(source) && {
                let source = self.members.get(source);
                source.presence == Presence::There && source.image == member.image && member.is_settled()
            }
        };
        let Some(source) = member.source.clone().filter(same) else {
            self.members.get_mut(name).presence = Presence::Going;
            return Ok(());
        };
        self.began("make again", format!("make {name} of {source} again"));
        let (engine, named) = (self.engine(), name.to_owned());
        let made = self.host.spawn("again", async move {
            match snapshot_parts(&named) {
                Some((_, snapshot)) => engine.snapshot(&source, snapshot, Vec::new()).await,
                None => engine.fork(&source, &named).await,
            }
        });
        match self.answer(made)? {
            Ok(_) | Err(EngineError::Exists(_)) => {}
            Err(error) => return Err(violation(format!("{name} is not made again: {error} (I9)"))),
        }
        self.members.get_mut(name).presence = Presence::There;
        if is_snapshot(name) { Ok(()) } else { self.open(name) }
    }

    /// Finds the snapshots of the states before rewinds that ended without an answer. Other names are nobody's.
    fn adopt(&mut self) -> Outcome {
        let named = self.names()?;
        let unknown: Vec<String> = named.into_iter().filter(|name| !self.members.knows(name)).collect();
        for (name, found) in self.read_stored(unknown)? {
            let of = snapshot_parts(&name).filter(|(_, snapshot)| snapshot.starts_with("before-rewind-"));
            let images = self.kept.iter().filter(|(volume, _)| of.is_some_and(|(of, _)| of == volume));
            let images: Vec<_> = images.map(|(_, image)| *image).collect();
            let found = match found {
                Ok(found) => found,
                // It was never finished, or was given up.
                Err(EngineError::NotFound(_) | EngineError::Invalid(_)) => continue,
                Err(error) => return Err(violation(format!("{name} cannot be read: {error}"))),
            };
            match images.into_iter().find(|image| self.members.compare_with(&name, image, &found).is_ok()) {
                Some(image) => drop(self.members.add(&name, image, Presence::There)),
                None => {
                    return Err(violation(format!("nobody gave the name {name}, or to something else (I9)")));
                }
            }
        }
        Ok(())
    }

    fn names(&self) -> Outcome<Vec<String>> {
        let world = self.auditor.world();
        let names = self
            .answer(self.auditor.spawn("names", async move {
                esker_engine::pool::Pool::open(world, 0).await?.names().await
            }))?;
        Ok(names.map_err(violation)?.into_iter().map(|named| named.name).collect())
    }

    /// The store soon has what its volumes promise (I10).
    fn settle(&mut self) -> Outcome {
        for name in self.members.open() {
            self.write(&name)?;
        }
        self.run_for(SETTLED_WITHIN)?;
        for name in self.members.open() {
            let volume = self.members.get(&name).volume.clone().expect("it is open");
            let status = volume.status();
            let bounded =
                matches!(status.effective.durability, esker_format::property::Durability::Bounded { .. });
            if bounded && status.committed_sequence < status.sequence {
                return Err(violation(format!("the store lacks writes to {name}: {status:?} (I10)")));
            }
        }
        Ok(())
    }
}
