//! Setting a volume aside that cannot be read, so that it does not stop reclaim of the whole pool (rule R13).
//!
//! In numbered steps:
//! 1. LIST segments, packs and bundles: whatever the volume needs and is still there is among them.
//! 2. PUT `quarantine/VOLUME`, create-only, which says so.
//! 3. From then on a round passes over what it cannot read of that volume. It neither deletes nor rewrites what the record
//!    names: nobody knows which of it, and which of its slots, the volume needs.
//!
//! A crash between 1 and 2 leaves nothing. What came between 1 and 2 and is the volume's is not kept: so it is not to be
//! open for writing. The record counts until the volume is deleted.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use esker_format::{
    Bulk, Quarantine,
    ids::{AttemptId, SegmentId, VolumeId},
    names::{self, ObjectName},
};

use super::round::Round;
use crate::{
    EngineError, Result,
    pool::{PATIENCE, Pool},
    upload::{after, settle},
};

/// What stays for volumes that are set aside.
#[derive(Default)]
pub(super) struct SetAside(BTreeMap<VolumeId, Quarantine>);

impl SetAside {
    pub(super) fn has(&self, volume: VolumeId) -> bool {
        self.0.contains_key(&volume)
    }

    /// The volumes for which this object stays.
    pub(super) fn keepers(&self, object: Bulk) -> impl Iterator<Item = VolumeId> {
        self.0.iter().filter(move |(_, quarantine)| quarantine.keeps(&object)).map(|(volume, _)| *volume)
    }
}

/// Sets a volume aside. Doing so again changes nothing.
pub async fn quarantine(pool: &Pool, volume: VolumeId) -> Result<()> {
    let mut newest = BTreeMap::<u32, SegmentId>::new();
    let (mut packs, mut bundles) = (BTreeSet::new(), BTreeSet::new());
    for object in listed(pool).await?.into_keys() {
        match object {
            Bulk::Segment(id) => {
                let highest = newest.entry(id.writer).or_insert(id);
                *highest = id.max(*highest);
            }
            Bulk::Pack(id) => drop(packs.insert(id)),
            Bulk::Bundle(id) => drop(bundles.insert(id)),
        }
    }
    // A segment that was rewritten has no object of its own.
    for entry in pool.fetcher().newest_table().await?.entries() {
        let highest = newest.entry(entry.segment.writer).or_insert(entry.segment);
        *highest = entry.segment.max(*highest);
    }
    let world = pool.world();
    let record = Quarantine {
        pool: pool.id(),
        volume,
        attempt: AttemptId(world.random.id()),
        written_ms: world.clock.wall_ms(),
        newest: newest.into_values().collect(),
        packs: packs.into_iter().collect(),
        bundles: bundles.into_iter().collect(),
    };
    let (name, sent) = (names::quarantine(volume), Bytes::from(record.encode()));
    settle(world, &name, sent.clone(), |held| *held == sent, after(world, PATIENCE)).await?;
    Ok(())
}

/// All segments, packs and bundles, with their sizes.
pub(super) async fn listed(pool: &Pool) -> Result<BTreeMap<Bulk, u64>> {
    let mut listed = BTreeMap::new();
    for prefix in [names::segments(), names::packs(), names::bundles()] {
        for object in pool.fetcher().list(&prefix).await? {
            match names::parse(&object.name) {
                Some(ObjectName::Segment(id)) => listed.insert(Bulk::Segment(id), object.bytes),
                Some(ObjectName::Pack(id)) => listed.insert(Bulk::Pack(id), object.bytes),
                Some(ObjectName::Bundle(id)) => listed.insert(Bulk::Bundle(id), object.bytes),
                // Whatever it is, it is none of ours.
                _ => None,
            };
        }
    }
    Ok(listed)
}

impl Round<'_> {
    /// Reads which volumes are set aside.
    pub(super) async fn set_aside(&self) -> Result<SetAside> {
        let mut found = SetAside::default();
        for object in self.pool.fetcher().list(&names::quarantines()).await? {
            let Some(ObjectName::Quarantine(volume)) = names::parse(&object.name) else { continue };
            let damaged = |message: String| EngineError::Damaged { object: object.name.clone(), message };
            let bytes = self.pool.fetcher().object(&object.name).await?;
            let bytes = bytes.ok_or_else(|| damaged("it is listed and missing".into()))?;
            let record = Quarantine::parse(&bytes).and_then(|record| record.verify(self.pool.id(), volume));
            found.0.insert(volume, record.map_err(|error| damaged(error.to_string()))?);
        }
        Ok(found)
    }
}
