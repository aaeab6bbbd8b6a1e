//! How much of the store is whose. Reads, and changes nothing.
//!
//! ```text
//! stored, by LIST ─┬─ segments ─┬─ slots ─┬─ held by one volume: its newest head, or only older ones
//!                  │            │         ├─ held by several
//!                  │            │         └─ held by nobody, beside slots that are
//!                  │            └─ header, index and trailer
//!                  ├─ packs of pages
//!                  ├─ objects in flight, and dead ones
//!                  └─ records: heads, names and all that is small
//! ```
//! 1. LIST everything; only what is listed here is counted. What is written later is not, though it may be reached.
//! 2. Note what is in flight, then LIST the heads: as in a round of reclaim.
//! 3. Walk from all heads of one volume after the other, the newest first ([`walk`]): whose each page and slot is. Of
//!    the newest what it shows counts ([`shown`]), of older ones all that they name: as in a round.
//! 4. Add up. Each byte of step 1 is in one line of the answer.
//!
//! Memory for a TiB of blocks: 64 MiB for what slots take, 80 bytes a page, so 10 MiB, and 250 bytes for each segment
//! with its set of slots, 8 MiB. Where blocks were overwritten one by one, a set takes up to a bit for each slot: 32 MiB
//! more for each volume that holds such slots alone. Besides, the runs of one tail at a time, up to 100 MiB where all
//! its blocks lie apart, and 600 bytes for each state of a volume with a long tail.

mod shown;
#[cfg(test)]
mod tests;
mod walk;

use std::collections::{BTreeMap, BTreeSet};

use esker_format::{
    BLOCK_BYTES, Bulk,
    head::{Head, HeadKind},
    ids::{BundleId, VolumeId},
    names::{self, ObjectName},
};
use futures_util::{StreamExt, stream};

use self::walk::Walk;
use crate::{
    Result,
    core::space::{Holder, Sums},
    pool::Pool,
    reclaim::round::Class,
    table::Table,
};

/// Heads that are read at once.
const HEADS_AT_ONCE: usize = 16;

/// What one volume takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeSpace {
    /// Its name, where it has one.
    pub name: Option<String>,
    /// Its id.
    pub volume: VolumeId,
    /// Its size.
    pub size_bytes: u64,
    /// Blocks of it that hold data, in segments.
    pub mapped_bytes: u64,
    /// Stored bytes that its newest head reaches.
    pub referenced_bytes: u64,
    /// Of these, what others reach too.
    pub shared_bytes: u64,
    /// Stored bytes that nobody else reaches: what comes back when it is deleted.
    pub exclusive_bytes: u64,
    /// Of these, what only its older heads reach.
    pub history_bytes: u64,
}

/// What a pool takes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Space {
    /// By name.
    pub volumes: Vec<VolumeSpace>,
    /// Everything, as the store lists it.
    pub stored: Class,
    /// Slots that one volume holds.
    pub exclusive_bytes: u64,
    /// Slots that several hold.
    pub shared_bytes: u64,
    /// Slots that nobody holds, in segments of which somebody holds others.
    pub dead_bytes: u64,
    /// Headers, indexes and trailers of segments that live.
    pub index_bytes: u64,
    /// Packs that live, each as a whole.
    pub pages: Class,
    /// Uploaded, and not committed yet.
    pub in_flight: Class,
    /// Dead segments and packs.
    pub gone: BTreeMap<Bulk, u64>,
    /// Everything else.
    pub records: Class,
}

impl Space {
    /// Slots that anybody holds.
    pub fn live_bytes(&self) -> u64 {
        self.exclusive_bytes + self.shared_bytes
    }

    /// All lines together: as much as is stored.
    pub fn sum_bytes(&self) -> u64 {
        let gone: u64 = self.gone.values().sum();
        let whole = [self.pages, self.in_flight, self.records].iter().map(|class| class.bytes).sum::<u64>();
        self.live_bytes() + self.dead_bytes + self.index_bytes + whole + gone
    }
}

/// The heads to count from.
struct Roots {
    newest: Head,
    /// States that are open here for reading.
    read: Vec<Head>,
    older: Vec<Head>,
}

/// Measures a pool. `progress` gets (segments looked at, segments stored).
///
/// # Errors
/// A head, a page or an index cannot be read. Nothing is said then: figures with a hole would be wrong ones.
pub async fn measure(pool: &Pool, progress: &(dyn Fn(u64, u64) + Sync)) -> Result<Space> {
    let (listed, mut space) = list(pool).await?;
    let in_flight: BTreeSet<Bulk> = pool.uses().in_flight().into_iter().collect();
    let names: BTreeMap<VolumeId, String> =
        pool.names().await?.into_iter().map(|named| (named.volume, named.name)).collect();
    let table = pool.fetcher().newest_table().await?;
    pool.fetcher().install(table.clone());
    let homes = homes(&listed, &table);
    let mut walk = Walk::new(pool, &homes, progress);
    for (volume, numbers) in volumes(pool).await? {
        let Some(roots) = roots(pool, volume, &numbers).await? else { continue };
        let number = space.volumes.len() as u32;
        let mapped = walk.volume(number, &roots).await?;
        space.volumes.push(VolumeSpace {
            name: names.get(&volume).cloned(),
            volume,
            size_bytes: roots.newest.size_bytes,
            mapped_bytes: mapped.blocks * BLOCK_BYTES as u64,
            referenced_bytes: mapped.bytes,
            // Known when all are walked.
            shared_bytes: 0,
            exclusive_bytes: 0,
            history_bytes: 0,
        });
    }
    let sums = walk.sums()?;
    share_out(&mut space, &sums);
    let bundles = table.by_bundle();
    let live = |id: &BundleId| {
        let inside = bundles.get(id).into_iter().flatten();
        inside.filter(|entry| walk.reaches(Bulk::Segment(entry.segment))).collect::<Vec<_>>()
    };
    for (object, bytes) in &listed {
        match object {
            Bulk::Pack(_) if walk.reaches(*object) => space.pages.add(*bytes),
            // What was superseded is as good as gone.
            Bulk::Segment(id)
                if walk.reaches(*object) && homes.contains_key(object) && table.entry(*id).is_none() =>
            {
                space.index_bytes += bytes - walk.slots_bytes(*id);
            }
            Bulk::Bundle(id) if !live(id).is_empty() => {
                let (mut images, mut slots) = (0, 0);
                live(id).into_iter().for_each(|entry| {
                    images += entry.bytes;
                    slots += walk.slots_bytes(entry.segment);
                });
                space.index_bytes += images - slots;
                // Images of segments that are dead, or somewhere else by now.
                space.dead_bytes += bytes - images;
            }
            object if in_flight.contains(object) => space.in_flight.add(*bytes),
            object => drop(space.gone.insert(*object, *bytes)),
        }
    }
    progress(listed.len() as u64, listed.len() as u64);
    assert_eq!(space.sum_bytes(), space.stored.bytes, "each byte is in one line");
    Ok(space)
}

/// Step 1: segments, packs and bundles; everything else is counted at once.
async fn list(pool: &Pool) -> Result<(BTreeMap<Bulk, u64>, Space)> {
    let (mut listed, mut space) = (BTreeMap::new(), Space::default());
    for object in pool.fetcher().list("").await? {
        space.stored.add(object.bytes);
        match names::parse(&object.name) {
            Some(ObjectName::Segment(id)) => drop(listed.insert(Bulk::Segment(id), object.bytes)),
            Some(ObjectName::Pack(id)) => drop(listed.insert(Bulk::Pack(id), object.bytes)),
            Some(ObjectName::Bundle(id)) => drop(listed.insert(Bulk::Bundle(id), object.bytes)),
            _ => space.records.add(object.bytes),
        }
    }
    Ok((listed, space))
}

/// The segments whose object is listed, their own or a bundle, with the size of their image, and the packs.
fn homes(listed: &BTreeMap<Bulk, u64>, table: &Table) -> BTreeMap<Bulk, u64> {
    let mut homes = listed.clone();
    homes.retain(|object, _| !matches!(object, Bulk::Bundle(_)));
    for entry in table.entries() {
        homes.remove(&Bulk::Segment(entry.segment));
        if listed.contains_key(&Bulk::Bundle(entry.bundle)) {
            homes.insert(Bulk::Segment(entry.segment), entry.bytes);
        }
    }
    homes
}

/// The numbers of all heads, by volume, ascending.
async fn volumes(pool: &Pool) -> Result<BTreeMap<VolumeId, Vec<u64>>> {
    let mut volumes: BTreeMap<VolumeId, Vec<u64>> = BTreeMap::new();
    for object in pool.fetcher().list(&names::volumes()).await? {
        if let Some(ObjectName::Head { volume, number }) = names::parse(&object.name) {
            volumes.entry(volume).or_default().push(number);
        }
    }
    volumes.values_mut().for_each(|numbers| numbers.sort_unstable());
    Ok(volumes)
}

/// The heads of a volume, and what is open of it here for reading; `None` when it is deleted.
async fn roots(pool: &Pool, volume: VolumeId, numbers: &[u64]) -> Result<Option<Roots>> {
    let newest = match pool.newest_of(volume, numbers).await? {
        Some(newest) => newest,
        // Heads came and went since the LIST.
        None => pool.newest_head(volume).await?,
    };
    let readers = pool.uses().read().into_iter().filter(|head| head.volume == volume);
    let (mut read, mut older): (Vec<Head>, _) =
        (readers.map(|head| Head::clone(&head)).collect(), Vec::new());
    // Rule H6: of a deleted volume nothing is a root.
    if newest.head.kind == HeadKind::Deleted {
        let reader = read.pop();
        return Ok(reader.map(|newest| Roots { newest, read, older }));
    }
    let numbers = newest.numbers.iter().rev().filter(|number| **number != newest.head.number);
    let reads: Vec<_> = numbers.map(|number| pool.head(volume, *number)).collect();
    let mut reads = stream::iter(reads).buffered(HEADS_AT_ONCE);
    while let Some(head) = reads.next().await {
        // One that goes while we look was thinned by its owner.
        older.extend(head?.map(|head| Head { piece: Vec::new(), ..head }));
    }
    Ok(Some(Roots { newest: newest.head, read, older }))
}

/// What each volume has of the sums, which know it by its place.
fn share_out(space: &mut Space, sums: &Sums) {
    for (volume, number) in space.volumes.iter_mut().zip(0..) {
        let own = sums.of(Holder::Newest(number));
        volume.history_bytes = sums.of(Holder::Older(number));
        volume.exclusive_bytes = own + volume.history_bytes;
        volume.shared_bytes = volume.referenced_bytes.saturating_sub(own);
    }
    space.shared_bytes = sums.of(Holder::Shared);
    space.exclusive_bytes = sums.live() - space.shared_bytes;
    space.dead_bytes = sums.dead;
    space
        .volumes
        .sort_by(|a, b| (a.name.is_none(), &a.name, a.volume).cmp(&(b.name.is_none(), &b.name, b.volume)));
}
