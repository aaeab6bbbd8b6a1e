//! What a pool says of its snapshots, in the words of the API.

use esker_control::api;
use esker_engine::{
    Result,
    pool::{NamedVolume, Pool},
};
use esker_format::head::Head;
use futures_util::{StreamExt, stream};

use super::{VOLUMES_AT_ONCE, is_snapshot};

/// A snapshot and its newest head.
pub(crate) struct Made<'a>(pub(crate) &'a str, pub(crate) &'a Head);

impl Made<'_> {
    /// In the words of the API. Who was forked from it is not known.
    pub(crate) fn told(&self) -> api::Snapshot {
        let Made(name, head) = self;
        api::Snapshot {
            name: (*name).to_owned(),
            id: head.volume.to_string(),
            state: head.kind.to_string(),
            created_ms: head.written_ms,
            size_bytes: head.size_bytes,
            sequence: head.sequence,
            source: origin(head),
            labels: head.lineage.labels.iter().cloned().collect(),
            forks: Vec::new(),
            problem: None,
            space: None,
        }
    }
}

/// Where a volume comes from; its name is not known.
pub(super) fn origin(head: &Head) -> Option<api::Origin> {
    head.lineage.source.map(|source| api::Origin {
        id: source.volume.to_string(),
        name: None,
        head: source.head,
    })
}

/// Gives an origin the name that it has now.
pub(super) fn name(origin: &mut api::Origin, names: &[NamedVolume]) {
    let named = names.iter().find(|named| named.volume.to_string() == origin.id);
    origin.name = named.map(|named| named.name.clone());
}

/// Every snapshot of the pool, by name, with what was forked from it.
pub(crate) async fn snapshots(pool: &Pool) -> Result<Vec<api::Snapshot>> {
    let names = pool.names().await?;
    let looks: Vec<_> =
        names.iter().map(|named| async move { (named, pool.newest_head(named.volume).await) }).collect();
    let looked: Vec<_> = stream::iter(looks).buffered(VOLUMES_AT_ONCE).collect().await;
    let mut snapshots = Vec::new();
    for (named, newest) in looked.iter().filter(|(named, _)| is_snapshot(&named.name)) {
        let mut snapshot = match newest {
            Ok(newest) => Made(&named.name, &newest.head).told(),
            Err(error) => unreadable(named, error),
        };
        if let Some(source) = &mut snapshot.source {
            name(source, &names);
        }
        let comes_from_it =
            |head: &Head| head.lineage.source.is_some_and(|source| source.volume == named.volume);
        for (fork, newest) in &looked {
            if newest.as_ref().is_ok_and(|newest| comes_from_it(&newest.head)) {
                snapshot.forks.push(fork.name.clone());
            }
        }
        snapshots.push(snapshot);
    }
    Ok(snapshots)
}

fn unreadable(named: &NamedVolume, error: &esker_engine::EngineError) -> api::Snapshot {
    api::Snapshot {
        name: named.name.clone(),
        id: named.volume.to_string(),
        state: "unknown".to_owned(),
        created_ms: 0,
        size_bytes: 0,
        sequence: 0,
        source: None,
        labels: Default::default(),
        forks: Vec::new(),
        problem: Some(error.to_string()),
        space: None,
    }
}
