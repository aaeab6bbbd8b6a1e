//! The steps of a family's life.

use std::time::Duration;

use bytes::Bytes;
use esker_engine::{
    EngineError,
    core::victims::Limits,
    reclaim::round::Options,
    volume::{OwnedChange, Scratch, WriteStep},
};
use esker_format::BLOCK_BYTES;

use super::{
    Family,
    members::{BLOCKS, Presence, contents, pick},
    runs::End,
};
use crate::{
    Task,
    enumerate::LATE,
    lab::{Outcome, violation},
};

pub(super) const BLOCK: u64 = BLOCK_BYTES as u64;
/// The most members at a time.
const MEMBERS_MAX: usize = 9;
/// How long rounds let dead objects be: longer than a request may be late. The PUT of a head can come after that head was
/// deleted, by a run that was killed or as the second try of one that lives; then the head is a root again.
const GRACE: Duration = Duration::from_secs(LATE.as_secs() + 1);
/// Everybody is read after so many steps.
const EVERY: u64 = 4;

/// Who is read after a step.
pub(super) enum About {
    /// One member, or one that is no member any more.
    One(String),
    /// Everybody.
    All,
}

impl Family {
    /// One random step, and a look at those whom it was about.
    pub(super) fn step(&mut self, number: u64) -> Outcome {
        let volumes = self.members.open();
        let about = match pick(&mut self.random, &volumes) {
            Some(volume) => self.random_step(&volume)?,
            None => self.create()?,
        };
        if self.round.as_ref().is_some_and(Task::is_done) {
            self.end_round()?;
        }
        // The run may have ended while the step was made.
        if self.engine.is_none() {
            self.start()?;
            return self.check(&About::All);
        }
        self.check(if number.is_multiple_of(EVERY) { &About::All } else { &about })
    }

    fn random_step(&mut self, volume: &str) -> Outcome<About> {
        match self.random.below(100) {
            0..32 => self.write(volume),
            32..38 => self.trim(volume),
            38..41 => self.flush(volume),
            41..49 => self.pass_time(volume),
            49..51 => self.create(),
            51..61 => self.snapshot(volume),
            61..69 => self.fork(),
            69..75 => self.rewind(volume),
            75..83 => self.delete_some(),
            83..91 => self.reclaim(),
            91..94 => self.compare_some(volume),
            94 if self.has_faults() => self.outage(volume),
            94..97 => self.drain().map(|()| About::All),
            _ => {
                self.fall();
                Ok(About::All)
            }
        }
    }

    pub(super) fn write(&mut self, name: &str) -> Outcome<About> {
        // Of a segment of many blocks less than a sixteenth may be left (rule G5).
        let many = self.random.chance(150_000);
        let blocks = if many { BLOCKS - self.random.between(1, 3) } else { self.random.between(1, 6) };
        let lba = self.random.below(BLOCKS - blocks);
        self.next += 1;
        let write = self.next;
        self.began("write", format!("write {write} to {name}: {blocks} blocks at {lba}"));
        let data: Vec<u8> = (lba..lba + blocks).flat_map(|lba| contents(lba, write)).collect();
        self.change(name, OwnedChange::Write { offset: lba * BLOCK, data: Bytes::from(data) })?;
        Ok(self.changed(name, (lba, blocks), write))
    }

    fn trim(&mut self, name: &str) -> Outcome<About> {
        let blocks = self.random.between(1, 12);
        let lba = self.random.below(BLOCKS - blocks);
        self.began("trim", format!("trim {name}: {blocks} blocks at {lba}"));
        self.change(name, OwnedChange::Trim { offset: lba * BLOCK, length: blocks * BLOCK })?;
        Ok(self.changed(name, (lba, blocks), 0))
    }

    fn changed(&mut self, name: &str, (lba, blocks): (u64, u64), write: u64) -> About {
        let member = self.members.get_mut(name);
        let mut image = member.image;
        image[lba as usize..(lba + blocks) as usize].fill(write);
        member.changed(image);
        About::One(name.to_owned())
    }

    fn change(&mut self, name: &str, change: OwnedChange) -> Outcome {
        let volume = self.members.get(name).volume.clone().expect("it is one of those that are open");
        let mut scratch = Scratch::default();
        volume.change(&[change.borrow()], &mut scratch);
        match scratch.steps.pop() {
            Some(WriteStep::Done) => Ok(()),
            Some(WriteStep::Failed(error)) => Err(violation(format!("a change of {name} fails: {error}"))),
            _ => Err(violation(format!("a change of {name} waits, of whole blocks and with room for them"))),
        }
    }

    fn flush(&mut self, name: &str) -> Outcome<About> {
        self.began("flush", format!("flush {name}"));
        let member = self.members.get_mut(name);
        let volume = member.volume.clone().expect("it is one of those that are open");
        volume.flush().map_err(|error| violation(format!("a flush of {name} fails: {error}")))?;
        member.flushed();
        Ok(About::One(name.to_owned()))
    }

    pub(super) fn is_full(&self) -> bool {
        self.members.count() >= MEMBERS_MAX
    }

    fn pass_time(&mut self, name: &str) -> Outcome<About> {
        let ms = self.random.between(1, 4_000);
        self.began("time", format!("{ms} ms"));
        self.run_for(Duration::from_millis(ms))?;
        Ok(About::One(name.to_owned()))
    }

    /// The store is away: for so short that nobody notices, or so long that whoever waits for a name gives up.
    fn outage(&mut self, name: &str) -> Outcome<About> {
        let most = *self.random.pick(&[5, 60, 400]);
        let (after, length) = (self.random.below(2_000), self.random.below(most * 1_000));
        self.began("outage", format!("the store is away for {length} ms in {after} ms"));
        self.machine.store().outage(Duration::from_millis(after), Duration::from_millis(length));
        Ok(About::One(name.to_owned()))
    }

    fn delete_some(&mut self) -> Outcome<About> {
        let Some(name) = pick(&mut self.random, &self.members.all()) else { return Ok(About::All) };
        self.delete(&name)?;
        Ok(About::One(name))
    }

    /// Deletes a member. One that may not be there may come late, so that it is missing now says little.
    pub(super) fn delete(&mut self, name: &str) -> Outcome {
        self.began("delete", format!("delete {name}"));
        let sure = self.members.get(name).presence == Presence::There;
        let (engine, named) = (self.engine(), name.to_owned());
        match self.attempt("delete", async move { engine.delete(&named).await })? {
            End::Done(()) => self.members.remove(name),
            End::Refused(EngineError::NotFound(_)) if !sure => {
                self.members.get_mut(name).presence = Presence::Going;
            }
            End::Refused(error) => return Err(violation(format!("{name} is not deleted: {error}"))),
            End::Failed | End::Cut => self.members.get_mut(name).presence = Presence::Going,
        }
        Ok(())
    }

    /// A round; in half of the cases further steps are made meanwhile.
    fn reclaim(&mut self) -> Outcome<About> {
        self.begin_round()?;
        if self.random.chance(500_000) { Ok(About::All) } else { self.end_round().map(|()| About::All) }
    }

    pub(super) fn begin_round(&mut self) -> Outcome {
        self.end_round()?;
        if self.engine.is_none() {
            return Ok(());
        }
        self.began("reclaim", "reclaim".to_owned());
        self.run_for(GRACE)?;
        // Whatever is dead is worth a rewrite here.
        let limits = Limits { start_percent: 101, stop_percent: 101, ..Limits::default() };
        let options = Options { grace: GRACE, force: true, dry_run: false, gently: false, limits };
        let engine = self.engine();
        let round = self.host.spawn("reclaim", async move { engine.reclaim(options, &|_, _| ()).await });
        self.round = Some(round);
        Ok(())
    }

    /// The end of the round that goes on, if there is one. It may be cut off.
    pub(super) fn end_round(&mut self) -> Outcome {
        let Some(round) = self.round.take() else { return Ok(()) };
        match self.end_of(round)? {
            End::Done(report) => {
                self.done.count("objects deleted", report.deleted.objects);
                self.done.count("segments rewritten", report.rewritten.objects);
                self.done.count("blocks written anew", report.resealed);
            }
            End::Refused(error) => return Err(violation(format!("reclaim fails: {error}"))),
            End::Failed | End::Cut => {}
        }
        Ok(())
    }
}
