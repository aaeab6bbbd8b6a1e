//! The steps of a family's life.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use esker_engine::{
    EngineError,
    core::victims::Limits,
    host::Target,
    pool::Pool,
    reclaim::round::Options,
    recover,
    volume::{OwnedChange, Scratch, WriteStep},
};
use esker_format::{
    BLOCK_BYTES,
    names::snapshot_name,
    property::{Compression, Durability, History, Properties},
};

use super::{
    CACHE_BYTES, Family,
    members::{BLOCKS, Image, contents, pick},
};
use crate::lab::{Outcome, violation};

const BLOCK: u64 = BLOCK_BYTES as u64;
/// Each volume's size: the smallest.
const SIZE_BYTES: u64 = 1 << 20;
/// The most members at a time.
const MEMBERS_MAX: usize = 9;
/// How long rounds let dead objects be.
const GRACE: Duration = Duration::from_secs(3);

impl Family {
    /// One random step, and a look at everybody.
    pub(super) fn step(&mut self) -> Outcome {
        let volumes = self.members.volumes();
        let Some(volume) = pick(&mut self.random, &volumes) else { return self.create() };
        match self.random.below(100) {
            0..34 => self.write(&volume),
            34..40 => self.trim(&volume),
            40..50 => self.pass_time(),
            50..52 => self.create(),
            52..63 => self.snapshot(&volume),
            63..71 => self.fork(),
            71..77 => self.rewind(&volume),
            77..85 => self.delete_some(),
            85..93 => self.reclaim(),
            93..96 => self.restart(),
            _ => self.kill(),
        }?;
        self.check()
    }

    fn began(&mut self, kind: &'static str, step: String) {
        *self.done.steps.entry(kind).or_insert(0) += 1;
        self.log.push(step);
    }

    fn fresh_name(&mut self) -> String {
        self.next += 1;
        format!("m{}", self.next)
    }

    fn create(&mut self) -> Outcome {
        if self.is_full() {
            return Ok(());
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
        let volume = self.wait(
            self.host.spawn("create", async move { engine.create(&named, SIZE_BYTES, properties).await }),
        )?;
        self.members.add(&name, [0; BLOCKS as usize]);
        self.members.get_mut(&name).volume = Some(volume);
        Ok(())
    }

    pub(super) fn open(&mut self, name: &str) -> Outcome {
        let (engine, named) = (self.engine(), name.to_owned());
        let (volume, _) =
            self.wait(self.host.spawn("open", async move { engine.open(&named, None).await }))?;
        self.members.get_mut(name).volume = Some(volume);
        Ok(())
    }

    fn write(&mut self, name: &str) -> Outcome {
        let blocks = self.random.between(1, 6);
        let lba = self.random.below(BLOCKS - blocks);
        self.next += 1;
        let write = self.next;
        self.began("write", format!("write {write} to {name}: {blocks} blocks at {lba}"));
        let data: Vec<u8> = (lba..lba + blocks).flat_map(|lba| contents(lba, write)).collect();
        self.change(name, OwnedChange::Write { offset: lba * BLOCK, data: Bytes::from(data) })?;
        self.members.get_mut(name).image[lba as usize..(lba + blocks) as usize].fill(write);
        Ok(())
    }

    fn trim(&mut self, name: &str) -> Outcome {
        let blocks = self.random.between(1, 12);
        let lba = self.random.below(BLOCKS - blocks);
        self.began("trim", format!("trim {name}: {blocks} blocks at {lba}"));
        self.change(name, OwnedChange::Trim { offset: lba * BLOCK, length: blocks * BLOCK })?;
        self.members.get_mut(name).image[lba as usize..(lba + blocks) as usize].fill(0);
        Ok(())
    }

    fn change(&mut self, name: &str, change: OwnedChange) -> Outcome {
        let volume = self.members.get(name).volume.clone().expect("volumes are open");
        let mut scratch = Scratch::default();
        volume.change(&[change.borrow()], &mut scratch);
        match scratch.steps.pop() {
            Some(WriteStep::Done) => Ok(()),
            Some(WriteStep::Failed(error)) => Err(violation(format!("a change of {name} fails: {error}"))),
            _ => self.wait(self.host.spawn("change", volume.change_later(change))),
        }
    }

    fn snapshot(&mut self, name: &str) -> Outcome {
        if self.is_full() {
            return Ok(());
        }
        let snapshot = self.fresh_name();
        self.began("snapshot", format!("snapshot {name}@{snapshot}"));
        let (engine, of, called) = (self.engine(), name.to_owned(), snapshot.clone());
        let made =
            self.host.spawn("snapshot", async move { engine.snapshot(&of, &called, Vec::new()).await });
        let source = self.wait(made)?.lineage.source.expect("a snapshot has a source");
        let member = self.members.get_mut(name);
        let image = member.image;
        member.points.push((source.head, image));
        self.members.add(&snapshot_name(name, &snapshot), image);
        Ok(())
    }

    fn fork(&mut self) -> Outcome {
        let Some(source) = pick(&mut self.random, &self.members.all()) else { return Ok(()) };
        if self.is_full() {
            return Ok(());
        }
        let name = self.fresh_name();
        self.began("fork", format!("fork {source} into {name}"));
        let (engine, of, called) = (self.engine(), source.clone(), name.clone());
        self.wait(self.host.spawn("fork", async move { engine.fork(&of, &called).await }))?;
        self.members.add(&name, self.members.get(&source).image);
        self.open(&name)
    }

    /// To a snapshot or a head, in place or into a new volume.
    fn rewind(&mut self, name: &str) -> Outcome {
        let member = self.members.get(name);
        let heads = member.points.iter().map(|(head, image)| (Target::Head(*head), *image));
        let image_of = |snapshot: &String| self.members.get(&snapshot_name(name, snapshot)).image;
        let snapshots = self.members.snapshots(name);
        let snapshots =
            snapshots.iter().map(|snapshot| (Target::Snapshot(snapshot.clone()), image_of(snapshot)));
        let targets: Vec<(Target, Image)> = heads.chain(snapshots).collect();
        if targets.is_empty() || self.is_full() {
            return Ok(());
        }
        let (to, image) = self.random.pick(&targets).clone();
        if self.random.chance(300_000) {
            self.rewind_as(name, to, image)
        } else {
            self.rewind_here(name, to, image)
        }
    }

    fn rewind_as(&mut self, name: &str, to: Target, image: Image) -> Outcome {
        let new = self.fresh_name();
        self.began("rewind into a fork", format!("rewind {name} to {to:?} as {new}"));
        let (engine, of, called) = (self.engine(), name.to_owned(), new.clone());
        let made = self.host.spawn("rewind", async move { engine.rewind_as(&of, &to, &called).await });
        match self.try_wait(made)? {
            Ok(_) => {
                self.members.add(&new, image);
                self.open(&new)
            }
            // The head was thinned away.
            Err(EngineError::NotFound(_)) => Ok(()),
            Err(error) => Err(violation(error)),
        }
    }

    fn rewind_here(&mut self, name: &str, to: Target, image: Image) -> Outcome {
        self.began("rewind in place", format!("rewind {name} to {to:?}"));
        let (engine, of) = (self.engine(), name.to_owned());
        let rewound =
            self.try_wait(self.host.spawn("rewind", async move { engine.rewind(&of, &to, &|| 0).await }))?;
        let volume = self.engine().volume(name);
        let before = self.members.get(name).image;
        self.members.get_mut(name).volume =
            Some(volume.ok_or_else(|| violation(format!("{name} is not open after a rewind")))?);
        match rewound {
            Ok(rewound) => {
                let kept = rewound.kept.expect("the state from before is kept");
                self.members.get_mut(name).image = image;
                self.members.add(&kept, before);
                Ok(())
            }
            // The head was thinned away, or is the one that the volume has.
            Err(EngineError::NotFound(_) | EngineError::Invalid(_)) => Ok(()),
            Err(error) => Err(violation(error)),
        }
    }

    fn is_full(&self) -> bool {
        self.members.all().len() >= MEMBERS_MAX
    }

    fn pass_time(&mut self) -> Outcome {
        let ms = self.random.between(1, 4_000);
        self.began("time", format!("{ms} ms"));
        self.machine.run_for(Duration::from_millis(ms)).map_err(violation)
    }

    fn delete_some(&mut self) -> Outcome {
        match pick(&mut self.random, &self.members.all()) {
            Some(name) => self.delete(&name),
            None => Ok(()),
        }
    }

    pub(super) fn delete(&mut self, name: &str) -> Outcome {
        self.began("delete", format!("delete {name}"));
        self.members.remove(name);
        let (engine, named) = (self.engine(), name.to_owned());
        self.wait(self.host.spawn("delete", async move { engine.delete(&named).await }))
    }

    pub(super) fn reclaim(&mut self) -> Outcome {
        self.began("reclaim", "reclaim".to_owned());
        self.machine.run_for(GRACE).map_err(violation)?;
        // Whatever is dead is worth a rewrite here.
        let limits = Limits { start_percent: 101, stop_percent: 101, ..Limits::default() };
        let options = Options { grace: GRACE, force: true, dry_run: false, gently: false, limits };
        let engine = self.engine();
        let round = self.host.spawn("reclaim", async move { engine.reclaim(options, &|_, _| ()).await });
        let report = self.wait(round)?;
        self.done.deleted += report.deleted.objects;
        self.done.rewritten += report.rewritten.objects;
        self.done.resealed += report.resealed;
        Ok(())
    }

    /// Ends the run in peace, and begins another.
    fn restart(&mut self) -> Outcome {
        self.began("restart", "drain and start again".to_owned());
        let engine = self.engine();
        let left = self.try_wait(self.host.spawn("drain", async move { engine.drain().await }))?;
        if let Some((name, error)) = left.first() {
            return Err(violation(format!("{name} does not drain: {error}")));
        }
        self.members.closed();
        self.engine = None;
        self.host.restart();
        self.start()
    }

    /// Ends the run by a signal, and begins another: what was acknowledged is in the log.
    fn kill(&mut self) -> Outcome {
        self.began("kill", "kill -9".to_owned());
        self.members.closed();
        self.engine = None;
        self.host.kill();
        self.host.restart();
        self.start()
    }

    /// Reads everybody: volumes as their guests do, snapshots as a stranger does.
    pub(super) fn check(&mut self) -> Outcome {
        for name in self.members.all() {
            let found = match self.members.get(&name).volume.clone() {
                Some(volume) => {
                    let reading = volume.read_later(0, (BLOCKS * BLOCK) as usize);
                    self.wait(self.host.spawn("read", reading))
                }
                None => self.read_stored(&name),
            };
            let found = found.map_err(|stop| violation(format!("{name} cannot be read: {stop}")))?;
            self.members.compare(&name, &found)?;
        }
        Ok(())
    }

    fn read_stored(&self, name: &str) -> Outcome<Vec<u8>> {
        let (world, name) = (self.auditor.world(), name.to_owned());
        self.wait(self.auditor.spawn("audit", async move {
            let pool = Arc::new(Pool::open(world, CACHE_BYTES).await?);
            let id = pool.lookup(&name).await?.ok_or_else(|| EngineError::NotFound(name.clone()))?;
            let volume = recover::open_read_only(pool, &name, id).await?;
            volume.read_later(0, (BLOCKS * BLOCK) as usize).await
        }))
    }
}
