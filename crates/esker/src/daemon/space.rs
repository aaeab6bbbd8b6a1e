//! How much is whose and why segments stay, in the words of the API.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use esker_control::{ApiError, api};
use esker_engine::{
    core::{grace::Verdict, victims::Reason},
    pool::Pool,
    reclaim::{plan::Planned, round::Class},
    space::Space,
};
use esker_format::names;

use super::Daemon;
use crate::{catalogue, errors};

/// The most segments that one answer names: some 40 MiB of JSON, below what a client reads.
const SEGMENTS_MAX: usize = 250_000;

impl Daemon {
    pub(super) async fn space_now(self: Arc<Self>) -> Result<api::Space, ApiError> {
        let measured = self.host.space(self.told.grace, &|_, _| ()).await;
        let (space, verdict) = measured.map_err(|error| errors::api(&error))?;
        Ok(told(self.host.pool(), &space, &verdict))
    }
}

/// What was measured. Without a list of how long what is dead, all of it waits.
pub(crate) fn told(pool: &Pool, space: &Space, verdict: &Verdict) -> api::Space {
    let volumes: Vec<_> = space
        .volumes
        .iter()
        .map(|volume| {
            let name = volume.name.clone().unwrap_or_else(|| volume.volume.to_string());
            api::VolumeSpace {
                // A volume's name has no such letter.
                snapshot: name.contains('@'),
                name,
                id: volume.volume.to_string(),
                size_bytes: volume.size_bytes,
                mapped_bytes: volume.mapped_bytes,
                referenced_bytes: volume.referenced_bytes,
                shared_bytes: volume.shared_bytes,
                exclusive_bytes: volume.exclusive_bytes,
                history_bytes: volume.history_bytes,
            }
        })
        .collect();
    let due = objects(Class::of(&verdict.due));
    let gone: u64 = space.gone.values().sum();
    let waiting = api::Objects { objects: space.gone.len() as u64 - due.objects, bytes: gone - due.bytes };
    api::Space {
        pool: catalogue::pool(pool),
        stored: objects(space.stored),
        exclusive_bytes: space.exclusive_bytes,
        shared_bytes: space.shared_bytes,
        dead_bytes: space.dead_bytes,
        index_bytes: space.index_bytes,
        pages: objects(space.pages),
        in_flight: objects(space.in_flight),
        waiting,
        due,
        records: objects(space.records),
        reclaimable_bytes: due.bytes + space.dead_bytes,
        pinned: pinned(space, &volumes),
        volumes,
    }
}

/// What stays for the sake of something else than a volume's present state.
fn pinned(space: &Space, volumes: &[api::VolumeSpace]) -> Vec<api::Pinned> {
    let of_volume = |volume: &api::VolumeSpace| match volume.snapshot {
        true => api::Pinned { by: format!("snapshot {}", volume.name), bytes: volume.exclusive_bytes },
        false => api::Pinned { by: format!("history of {}", volume.name), bytes: volume.history_bytes },
    };
    let mut pinned: Vec<_> = volumes.iter().map(of_volume).collect();
    pinned.push(api::Pinned { by: "in flight".to_owned(), bytes: space.in_flight.bytes });
    pinned.push(api::Pinned { by: "pages".to_owned(), bytes: space.pages.bytes });
    pinned.retain(|pinned| pinned.bytes > 0);
    pinned.sort_by(|a, b| (Reverse(a.bytes), &a.by).cmp(&(Reverse(b.bytes), &b.by)));
    pinned
}

/// Why each segment stays.
pub(super) fn reasons(planned: &Planned) -> api::Reasons {
    let plan = &planned.plan;
    let mut sums: BTreeMap<Reason, api::ReasonSum> = BTreeMap::new();
    for verdict in &plan.verdicts {
        let sum = sums.entry(verdict.reason).or_insert_with(|| api::ReasonSum {
            reason: word(verdict.reason).to_owned(),
            segments: api::Objects::default(),
            dead_bytes: 0,
        });
        sum.segments.objects += 1;
        sum.segments.bytes += verdict.bytes;
        sum.dead_bytes += verdict.dead_bytes();
    }
    let mut segments: Vec<_> = plan.verdicts.iter().collect();
    segments.sort_by_key(|verdict| (Reverse(verdict.bytes), verdict.segment));
    let left_out = segments.len().saturating_sub(SEGMENTS_MAX) as u64;
    segments.truncate(SEGMENTS_MAX);
    let segment = |verdict: &&esker_engine::core::victims::Verdict| api::SegmentReason {
        object: names::segment(verdict.segment),
        bytes: verdict.bytes,
        slots: verdict.slots,
        live: verdict.live,
        reason: word(verdict.reason).to_owned(),
    };
    api::Reasons {
        live_bytes: plan.now.live_bytes,
        stored_bytes: plan.now.stored_bytes,
        reasons: sums.into_values().collect(),
        segments: segments.iter().map(segment).collect(),
        left_out,
    }
}

fn word(reason: Reason) -> &'static str {
    match reason {
        Reason::Dead => "dead",
        Reason::Unreadable => "unreadable",
        Reason::InFlight => "in flight",
        Reason::Tail => "tail",
        Reason::Full => "full",
        Reason::Enough => "enough",
        Reason::Bound => "bound",
        Reason::Rewrite => "rewrite",
        Reason::Reseal => "reseal",
    }
}

pub(super) fn objects(class: Class) -> api::Objects {
    api::Objects { objects: class.objects, bytes: class.bytes }
}
