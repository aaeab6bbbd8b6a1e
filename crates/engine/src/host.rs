//! One run of a daemon: a pool, a local directory, and the volumes that are open.

mod fork;
mod group;
mod reclaim;
mod rewind;
mod space;
mod visit;

use std::{collections::BTreeMap, sync::Arc};

use esker_format::{
    head::HeadKind,
    ids::{DirectoryId, RunId, VolumeId},
    name::NameState,
    names,
    property::Properties,
};
use esker_io::{
    BoxFuture,
    sync::{Mutex, atomic::AtomicBool},
};

use crate::{
    EngineError, Result, ahead,
    budget::Budget,
    commit::Owner,
    core::map::MapMemory,
    delete,
    log::LogDirectory,
    pieces::PieceMemory,
    pool::{Pool, describe},
    prefetch,
    recover::{self, Opening, Report},
    segment_ids::SegmentIds,
    volume::{Keeper, Limits, PropertyChange, Volume, keep},
};

pub use fork::Labels;
pub use rewind::{Rewound, Target};

/// Starts a task beside the caller.
pub type Spawn = Arc<dyn Fn(BoxFuture<'static, ()>) + Send + Sync>;

/// The volumes of one run.
pub struct Host {
    pool: Arc<Pool>,
    ids: Arc<SegmentIds>,
    owner: Owner,
    limits: Limits,
    budget: Arc<Budget>,
    spawn: Spawn,
    volumes: Mutex<BTreeMap<String, Slot>>,
    _keeper: Arc<Keeper>,
    rounds: reclaim::Rounds,
    known: fork::Known,
    visits: visit::Visits,
    /// Rounds of reclaim end early.
    stopping: AtomicBool,
}

/// What this run has under a name.
#[derive(Clone)]
enum Slot {
    /// Somebody opens or deletes it now.
    Busy,
    Open(Arc<Volume>),
    /// It could not be opened.
    Failed(EngineError),
}

impl Host {
    /// A run without open volumes. `directory` names the local directory, whose lock the caller holds.
    pub fn new(pool: Arc<Pool>, directory: DirectoryId, limits: Limits, spawn: Spawn) -> Self {
        let run = RunId(pool.world().random.id());
        let ids = Arc::new(SegmentIds::new(pool.clone(), run));
        let volumes = Mutex::new(BTreeMap::new());
        spawn(Box::pin(ahead::work(pool.ahead().clone())));
        let budget = Arc::new(Budget::new(limits.daemon_dirty_bytes_max));
        pool.maps().memory().set_bound(limits.map_bytes_max);
        pool.pieces().set_bound(limits.pieces_bytes_max);
        let (keeper, work) = keep(pool.maps(), pool.world().cpu.clone());
        spawn(work);
        Self {
            pool,
            ids,
            owner: Owner { run, directory },
            limits,
            budget,
            spawn,
            volumes,
            _keeper: keeper,
            rounds: reclaim::Rounds::default(),
            known: fork::Known::default(),
            visits: visit::Visits::default(),
            stopping: AtomicBool::new(false),
        }
    }

    /// The pool.
    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// The run's id.
    pub fn run(&self) -> RunId {
        self.owner.run
    }

    /// The open volume of that name.
    pub fn volume(&self, name: &str) -> Option<Arc<Volume>> {
        match self.volumes.lock().get(name) {
            Some(Slot::Open(volume)) => Some(volume.clone()),
            _ => None,
        }
    }

    /// Log bytes of all volumes that the store does not hold.
    pub fn dirty_bytes(&self) -> u64 {
        self.budget.used()
    }

    /// The bound on them.
    pub fn dirty_bytes_max(&self) -> u64 {
        self.budget.max()
    }

    /// What the maps of all volumes take, and may.
    pub fn map_memory(&self) -> &MapMemory {
        self.pool.maps().memory()
    }

    /// What pieces take in memory, and may.
    pub fn piece_memory(&self) -> &PieceMemory {
        self.pool.pieces()
    }

    /// All open volumes, by name.
    pub fn volumes(&self) -> Vec<Arc<Volume>> {
        let open = |slot: &Slot| if let Slot::Open(volume) = slot { Some(volume.clone()) } else { None };
        self.volumes.lock().values().filter_map(open).collect()
    }

    /// The volumes that could not be opened, and why.
    pub fn failures(&self) -> Vec<(String, EngineError)> {
        let volumes = self.volumes.lock();
        let failed = |(name, slot): (&String, &Slot)| match slot {
            Slot::Failed(error) => Some((name.clone(), error.clone())),
            _ => None,
        };
        volumes.iter().filter_map(failed).collect()
    }

    /// Creates a volume and opens it for writing.
    pub async fn create(&self, name: &str, size_bytes: u64, properties: Properties) -> Result<Arc<Volume>> {
        self.pool.create_volume(name, size_bytes, properties).await?;
        Ok(self.open(name, None).await?.0)
    }

    /// Opens a volume for writing. An open one is returned as it is, unless it has stopped.
    pub async fn open(&self, name: &str, discard_after: Option<u64>) -> Result<(Arc<Volume>, Report)> {
        let busy = self.occupy(name)?;
        if let Some(volume) = busy.volume() {
            if !volume.has_stopped() {
                return if volume.read_only() {
                    Err(EngineError::Invalid(format!("volume {name} is open read-only")))
                } else {
                    Ok((volume, Report::default()))
                };
            }
            // Two writers on one log would be the end of it.
            volume.ended().await;
        }
        match self.open_now(name, discard_after).await {
            Ok((volume, report)) => {
                busy.put(Slot::Open(volume.clone()));
                Ok((volume, report))
            }
            Err(error) => {
                busy.put(Slot::Failed(error.clone()));
                Err(error)
            }
        }
    }

    async fn open_now(&self, name: &str, discard_after: Option<u64>) -> Result<(Arc<Volume>, Report)> {
        let volume = self.find(name).await?;
        let opening = Opening {
            pool: self.pool.clone(),
            ids: self.ids.clone(),
            owner: self.owner,
            name: name.to_owned(),
            volume,
            limits: self.limits,
            budget: self.budget.clone(),
            discard_after,
        };
        let opened = recover::open(&opening).await?;
        (self.spawn)(opened.work);
        self.prefetch(&opened.volume);
        Ok((opened.volume, opened.report))
    }

    /// Opens a volume for reading, beside whoever writes it.
    pub async fn open_read_only(&self, name: &str) -> Result<Arc<Volume>> {
        let busy = self.occupy(name)?;
        if let Some(volume) = busy.volume() {
            return Ok(volume);
        }
        let volume = self.find(name).await?;
        let volume = recover::open_read_only(self.pool.clone(), name, volume).await?;
        self.prefetch(&volume);
        busy.put(Slot::Open(volume.clone()));
        Ok(volume)
    }

    /// Begins to fetch what first reads of a volume would wait for.
    fn prefetch(&self, volume: &Volume) {
        if let Some(work) = prefetch::inner_pages(volume) {
            (self.spawn)(Box::pin(work));
        }
    }

    /// Gives an open volume another size: see [`Volume::resize`].
    pub async fn resize(&self, name: &str, size_bytes: u64) -> Result<()> {
        self.to_change(name)?.resize(size_bytes).await
    }

    /// Changes the properties of an open volume: see [`Volume::set`].
    pub async fn set(&self, name: &str, change: PropertyChange) -> Result<()> {
        self.to_change(name)?.set(change).await
    }

    /// The volume of that name, open here.
    fn to_change(&self, name: &str) -> Result<Arc<Volume>> {
        if names::snapshot_parts(name).is_some() {
            return Err(EngineError::Invalid(format!(
                "{name} is a snapshot, which never changes; fork it: esker fork {name} NEW"
            )));
        }
        self.volume(name).ok_or_else(|| {
            EngineError::Invalid(format!(
                "volume {name} is not open here, so it cannot be changed; open it: esker volume open {name}"
            ))
        })
    }

    fn log_directory(&self, volume: VolumeId) -> LogDirectory {
        LogDirectory { volume, chunk_bytes: self.limits.chunk_bytes }
    }

    async fn find(&self, name: &str) -> Result<VolumeId> {
        self.pool.lookup(name).await?.ok_or_else(|| EngineError::NotFound(describe(name)))
    }

    /// Deletes a volume: stops serving it, makes the head that says so, and frees its name (rule H6).
    pub async fn delete(&self, name: &str) -> Result<()> {
        let busy = self.occupy(name)?;
        let volume = self.find(name).await?;
        let newest = self.pool.newest_head(volume).await?;
        if newest.head.kind != HeadKind::Deleted {
            delete::delete(&self.pool, volume, self.owner, || false).await?;
        }
        if let Some(open) = busy.volume() {
            open.stop(&EngineError::NotFound(format!("{} (it was deleted)", describe(name))));
            open.ended().await;
            // Its last commit came too late.
            self.pool.uses().decided(volume);
        }
        self.pool.set_name(name, volume, NameState::Free).await?;
        self.known.forget(name);
        self.visits.forget(name);
        busy.forget();
        // The volume is gone; what is left of its log is only in the way.
        if let Err(error) = self.log_directory(volume).remove_all(self.pool.world()) {
            tracing::warn!(volume = name, %error, "the log of a deleted volume could not be removed");
        }
        Ok(())
    }

    /// Drains every open volume, side by side. Returns the volumes that could not be released, with the reason.
    pub async fn drain(&self) -> Vec<(String, EngineError)> {
        let drains = self.volumes().into_iter().map(|volume| async move {
            let outcome = volume.drain().await;
            outcome.err().map(|error| (volume.name().to_owned(), error))
        });
        futures_util::future::join_all(drains).await.into_iter().flatten().collect()
    }

    /// Makes all requests to the store that are tried again and again give up.
    pub fn abandon(&self) {
        self.volumes().iter().for_each(|volume| volume.abandon());
    }

    /// Keeps others from opening or deleting `name` until the answer is put or dropped.
    fn occupy(&self, name: &str) -> Result<Busy<'_>> {
        let mut volumes = self.volumes.lock();
        if let Some(Slot::Busy) = volumes.get(name) {
            return Err(EngineError::Invalid(format!(
                "{} is being made, opened or deleted; try again",
                describe(name)
            )));
        }
        let slot = volumes.insert(name.to_owned(), Slot::Busy);
        Ok(Busy { host: self, name: name.to_owned(), slot })
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.pool.ahead().close();
    }
}

/// A name that is being worked on. Dropped without an answer, what was there before is there again: a volume
/// that runs is never forgotten.
struct Busy<'a> {
    host: &'a Host,
    name: String,
    slot: Option<Slot>,
}

impl Busy<'_> {
    fn volume(&self) -> Option<Arc<Volume>> {
        match &self.slot {
            Some(Slot::Open(volume)) => Some(volume.clone()),
            _ => None,
        }
    }

    fn put(mut self, slot: Slot) {
        self.slot = Some(slot);
    }

    fn forget(mut self) {
        self.slot = None;
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        let mut volumes = self.host.volumes.lock();
        match self.slot.take() {
            Some(slot) => volumes.insert(self.name.clone(), slot),
            None => volumes.remove(&self.name),
        };
    }
}
