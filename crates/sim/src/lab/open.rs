//! Opening the volume at a site, reading it, and giving it back.

use std::sync::Arc;

use esker_engine::{
    EngineError,
    host::{Host as Engine, Spawn},
    pool::Pool,
    recover::Report,
    volume::{Status, Volume},
};

use super::{Fall, Lab, Outcome, Setup, Site, Stop, VOLUME, violation};
use crate::{Host, Loss, Task};

type Opened = Result<(Arc<Engine>, Arc<Volume>, Report), EngineError>;

impl Lab {
    /// A further host, which may open the volume too.
    pub fn add_site(&mut self) -> usize {
        self.sites.push(Site::new(self.machine.second_host()));
        self.sites.len() - 1
    }

    /// Opens the volume for writing at a site and compares all of it with the model.
    pub fn open(&mut self, site: usize) -> Outcome {
        self.open_unread(site)?;
        self.read_all()
    }

    /// Opens the volume for writing at a site.
    pub fn open_unread(&mut self, site: usize) -> Outcome {
        self.try_open(site)?.map_err(|error| violation(format!("the volume does not open: {error}")))
    }

    /// Opens the volume after a scenario. False when the scenario deletes it, and it is gone.
    pub fn reopen(&mut self, site: usize) -> Outcome<bool> {
        if !self.host(site).is_crashed() && self.sites[site].volume.is_some() {
            self.fall(site, Fall::Kill);
        }
        match self.try_open(site)? {
            Ok(()) => self.read_all().map(|()| true),
            Err(EngineError::NotFound(_)) if self.may_be_gone => Ok(false),
            Err(error) => Err(violation(format!("the volume does not open: {error}"))),
        }
    }

    /// Opens the volume for writing; the engine may refuse.
    pub fn try_open(&mut self, site: usize) -> Outcome<Result<(), EngineError>> {
        let opening = self.begin_open(site);
        let opened = self.wait(opening)?;
        self.end_open(site, opened)
    }

    /// Starts an opening: the engine of a new run, with the volume.
    pub fn begin_open(&mut self, site: usize) -> Task<Opened> {
        if self.owner.is_some_and(|owner| owner != site) {
            self.contested = true;
        }
        let Setup { limits, cache_bytes, disk_cache_bytes, .. } = self.setup;
        let at = &mut self.sites[site];
        at.volume = None;
        at.engine = None;
        if at.host.is_crashed() {
            at.host.restart();
        }
        let (host, directory) = (at.host.clone(), at.directory);
        let world = host.world();
        host.clone().spawn("open", async move {
            let pool = Pool::open(world, cache_bytes).await?.with_disk_cache(disk_cache_bytes).await;
            let pool = Arc::new(pool);
            let engine = Arc::new(Engine::new(pool, directory, limits, spawner(host)));
            let (volume, report) = engine.open(VOLUME, None).await?;
            Ok((engine, volume, report))
        })
    }

    /// Takes what came of an opening.
    pub fn end_open(&mut self, site: usize, opened: Opened) -> Outcome<Result<(), EngineError>> {
        let (engine, volume, report) = match opened {
            Ok(opened) => opened,
            Err(error) => return Ok(Err(error)),
        };
        self.observe()?;
        if self.contested {
            // What the last owner has in its log stays there.
            self.book.lose(Loss::Directory);
        }
        self.contested = false;
        self.owner = Some(site);
        self.later.clear();
        self.size.found(volume.size_bytes())?;
        self.settings.found(volume.effective())?;
        let sequence = volume.last_sequence().0;
        self.book.reopened(sequence).map_err(violation)?;
        for fenced in &mut self.sites {
            fenced.committed_max.get_or_insert(sequence);
        }
        self.sites[site].committed_max = None;
        let site = &mut self.sites[site];
        site.report = report;
        site.engine = Some(engine);
        site.volume = Some(volume);
        self.observe()?;
        Ok(Ok(()))
    }

    /// Reads the whole volume at its owner and compares it with the model.
    pub fn read_all(&mut self) -> Outcome {
        self.read(0, self.blocks())?;
        self.check_cache(self.owner())
    }

    /// Reads blocks at the owner and compares them with the model.
    pub fn read(&mut self, lba: u64, blocks: u64) -> Outcome {
        let owner = self.owner();
        let volume = self.volume(owner);
        let block = esker_format::BLOCK_BYTES as u64;
        let reading = volume.read_later(lba * block, (blocks * block) as usize);
        let task = self.sites[owner].host.spawn("read", reading);
        let found = self.wait(task)?.map_err(|error| violation(format!("reading fails: {error}")))?;
        self.book.compare(lba, &found).map_err(violation)
    }

    /// The volume's blocks.
    pub fn blocks(&self) -> u64 {
        self.size.now() / esker_format::BLOCK_BYTES as u64
    }

    /// Whether a site has the volume open, in its own view.
    pub fn has_open(&self, site: usize) -> bool {
        self.sites[site].volume.is_some()
    }

    /// Whether a site's host is never seen again.
    pub fn is_gone(&self, site: usize) -> bool {
        self.sites[site].gone
    }

    /// From here on the volume may be deleted.
    pub fn may_be_gone(&mut self) {
        self.may_be_gone = true;
    }

    /// Drains the owner's volume; everything is in the store then.
    pub fn drain(&mut self) -> Outcome {
        self.try_drain()?.map_err(|error| violation(format!("draining fails: {error}")))?;
        self.check_drained()
    }

    /// A drain has succeeded: everything is in the store.
    pub fn check_drained(&self) -> Outcome {
        let (committed, last) = (self.book.committed(), self.book.last());
        if committed != last {
            return Err(violation(format!("drained at sequence {committed} of {last}")));
        }
        Ok(())
    }

    /// Drains the owner's volume; the engine may fail.
    pub fn try_drain(&mut self) -> Outcome<Result<(), EngineError>> {
        let owner = self.owner();
        let volume = self.volume(owner);
        let task = self.sites[owner].host.spawn("drain", async move { volume.drain().await });
        self.wait(task)
    }

    /// The owner's volume has stopped itself, or lost its epoch.
    pub fn has_stopped(&self, site: usize) -> bool {
        let volume = &self.sites[site].volume;
        volume.as_ref().is_none_or(|volume| !matches!(volume.status().status, Status::Running))
    }

    /// A step outside the executor may have been the crash point.
    pub(super) fn alive(&self, site: usize) -> Outcome {
        if self.sites[site].host.is_crashed() { Err(Stop::Crashed) } else { Ok(()) }
    }
}

pub(super) fn spawner(host: Host) -> Spawn {
    Arc::new(move |work| drop(host.spawn("pipeline", work)))
}
