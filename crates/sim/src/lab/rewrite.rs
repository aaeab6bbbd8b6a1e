//! Rewrites, and what must hold of them: which slots live is worked out here, without the engine's mark.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use esker_engine::{
    EngineError, checkpoint,
    core::{fold::Place, slots::Slots, victims::Victim},
    host::Host as Engine,
    pool::Pool,
    reclaim::round::{Options, Report},
};
use esker_format::{
    Page, RoundRecord,
    address::AddressKind,
    head::Head,
    ids::SegmentId,
    names::{self, ObjectName},
};

use super::{Lab, Outcome, VOLUME, change::unchanging, reclaim::asked_only, violation};
use crate::Task;

/// What the heads of a pool name.
#[derive(Default)]
struct Named {
    slots: BTreeMap<SegmentId, Slots>,
    /// Segments of tails: all of their slots may be named.
    tails: BTreeSet<SegmentId>,
}

impl Lab {
    /// The segments of which a slot is dead, with those that live.
    pub fn victims(&mut self) -> Outcome<Vec<Victim>> {
        let roots = self.roots();
        self.audit(async move |pool: Arc<Pool>| {
            let named = named(&pool, &roots).await.map_err(|error| error.to_string())?;
            let mut victims = Vec::new();
            for (segment, live) in named.slots {
                let index = pool.fetcher().index(segment, None).await.map_err(|error| error.to_string())?;
                let dead = Slots::of(&index.kept()).without(&live);
                if dead.count() > 0 && !named.tails.contains(&segment) {
                    victims.push(Victim { segment, live: live.runs() });
                }
            }
            Ok(victims)
        })
    }

    /// Starts a round of an engine that rewrites these segments.
    pub fn begin_rewrite(
        &mut self,
        site: usize,
        engine: Arc<Engine>,
        victims: Vec<Victim>,
        grace_ms: u64,
    ) -> Task<Result<Report, EngineError>> {
        self.reclaims = true;
        let grace = Duration::from_millis(grace_ms);
        let options = Options { grace, force: false, dry_run: false, gently: true, limits: asked_only() };
        let work = async move { engine.reclaim_asked(options, &victims, &|_, _| ()).await };
        // Blocks of an almost empty segment are written anew meanwhile.
        match &self.sites[site].volume {
            Some(volume) => {
                let work = unchanging(self.book.clone(), self.book.opening(), volume.clone(), work);
                self.sites[site].host.spawn("rewrite", work)
            }
            None => self.sites[site].host.spawn("rewrite", work),
        }
    }

    /// Rewrites all segments of which a slot is dead, with a round. Afterwards every root is readable.
    pub fn rewrite(&mut self, site: usize, grace_ms: u64) -> Outcome<Report> {
        let (victims, engine) = (self.victims()?, self.engine(site));
        let round = self.begin_rewrite(site, engine, victims, grace_ms);
        let report = self.wait(round)?.map_err(|error| violation(format!("a rewrite fails: {error}")))?;
        self.check_roots()?;
        self.check_condemned(&BTreeSet::new())?;
        Ok(report)
    }

    /// Rule R3: every slot that a rewrite lacks was condemned by a round, and so was each of these segments that is gone,
    /// unless it was rewritten.
    pub fn check_condemned(&mut self, before: &BTreeSet<String>) -> Outcome {
        let store = self.machine.store();
        let read = |name: String| Some(RoundRecord::parse(&store.object(&name)?).ok()?.peek().clone());
        let rounds: Vec<RoundRecord> = store.names(&names::rounds()).into_iter().filter_map(read).collect();
        let (mut segments, mut slots) = (BTreeSet::new(), BTreeMap::<SegmentId, Slots>::new());
        for round in rounds {
            segments.extend(round.condemned);
            for suspended in round.suspended {
                let all = slots.entry(suspended.segment).or_default();
                for (first, count) in suspended.dropped {
                    all.insert(first, count);
                }
            }
        }
        let stored = store.names(&names::segments());
        for name in before.iter().filter(|name| !stored.contains(name)) {
            let Some(ObjectName::Segment(id)) = names::parse(name) else { continue };
            if !segments.contains(&id) && !slots.contains_key(&id) {
                return Err(violation(format!("{name} is gone, and no round condemned it")));
            }
        }
        self.audit(async move |pool: Arc<Pool>| {
            for entry in pool.fetcher().table().entries() {
                let id = entry.segment;
                let index = pool.fetcher().index(id, None).await.map_err(|error| error.to_string())?;
                let dropped = Slots::of(&[(0, index.slots)]).without(&Slots::of(&index.kept()));
                let told = slots.get(&id).cloned().unwrap_or_default();
                if let Some((slot, _)) = dropped.without(&told).runs().first() {
                    return Err(format!("slot {slot} of {id} is gone, and no round condemned it"));
                }
            }
            Ok(())
        })
    }

    /// Sets the volume aside.
    pub fn set_aside(&mut self) -> Outcome {
        self.audit(async move |pool: Arc<Pool>| {
            let id = pool.lookup(VOLUME).await.map_err(|error| error.to_string())?;
            let id = id.ok_or("the volume has no name")?;
            esker_engine::reclaim::quarantine(&pool, id).await.map_err(|error| error.to_string())
        })
    }

    fn roots(&self) -> Vec<Head> {
        let store = self.machine.store();
        let read = |name: &String| Some(Head::parse(&store.object(name)?).ok()?.peek().clone());
        let heads: Vec<String> = store.names("volumes/");
        heads.iter().filter_map(read).collect()
    }
}

async fn named(pool: &Pool, roots: &[Head]) -> Result<Named, EngineError> {
    let mut named = Named::default();
    for head in roots {
        named.tails.extend(head.tail.iter().map(|segment| segment.id));
        let Some(root) = head.root else { continue };
        let blocks = head.size_bytes / esker_format::BLOCK_BYTES as u64;
        let found = |_: Place, page: &Page| {
            let Page::Leaf(runs) = page else { return };
            for run in runs {
                if let AddressKind::Segment(id, slot) = run.address.kind() {
                    named.slots.entry(id).or_default().insert(slot, run.blocks.into());
                }
            }
        };
        checkpoint::load(pool.fetcher(), root, blocks, &(0..blocks), found).await?;
    }
    Ok(named)
}
