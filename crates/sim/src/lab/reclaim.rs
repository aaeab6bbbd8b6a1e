//! Rounds of reclaim, and what must hold of the pool whatever they do: worked out here anew, without the engine's mark.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use esker_engine::{
    EngineError, checkpoint,
    core::{
        fold::Place,
        victims::{Limits, Reason},
    },
    host::Host as Engine,
    pool::Pool,
    reclaim::round::{Options, Report},
    space,
    volume::Volume,
};
use esker_format::{
    Bulk, Page,
    address::{Address, AddressKind},
    head::{Head, HeadKind},
    ids::SegmentId,
    names,
};

use super::{CACHE_BYTES, Lab, Outcome, VOLUME, open::spawner, violation};
use crate::Task;

/// What heads reach.
#[derive(Default)]
struct Reached {
    objects: BTreeSet<Bulk>,
    /// The objects of the store that they are in.
    names: BTreeSet<String>,
    /// What heads show.
    slots: BTreeMap<SegmentId, BTreeSet<u32>>,
}

/// A head, and whether another one above it is its volume's newest.
struct Root {
    head: Head,
    older: bool,
}

/// Rounds of scenarios rewrite what they are asked to, and nothing else: so each says by itself what happens.
pub(super) fn asked_only() -> Limits {
    Limits { start_percent: 0, ..Limits::default() }
}

/// What came of a round.
type Round = Task<Result<Report, EngineError>>;
/// An engine and the volume that it has open for reading.
type Reader = (Arc<Engine>, Arc<Volume>);

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
        let options = Options { grace, force: false, dry_run: false, gently: true, limits: asked_only() };
        self.begin_round(site, engine, options)
    }

    /// Makes a round of an engine at a site that rewrites all that is not full. Afterwards every root is readable.
    pub fn reclaim_thoroughly(&mut self, site: usize, engine: Arc<Engine>, grace_ms: u64) -> Outcome<Report> {
        self.reclaims = true;
        let limits = Limits { start_percent: 101, stop_percent: 101, ..Limits::default() };
        let grace = Duration::from_millis(grace_ms);
        let options = Options { grace, force: false, dry_run: false, gently: true, limits };
        let round = self.begin_round(site, engine, options);
        let report = self.wait(round)?.map_err(|error| violation(format!("reclaim fails: {error}")))?;
        self.check_roots()?;
        self.check_counts(&report)?;
        Ok(report)
    }

    /// Of the slots that are stored, heads show as many as make a segment full.
    pub fn check_mostly_shown(&mut self) -> Outcome {
        let reached = self.reached()?;
        let shown: usize = reached.slots.values().map(BTreeSet::len).sum();
        let stored: BTreeSet<String> = self.machine.store().names(&names::segments()).into_iter().collect();
        let held: u32 = self.audit(async move |pool: Arc<Pool>| {
            let table = pool.fetcher().table();
            let segments = reached.objects.iter().filter_map(|object| match object {
                Bulk::Segment(id) => Some(*id),
                Bulk::Pack(_) | Bulk::Bundle(_) => None,
            });
            // Of what older heads name, all may be hidden, and gone.
            let is_there =
                |id: &SegmentId| table.entry(*id).is_some() || stored.contains(&names::segment(*id));
            let mut held = 0;
            for id in segments.filter(is_there) {
                let index = pool.fetcher().index(id, None).await.map_err(|error| error.to_string())?;
                held += index.kept().iter().map(|stretch| stretch.1).sum::<u32>();
            }
            Ok(held)
        })?;
        if shown * 16 < held as usize * 14 {
            return Err(violation(format!("of {held} slots that are stored heads show {shown}")));
        }
        Ok(())
    }

    fn begin_round(&mut self, site: usize, engine: Arc<Engine>, options: Options) -> Round {
        self.sites[site].host.spawn("reclaim", async move { engine.reclaim(options, &|_, _| ()).await })
    }

    /// Makes a round; the engine may refuse. Afterwards every root is readable.
    pub fn try_reclaim(&mut self, site: usize, grace_ms: u64) -> Outcome<Result<Report, EngineError>> {
        let round = self.begin_reclaim(site, grace_ms);
        let outcome = self.wait(round)?;
        self.check_roots()?;
        if let Ok(report) = &outcome {
            self.check_counts(report)?;
        }
        Ok(outcome)
    }

    /// Looks what a round would do, and deletes nothing. What it counts is right, and so is what the pool takes.
    pub fn look(&mut self, site: usize) -> Outcome<Report> {
        let options = Options {
            grace: Duration::ZERO,
            force: false,
            dry_run: true,
            gently: true,
            limits: asked_only(),
        };
        let engine = self.engine(site);
        let round = self.begin_round(site, engine.clone(), options);
        let report = self.wait(round)?.map_err(|error| violation(format!("a look fails: {error}")))?;
        self.check_counts(&report)?;
        let measuring = async move { engine.space(Duration::ZERO, &|_, _| ()).await };
        let measured = self.sites[site].host.spawn("measure", measuring);
        let (measured, _): (space::Space, _) = self.wait(measured)?.map_err(violation)?;
        let volumes: u64 = measured.volumes.iter().map(|volume| volume.exclusive_bytes).sum();
        if measured.sum_bytes() != measured.stored.bytes || volumes != measured.exclusive_bytes {
            return Err(violation(format!("what the pool takes does not add up: {measured:?}")));
        }
        Ok(report)
    }

    /// No slot that a head reaches counts as dead. What came after the round is in segments that were in flight then.
    fn check_counts(&mut self, report: &Report) -> Outcome {
        let reached = self.reached()?;
        let planned = &report.planned;
        for verdict in planned.plan.verdicts.iter().filter(|verdict| verdict.reason != Reason::InFlight) {
            let slots = reached.slots.get(&verdict.segment).map_or(0, BTreeSet::len);
            if slots as u64 > u64::from(verdict.live) {
                return Err(violation(format!(
                    "heads reach {slots} slots, and a round counts less: {verdict:?}"
                )));
            }
        }
        for victim in planned.bundles.iter().flatten().chain(&planned.reseals) {
            let kept = |slot: &u32| {
                victim
                    .live
                    .iter()
                    .any(|(first, count)| (u32::from(*first)..u32::from(*first) + count).contains(slot))
            };
            let slots = reached.slots.get(&victim.segment);
            if let Some(slot) = slots.into_iter().flatten().find(|slot| !kept(slot)) {
                return Err(violation(format!(
                    "a head reaches slot {slot}, which a rewrite drops: {victim:?}"
                )));
            }
        }
        Ok(())
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
    pub fn open_reader(&mut self, site: usize) -> Outcome<Reader> {
        self.try_open_reader(site)?.map_err(violation)
    }

    /// The same; the engine may refuse.
    pub fn try_open_reader(&mut self, site: usize) -> Outcome<Result<Reader, EngineError>> {
        let engine = self.bare_engine(site)?;
        let opening = engine.clone();
        let task = self.sites[site].host.spawn("open", async move { opening.open_read_only(VOLUME).await });
        Ok(self.wait(task)?.map(|volume| (engine, volume)))
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
        let reached: BTreeSet<String> = self.reached()?.names;
        let store = self.machine.store();
        let prefixes = [names::segments(), names::packs(), names::bundles()];
        let stored = prefixes.into_iter().flat_map(|prefix| store.names(&prefix));
        match stored.into_iter().find(|name| !reached.contains(name)) {
            None => Ok(()),
            Some(name) => Err(violation(format!("{name} is still there, and no head reaches it"))),
        }
    }

    /// All that heads reach; each object is opened.
    fn reached(&mut self) -> Outcome<Reached> {
        let heads: Vec<String> = self.head_names();
        let store = self.machine.store();
        let read = |name: &String| {
            store.object(name).and_then(|bytes| Some(Head::parse(&bytes).ok()?.peek().clone()))
        };
        let heads: Vec<Head> = heads.iter().filter_map(read).collect();
        let deleted = |head: &&Head| head.kind == HeadKind::Deleted;
        let gone: BTreeSet<_> = heads.iter().filter(deleted).map(|head| head.volume).collect();
        let born: BTreeSet<_> =
            heads.iter().filter(|head| head.kind != HeadKind::Unborn).map(|head| head.volume).collect();
        let heads: Vec<Head> = heads.into_iter().filter(|head| !gone.contains(&head.volume)).collect();
        let newest = |head: &Head| {
            !heads.iter().any(|other| other.volume == head.volume && other.number > head.number)
        };
        let roots: Vec<Root> =
            heads.iter().map(|head| Root { head: head.clone(), older: !newest(head) }).collect();
        self.audit(async move |pool: Arc<Pool>| {
            let mut reached = Reached::default();
            for Root { head, older } in roots {
                let name = names::head(head.volume, head.number);
                let below = reached.below(&pool, &head, older).await;
                // Nobody can rely on what is not born; as long as it can be read it is a root (rule R6).
                if below.is_err() && !born.contains(&head.volume) {
                    continue;
                }
                below.map_err(|error| format!("head {name} cannot be read: {error}"))?;
            }
            let table = pool.fetcher().table();
            // A segment that was rewritten is where the table says.
            let home = |object: &Bulk| match object {
                Bulk::Segment(id) => table.entry(*id).map_or(*object, |entry| Bulk::Bundle(entry.bundle)),
                other => *other,
            };
            reached.names = reached.objects.iter().map(|object| home(object).name()).collect();
            Ok(reached)
        })
    }
}

impl Reached {
    async fn below(&mut self, pool: &Pool, head: &Head, older: bool) -> Result<(), EngineError> {
        // What each block is, as one after the other says it.
        let mut blocks_now = BTreeMap::new();
        let mut named = BTreeSet::new();
        let mut say = |lba: u64, first: Address, blocks: u64| {
            if let AddressKind::Segment(id, _) = first.kind() {
                named.insert(Bulk::Segment(id));
            }
            blocks_now.extend((0..blocks).map(|block| (lba + block, first.plus(block))));
        };
        if let Some(root) = head.root {
            self.objects.insert(Bulk::Pack(root.pack));
            let blocks = head.size_bytes / esker_format::BLOCK_BYTES as u64;
            let found = |place: Place, page: &Page| match page {
                Page::Leaf(runs) => {
                    for run in runs {
                        say(place.start() + u64::from(run.start), run.address, run.blocks.into());
                    }
                }
                Page::Inner(children) => {
                    self.objects.extend(children.iter().filter_map(|(_, child)| match child {
                        esker_format::Child::Page(reference) => Some(Bulk::Pack(reference.pack)),
                        esker_format::Child::Zero => None,
                    }))
                }
            };
            checkpoint::load(pool.fetcher(), root, blocks, &(0..blocks), found).await?;
        }
        for segment in &head.tail {
            let index = pool.fetcher().index(segment.id, None).await?;
            self.objects.insert(Bulk::Segment(segment.id));
            index.runs.iter().for_each(|run| say(run.lba, run.address(segment.id), run.blocks));
        }
        // Rounds keep of an older head all that it names.
        if older {
            self.objects.extend(named);
        }
        for address in blocks_now.into_values() {
            self.slot(address);
        }
        for (id, shown) in &self.slots {
            let kept = pool.fetcher().index(*id, None).await?.kept();
            let is_kept = |slot: &&u32| {
                kept.iter()
                    .any(|(first, count)| (u32::from(*first)..u32::from(*first) + count).contains(*slot))
            };
            if let Some(slot) = shown.iter().find(|slot| !is_kept(slot)) {
                return Err(EngineError::Invalid(format!("slot {slot} of {id} was dropped")));
            }
        }
        Ok(())
    }

    fn slot(&mut self, address: Address) {
        if let AddressKind::Segment(id, slot) = address.kind() {
            self.objects.insert(Bulk::Segment(id));
            self.slots.entry(id).or_default().insert(slot.into());
        }
    }
}
