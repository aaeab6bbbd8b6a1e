//! Snapshots and forks of the volume, and what must hold of them for ever: each reads as the volume was at its sequence.

use std::sync::Arc;

use esker_engine::{EngineError, host::Host as Engine, pool::Pool, recover};
use esker_format::head::{Head, HeadKind};

use super::{Lab, Outcome, VOLUME, violation};
use crate::Task;

/// What came of a snapshot or a fork.
type Made = Task<Result<Head, EngineError>>;

impl Lab {
    /// Begins a snapshot of the volume by the engine of a site that has it open.
    pub fn begin_snapshot(&mut self, site: usize, name: &str) -> Made {
        let (engine, name) = (self.engine(site), name.to_owned());
        self.sites[site]
            .host
            .spawn("snapshot", async move { engine.snapshot(VOLUME, &name, Vec::new()).await })
    }

    /// Makes one.
    pub fn snapshot(&mut self, site: usize, name: &str) -> Outcome<Head> {
        let made = self.begin_snapshot(site, name);
        self.wait(made)?.map_err(|error| violation(format!("no snapshot {name}: {error}")))
    }

    /// Begins a fork by an engine at a site.
    pub fn begin_fork(&mut self, site: usize, engine: &Arc<Engine>, source: &str, name: &str) -> Made {
        let (engine, source, name) = (engine.clone(), source.to_owned(), name.to_owned());
        self.sites[site].host.spawn("fork", async move { engine.fork(&source, &name).await })
    }

    /// Makes one by the engine of a site that has the volume open.
    pub fn fork(&mut self, site: usize, source: &str, name: &str) -> Outcome<Head> {
        let engine = self.engine(site);
        let made = self.begin_fork(site, &engine, source, name);
        self.wait(made)?.map_err(|error| violation(format!("no fork {name}: {error}")))
    }

    /// Deletes a volume or a snapshot by an engine at a site.
    pub fn delete(
        &mut self,
        site: usize,
        engine: &Arc<Engine>,
        name: &str,
    ) -> Outcome<Result<(), EngineError>> {
        let task = self.begin_delete(site, engine, name);
        self.wait(task)
    }

    /// Begins to delete one.
    pub fn begin_delete(
        &mut self,
        site: usize,
        engine: &Arc<Engine>,
        name: &str,
    ) -> Task<Result<(), EngineError>> {
        self.may_be_gone |= name == VOLUME;
        let (engine, name) = (engine.clone(), name.to_owned());
        self.sites[site].host.spawn("delete", async move { engine.delete(&name).await })
    }

    /// The newest head of what a name stands for; none when it is free.
    pub fn newest_of(&mut self, name: &str) -> Outcome<Option<Head>> {
        let name = name.to_owned();
        self.audit(async move |pool: Arc<Pool>| {
            let volume = pool.lookup(&name).await.map_err(|error| error.to_string())?;
            let Some(volume) = volume else { return Ok(None) };
            let newest = pool.newest_head(volume).await.map_err(|error| error.to_string())?;
            Ok(Some(newest.head))
        })
    }

    /// What the store has under a name.
    pub fn image_of(&mut self, name: &str) -> Outcome<Vec<u8>> {
        let name = name.to_owned();
        self.audit(async move |pool: Arc<Pool>| {
            let volume = pool.lookup(&name).await.map_err(|error| error.to_string())?;
            let volume = volume.ok_or(format!("{name} has no name"))?;
            image(pool, &name, volume).await
        })
    }

    /// Every snapshot, and every fork that nobody has opened, reads as the volume was when it was made (I8). Those that
    /// come from a fork that was written are none of this model's.
    pub fn check_kept(&mut self) -> Outcome<usize> {
        let kept: Vec<(String, u64, Vec<u8>)> = self.audit(async |pool: Arc<Pool>| {
            let mut kept = Vec::new();
            for named in pool.names().await.map_err(|error| error.to_string())? {
                let newest = pool.newest_head(named.volume).await.map_err(|error| error.to_string())?;
                let Head { kind, number, sequence, .. } = newest.head;
                let fork = kind == HeadKind::Released && number == 2 && newest.head.lineage.source.is_some();
                if fork || kind == HeadKind::Frozen {
                    let image = image(pool.clone(), &named.name, named.volume).await?;
                    kept.push((named.name, sequence, image));
                }
            }
            Ok(kept)
        })?;
        for (name, sequence, image) in &kept {
            let same = self.book.compare_at(*sequence, image);
            same.map_err(|message| violation(format!("{name} has changed: {message}")))?;
        }
        Ok(kept.len())
    }
}

async fn image(pool: Arc<Pool>, name: &str, volume: esker_format::ids::VolumeId) -> Result<Vec<u8>, String> {
    let opened = recover::open_read_only(pool, name, volume).await;
    let opened = opened.map_err(|error| format!("{name} cannot be opened: {error}"))?;
    let size = opened.size_bytes() as usize;
    opened.read_later(0, size).await.map_err(|error| format!("{name} cannot be read: {error}"))
}
