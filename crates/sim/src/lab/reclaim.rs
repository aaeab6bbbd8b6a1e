//! Rounds of reclaim, and what must hold of the pool whatever they do: worked out here anew, without the engine's mark.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use esker_engine::{
    EngineError, checkpoint,
    core::{fold::Place, slots::Slots},
    host::Host as Engine,
    pool::Pool,
    reclaim::round::{Options, Report},
    volume::Volume,
};
use esker_format::{
    Bulk, Page,
    address::AddressKind,
    head::{Head, HeadKind},
    ids::SegmentId,
    names,
};

use super::{CACHE_BYTES, Lab, Outcome, VOLUME, open::spawner, violation};
use crate::Task;

/// What came of a round.
type Round = Task<Result<Report, EngineError>>;

impl Lab {
    /// Starts a round at a site whose engine runs.
    pub fn begin_reclaim(&mut self, site: usize, grace_ms: u64) -> Round {
        let engine = self.engine(site);
        self.begin_reclaim_by(site, engine, grace_ms)
    }

    /// Starts a round of an engine at a site.
    pub fn begin_reclaim_by(&mut self, site: usize, engine: Arc<Engine>, grace_ms: u64) -> Round {
        self.reclaims = true;
        let grace = Duration::from_millis(grace_ms);
        let options = Options { grace, force: false, dry_run: false, gently: true };
        self.sites[site].host.spawn("reclaim", async move { engine.reclaim(options, &|_, _| ()).await })
    }

    /// Makes a round; the engine may refuse. Afterwards every root is readable.
    pub fn try_reclaim(&mut self, site: usize, grace_ms: u64) -> Outcome<Result<Report, EngineError>> {
        let round = self.begin_reclaim(site, grace_ms);
        let outcome = self.wait(round)?;
        self.check_roots()?;
        Ok(outcome)
    }

    /// Makes a round.
    pub fn reclaim(&mut self, site: usize, grace_ms: u64) -> Outcome<Report> {
        self.try_reclaim(site, grace_ms)?.map_err(|error| violation(format!("reclaim fails: {error}")))
    }

    /// An engine of a new run at a site, with no volume open.
    pub fn bare_engine(&mut self, site: usize) -> Outcome<Arc<Engine>> {
        let (limits, at) = (self.setup.limits, &self.sites[site]);
        let (host, directory) = (at.host.clone(), at.directory);
        if host.is_crashed() {
            host.restart();
        }
        let world = host.world();
        let task = host.clone().spawn("start", async move {
            let pool = Arc::new(Pool::open(world, CACHE_BYTES).await?);
            Ok::<_, EngineError>(Arc::new(Engine::new(pool, directory, limits, spawner(host))))
        });
        self.wait(task)?.map_err(violation)
    }

    /// Opens the volume for reading at a site, by an engine of its own.
    pub fn open_reader(&mut self, site: usize) -> Outcome<(Arc<Engine>, Arc<Volume>)> {
        let engine = self.bare_engine(site)?;
        let opening = engine.clone();
        let task = self.sites[site].host.spawn("open", async move { opening.open_read_only(VOLUME).await });
        let volume = self.wait(task)?.map_err(violation)?;
        Ok((engine, volume))
    }

    /// Reads a whole volume that is open for reading.
    pub fn read_by(&mut self, site: usize, volume: &Arc<Volume>) -> Outcome<Vec<u8>> {
        let reading = volume.clone().read_later(0, self.size.now() as usize);
        let task = self.sites[site].host.spawn("read", reading);
        self.wait(task)?.map_err(|error| violation(format!("a reader fails: {error}")))
    }

    /// Everything that any head of any volume reaches is there (I5, I7).
    pub fn check_roots(&mut self) -> Outcome {
        self.reached().map(drop)
    }

    /// The same, once a round was begun.
    pub(super) fn check_roots_after_reclaim(&mut self) -> Outcome {
        if self.reclaims { self.check_roots() } else { Ok(()) }
    }

    /// Nothing is there that no head reaches (I7).
    pub fn check_no_garbage(&mut self) -> Outcome {
        let reached = self.reached()?;
        let store = self.machine.store();
        let prefixes = [names::segments(), names::packs(), names::bundles()];
        let stored = prefixes.into_iter().flat_map(|prefix| store.names(&prefix));
        match stored.into_iter().find(|name| !reached.contains(name)) {
            None => Ok(()),
            Some(name) => Err(violation(format!("{name} is still there, and no head reaches it"))),
        }
    }

    /// The names of all that heads reach; each is opened.
    fn reached(&mut self) -> Outcome<BTreeSet<String>> {
        let heads: Vec<String> = self.head_names();
        let store = self.machine.store();
        let read = |name: &String| {
            store.object(name).and_then(|bytes| Some(Head::parse(&bytes).ok()?.peek().clone()))
        };
        let heads: Vec<Head> = heads.iter().filter_map(read).collect();
        let deleted = |head: &&Head| head.kind == HeadKind::Deleted;
        let gone: BTreeSet<_> = heads.iter().filter(deleted).map(|head| head.volume).collect();
        let roots: Vec<Head> = heads.into_iter().filter(|head| !gone.contains(&head.volume)).collect();
        self.audit(async move |pool: Arc<Pool>| {
            let mut reached = BTreeSet::new();
            for head in roots {
                let name = names::head(head.volume, head.number);
                let below = below(&pool, &head).await;
                reached.extend(below.map_err(|error| format!("head {name} cannot be read: {error}"))?);
            }
            let table = pool.fetcher().table();
            // A segment that was rewritten is where the table says.
            let home = |object: &Bulk| match object {
                Bulk::Segment(id) => table.entry(*id).map_or(*object, |entry| Bulk::Bundle(entry.bundle)),
                other => *other,
            };
            Ok(reached.iter().map(|object| home(object).name()).collect())
        })
    }
}

async fn below(pool: &Pool, head: &Head) -> Result<BTreeSet<Bulk>, EngineError> {
    let mut slots: BTreeMap<SegmentId, Slots> = BTreeMap::new();
    let mut reached: BTreeSet<Bulk> = head.tail.iter().map(|segment| Bulk::Segment(segment.id)).collect();
    if let Some(root) = head.root {
        reached.insert(Bulk::Pack(root.pack));
        let blocks = head.size_bytes / esker_format::BLOCK_BYTES as u64;
        let found = |_: Place, page: &Page| match page {
            Page::Leaf(runs) => reached.extend(runs.iter().filter_map(|run| match run.address.kind() {
                AddressKind::Segment(id, slot) => {
                    slots.entry(id).or_default().insert(slot.into(), run.blocks.into());
                    Some(Bulk::Segment(id))
                }
                _ => None,
            })),
            Page::Inner(children) => reached.extend(children.iter().filter_map(|(_, child)| match child {
                esker_format::Child::Page(reference) => Some(Bulk::Pack(reference.pack)),
                esker_format::Child::Zero => None,
            })),
        };
        checkpoint::load(pool.fetcher(), root, blocks, &(0..blocks), found).await?;
    }
    for object in &reached {
        if let Bulk::Segment(id) = object {
            let index = pool.fetcher().index(*id, None).await?;
            let named = slots.remove(id).unwrap_or_default();
            if let Some((slot, _)) = named.without(&Slots::of(&index.kept())).runs().first() {
                return Err(EngineError::Invalid(format!("slot {slot} of {id} was dropped")));
            }
        }
    }
    Ok(reached)
}
