//! What a pool says of its volumes, in the words of the API.

mod groups;
mod properties;
mod snapshots;

use esker_control::api;
use esker_engine::{
    EngineError, Result,
    pool::{Point, Pool},
};
use esker_format::{
    Time,
    head::Head,
    ids::VolumeId,
    names,
    property::{Compression, Durability, History, OnLag, Properties},
};
use futures_util::{StreamExt, stream};

pub(crate) use groups::{group, groups, names};
pub(crate) use properties::{change, properties};
pub(crate) use snapshots::{Made, snapshots};

use crate::size;

/// Volumes that are looked at at the same time.
const VOLUMES_AT_ONCE: usize = 16;
/// The smallest volume that is made.
pub(crate) const SIZE_BYTES_MIN: u64 = 1 << 20;
/// The largest one.
const SIZE_BYTES_MAX: u64 = 1 << 50;

/// The pool itself.
pub(crate) fn pool(pool: &Pool) -> api::Pool {
    api::Pool { url: describe(pool), id: pool.id().to_string() }
}

/// The store's name, without credentials.
pub(crate) fn describe(pool: &Pool) -> String {
    pool.world().objects.describe()
}

/// Every volume of the pool, by name. One that cannot be read is there, with the reason. Snapshots are none.
pub(crate) async fn volumes(pool: &Pool) -> Result<Vec<api::Volume>> {
    let names = pool.names().await?;
    let volumes: Vec<_> = names.iter().filter(|named| !is_snapshot(&named.name)).cloned().collect();
    let looks: Vec<_> = volumes.into_iter().map(|named| look(pool, named.name, named.volume)).collect();
    let mut volumes: Vec<_> = stream::iter(looks).buffered(VOLUMES_AT_ONCE).collect().await;
    let sources = volumes.iter_mut().filter_map(|volume| volume.stored.as_mut()?.source.as_mut());
    sources.for_each(|source| snapshots::name(source, &names));
    Ok(volumes)
}

/// Whether a name is that of a snapshot.
pub(crate) fn is_snapshot(name: &str) -> bool {
    names::snapshot_parts(name).is_some()
}

/// A volume that was made just now, with this newest head.
pub(crate) fn made(pool: &Pool, name: &str, head: &Head) -> api::Volume {
    let stored = Some(stored(head, &pool.record().properties));
    api::Volume { name: name.to_owned(), id: head.volume.to_string(), stored, served: None, problem: None }
}

/// One volume.
pub(crate) async fn volume(pool: &Pool, name: &str) -> Result<api::Volume> {
    match pool.lookup(name).await? {
        Some(volume) => Ok(look(pool, name.to_owned(), volume).await),
        None => {
            let what = if is_snapshot(name) { "snapshot" } else { "volume" };
            Err(EngineError::NotFound(format!("{what} {name} in {}", describe(pool))))
        }
    }
}

async fn look(pool: &Pool, name: String, volume: VolumeId) -> api::Volume {
    let (stored, problem) = match pool.newest_head(volume).await {
        Ok(newest) => (Some(stored(&newest.head, &pool.record().properties)), None),
        Err(error) => (None, Some(error.to_string())),
    };
    api::Volume { name, id: volume.to_string(), stored, served: None, problem }
}

fn stored(head: &Head, pool: &Properties) -> api::Stored {
    let Settings { durability, compression, on_lag, history } = settings(Some(&head.properties), pool);
    api::Stored {
        size_bytes: head.size_bytes,
        durability,
        compression,
        on_lag,
        history,
        head: head.number,
        kind: head.kind.to_string(),
        source: snapshots::origin(head),
        epoch: head.epoch,
        sequence: head.sequence,
        tail_segments: head.tail.len() as u64,
        tail_pieces: head.pieces.len() as u64,
        written_ms: head.written_ms,
    }
}

/// What holds for a volume.
pub(crate) struct Settings {
    pub(crate) durability: api::Setting,
    pub(crate) compression: api::Setting,
    pub(crate) on_lag: api::Setting,
    pub(crate) history: api::Setting,
}

/// The settings of a volume, or of volumes that say nothing themselves.
pub(crate) fn settings(volume: Option<&Properties>, pool: &Properties) -> Settings {
    let own = volume.copied().unwrap_or_default();
    Settings {
        durability: setting(own.durability, pool.durability, Durability::built_in()),
        compression: setting(own.compression, pool.compression, Compression::built_in()),
        on_lag: setting(own.on_lag, pool.on_lag, OnLag::default()),
        history: setting(own.history, pool.history, History::default()),
    }
}

fn setting<T: ToString>(volume: Option<T>, pool: Option<T>, built_in: T) -> api::Setting {
    let (value, source) = match (volume, pool) {
        (Some(value), _) => (value, api::Source::Volume),
        (None, Some(value)) => (value, api::Source::Pool),
        (None, None) => (built_in, api::Source::BuiltIn),
    };
    api::Setting { value: value.to_string(), source }
}

/// The states that a volume can go back to.
pub(crate) async fn history(pool: &Pool, name: &str, points: &[Point]) -> Result<api::History> {
    let volume = pool.lookup(name).await?.ok_or_else(|| EngineError::NotFound(format!("volume {name}")))?;
    let newest = pool.newest_head(volume).await?;
    let now_ms = pool.world().clock.wall_ms();
    let shown = points.iter().map(|point| api::Point {
        number: point.number,
        kind: point.kind.to_string(),
        written_ms: point.written_ms,
        written: Time(point.written_ms).to_string(),
        age_ms: now_ms.saturating_sub(point.written_ms),
        sequence: point.sequence,
        size_bytes: point.size_bytes,
        reachable: point.whole,
    });
    Ok(api::History {
        name: name.to_owned(),
        history: settings(Some(&newest.head.properties), &pool.record().properties).history,
        points: shown.collect(),
    })
}

/// Checks the name and the size of a volume that is to be made, and reads its properties.
pub(crate) fn check_new(wanted: &api::CreateVolume) -> Result<Properties> {
    names::valid_volume_name(&wanted.name)?;
    let block = esker_format::BLOCK_BYTES as u64;
    let bytes = wanted.size_bytes;
    if !(SIZE_BYTES_MIN..=SIZE_BYTES_MAX).contains(&bytes) || !bytes.is_multiple_of(block) {
        return Err(EngineError::Invalid(format!(
            "volume {}: expected a size from {} to {} that is a multiple of {block} bytes, found {bytes} bytes",
            wanted.name,
            size::show(SIZE_BYTES_MIN),
            size::show(SIZE_BYTES_MAX),
        )));
    }
    properties(
        wanted.durability.as_deref(),
        wanted.compression.as_deref(),
        wanted.on_lag.as_deref(),
        wanted.history.as_deref(),
    )
}
