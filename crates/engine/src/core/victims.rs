//! Which segments are rewritten: policy only, somebody else carries it out.
//!
//! ```text
//! live share of the pool   0 %                70 %      75 %              100 %
//!                          |  a round rewrites  ──────▶ |  nothing is done  |
//!                          |  the best first, up to here| until it is below 70 %
//! ```
//! An object is one segment, or a bundle of several: its bytes come back only as a whole, so a bundle is judged, and
//! rewritten, as a whole. What a rewrite gains are the bytes of the dead slots; what it costs are those of the others,
//! which are read and written once more. A gain counts the more the older the object is, by the root of its place among
//! all: what has lived longer will live longer, while a young one still loses slots by itself. The root, for with the
//! age itself a uniform load costs more than it has to; the simulation beside this file says how much all this costs.
//!
//! Output is in order of age, and cut into bundles in that order: cold beside cold. Then a bundle stays whole or dies
//! as a whole, and what was rewritten once is seldom rewritten again.

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use esker_format::ids::SegmentId;

/// An object of which more than this many sixteenths live is too full to be worth it.
const FULL_SIXTEENTHS: u64 = 14;
/// A segment of which less than one sixteenth lives is almost empty (rule G5).
const EMPTY_SIXTEENTHS: u64 = 1;
/// What the requests and the entry of one object count for, in bytes.
const OBJECT_COST_BYTES: u64 = 64 << 10;

/// A segment that is rewritten, with the slots that are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Victim {
    /// The segment.
    pub segment: SegmentId,
    /// First slot and count; sorted, disjoint.
    pub live: Vec<(u16, u32)>,
}

/// A segment as the mark found it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// The segment.
    pub segment: SegmentId,
    /// Slots that it was sealed with.
    pub sealed: u32,
    /// Of these, slots that the object still holds.
    pub slots: u32,
    /// Of these, slots that a root reaches.
    pub live: u32,
    /// A head names it in its tail: it stays, though nothing of it may show.
    pub tail: bool,
    /// An older head does, and so all of it counts.
    pub whole: bool,
    /// Its commit is not settled.
    pub in_flight: bool,
    /// The newest map of a volume that this run writes names it.
    pub open: bool,
}

/// An object of the store that holds segments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its size.
    pub bytes: u64,
    /// One, or those of a bundle.
    pub parts: Vec<Part>,
}

/// What a plan has to keep to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Below this live share a round rewrites …
    pub start_percent: u64,
    /// … until this one is reached.
    pub stop_percent: u64,
    /// Live bytes that one round rewrites at most.
    pub bytes_max: u64,
    /// About the size of a bundle.
    pub bundle_bytes: u64,
}

impl Default for Limits {
    /// What the simulation beside this file holds to.
    fn default() -> Self {
        Self { start_percent: 70, stop_percent: 75, bytes_max: 64 << 30, bundle_bytes: 32 << 20 }
    }
}

/// Why a segment stays as it is, or what becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Nothing reaches it: it is deleted, not rewritten.
    Dead,
    /// Its index cannot be read, or does not have the slots that maps name.
    Unreadable,
    /// It is uploaded, and no head names it yet.
    InFlight,
    /// An older head names it in its tail: all of it counts until that head is gone.
    Tail,
    /// Almost all of its object lives.
    Full,
    /// Enough of the pool lives.
    Enough,
    /// This round does enough without it.
    Bound,
    /// Its live slots are written once more, with those of others.
    Rewrite,
    /// So few that the owner of the volume writes them again himself (rule G5).
    Reseal,
}

/// What is said of one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// The segment.
    pub segment: SegmentId,
    /// Its share of its object's bytes.
    pub bytes: u64,
    /// Slots that the object holds.
    pub slots: u32,
    /// Of these, live ones.
    pub live: u32,
    /// What becomes of it.
    pub reason: Reason,
}

impl Verdict {
    /// The bytes of its slots that nothing reaches.
    pub fn dead_bytes(&self) -> u64 {
        self.bytes - part_of(self.bytes, self.live.into(), self.slots.into())
    }
}

/// How much of what is stored lives. Objects that are wholly dead, and those in flight, are not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Share {
    /// Bytes of live slots.
    pub live_bytes: u64,
    /// Bytes of all slots.
    pub stored_bytes: u64,
}

impl Share {
    /// In per cent; all of nothing.
    pub fn percent(&self) -> u64 {
        if self.stored_bytes == 0 { 100 } else { part_of(100, self.live_bytes, self.stored_bytes) }
    }
}

/// What a round should do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// What is said of each segment, by segment.
    pub verdicts: Vec<Verdict>,
    /// What is rewritten: segments that share an object, coldest first.
    pub bundles: Vec<Vec<SegmentId>>,
    /// What owners write again.
    pub reseals: Vec<SegmentId>,
    /// How much lives now.
    pub now: Share,
    /// How much lives of what is stored when that is done.
    pub then: Share,
}

impl Object {
    fn slots(&self) -> u64 {
        self.parts.iter().map(|part| u64::from(part.slots)).sum()
    }

    fn live(&self) -> u64 {
        self.parts.iter().map(|part| u64::from(part.live)).sum()
    }

    fn live_bytes(&self) -> u64 {
        part_of(self.bytes, self.live(), self.slots())
    }

    /// Why it is left alone whatever the pool is like.
    fn stays(&self) -> Option<Reason> {
        if self.parts.iter().any(|part| part.in_flight) {
            return Some(Reason::InFlight);
        }
        if self.parts.iter().any(|part| part.whole) {
            return Some(Reason::Tail);
        }
        if self.parts.iter().all(|part| part.live == 0 && !part.tail) {
            return Some(Reason::Dead);
        }
        // Of a segment without slots nothing can go.
        (self.slots() == 0 || self.live() * 16 > self.slots() * FULL_SIXTEENTHS).then_some(Reason::Full)
    }
}

impl Part {
    /// What becomes of it when its object is rewritten.
    fn moved(&self) -> Reason {
        let almost_empty = u64::from(self.live) * 16 < u64::from(self.sealed) * EMPTY_SIXTEENTHS;
        match self.live {
            0 if self.tail => Reason::Rewrite,
            0 => Reason::Dead,
            _ if self.open && almost_empty => Reason::Reseal,
            _ => Reason::Rewrite,
        }
    }
}

/// Decides what a round does about objects that are partly dead.
pub fn plan(objects: &[Object], limits: &Limits) -> Plan {
    let mut plan = Plan { now: share(objects), ..Plan::default() };
    plan.then = plan.now;
    let mut chosen = Vec::new();
    let starts = plan.now.percent() < limits.start_percent;
    let mut left = limits.bytes_max;
    for object in by_merit(objects) {
        let live_bytes = object.live_bytes();
        let reason = match object.stays() {
            Some(reason) => reason,
            None if !starts || plan.then.percent() >= limits.stop_percent => Reason::Enough,
            None if live_bytes > left => Reason::Bound,
            None => {
                left -= live_bytes;
                plan.then.stored_bytes -= object.bytes - live_bytes;
                chosen.push(object);
                Reason::Rewrite
            }
        };
        plan.verdicts.extend(object.parts.iter().map(|part| {
            let reason = if reason == Reason::Rewrite { part.moved() } else { reason };
            let bytes = match object.parts.len() {
                1 => object.bytes,
                _ => part_of(object.bytes, part.slots.into(), object.slots()),
            };
            Verdict { segment: part.segment, bytes, slots: part.slots, live: part.live, reason }
        }));
    }
    plan.verdicts.sort_by_key(|verdict| verdict.segment);
    let of = |reason| plan.verdicts.iter().filter(move |verdict| verdict.reason == reason);
    plan.reseals = of(Reason::Reseal).map(|verdict| verdict.segment).collect();
    plan.bundles = bundles(of(Reason::Rewrite), limits.bundle_bytes);
    plan
}

/// How much of the pool lives.
fn share(objects: &[Object]) -> Share {
    let mut share = Share::default();
    let counted = |object: &&Object| !matches!(object.stays(), Some(Reason::Dead | Reason::InFlight));
    for object in objects.iter().filter(counted) {
        share.live_bytes += object.live_bytes();
        share.stored_bytes += object.bytes;
    }
    share
}

/// Those with the most gain for what they cost first.
fn by_merit(objects: &[Object]) -> Vec<&Object> {
    let ages = ages(objects);
    let merit = |object: &Object| {
        let (live, oldest) = (object.live_bytes(), ages.len().max(1) as u64);
        let age = object.parts.iter().filter_map(|part| ages.get(&part.segment)).min().copied().unwrap_or(0);
        let gain = u128::from(object.bytes - live) * u128::from(16 + ((age << 16) / oldest).isqrt());
        gain * 1_024 / u128::from(live + OBJECT_COST_BYTES)
    };
    let mut sorted: Vec<(u128, &Object)> = objects.iter().map(|object| (merit(object), object)).collect();
    sorted.sort_by_key(|(merit, object)| {
        (std::cmp::Reverse(*merit), object.parts.first().map(|part| part.segment))
    });
    sorted.into_iter().map(|(_, object)| object).collect()
}

/// How many segments are younger than each. Writers are numbered as they begin, and each counts its segments, so ids
/// are in order of age as long as one host writes; else they are about that.
fn ages(objects: &[Object]) -> BTreeMap<SegmentId, u64> {
    let mut segments: Vec<SegmentId> =
        objects.iter().flat_map(|object| &object.parts).map(|part| part.segment).collect();
    segments.sort_unstable();
    segments.into_iter().rev().zip(0..).collect()
}

/// Cuts segments, oldest first, into bundles.
fn bundles<'a>(rewritten: impl Iterator<Item = &'a Verdict>, bundle_bytes: u64) -> Vec<Vec<SegmentId>> {
    let mut bundles: Vec<Vec<SegmentId>> = Vec::new();
    let mut room = 0;
    for verdict in rewritten {
        let bytes = verdict.bytes - verdict.dead_bytes();
        match bundles.last_mut().filter(|_| bytes <= room) {
            Some(bundle) => {
                bundle.push(verdict.segment);
                room -= bytes;
            }
            None => {
                bundles.push(vec![verdict.segment]);
                room = bundle_bytes.saturating_sub(bytes);
            }
        }
    }
    bundles
}

/// `bytes` × `some` / `all`, where all of nothing is nothing.
fn part_of(bytes: u64, some: u64, all: u64) -> u64 {
    if all == 0 { 0 } else { (u128::from(bytes) * u128::from(some) / u128::from(all)) as u64 }
}
