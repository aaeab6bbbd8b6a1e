//! The kinds of bulk objects: segments, page packs, bundles.

use bytes::Bytes;
use esker_format::{
    head::TailSegment,
    ids::{BundleId, Hash, PackId},
    names,
    segment::SegmentIndex,
};
use esker_io::World;

use super::{Settled, settle};
use crate::{EngineError, Result, commit::Uploaded, core::policy::SEGMENT_BYTES_MAX};

/// Uploads a segment. What it returns is the only thing that a head can name (I5).
pub(crate) async fn segment(
    world: &World,
    index: &SegmentIndex,
    index_hash: Hash,
    object: Bytes,
    give_up: impl Fn() -> bool,
) -> Result<Uploaded> {
    let bytes = object.len() as u64;
    assert!(bytes <= SEGMENT_BYTES_MAX, "a segment has a bound (invariant 7): {bytes} bytes");
    let tail = TailSegment {
        id: index.id,
        first_sequence: index.first_sequence,
        last_sequence: index.last_sequence,
        object_bytes: bytes,
        index_hash,
    };
    create(world, &names::segment(index.id), object, give_up).await?;
    Ok(Uploaded(tail))
}

/// Uploads a page pack.
pub(crate) async fn pack(
    world: &World,
    id: PackId,
    encoded: Vec<u8>,
    give_up: impl Fn() -> bool,
) -> Result<()> {
    create(world, &names::pack(id), Bytes::from(encoded), give_up).await
}

/// Uploads a bundle of rewritten segments.
pub(crate) async fn bundle(
    world: &World,
    id: BundleId,
    object: Bytes,
    give_up: impl Fn() -> bool,
) -> Result<()> {
    create(world, &names::bundle(id), object, give_up).await
}

async fn create(world: &World, name: &str, body: Bytes, give_up: impl Fn() -> bool) -> Result<()> {
    // The attempt id is in the bytes, so the same bytes are the same attempt.
    let sent = body.clone();
    match settle(world, name, body, move |held| *held == sent, give_up).await? {
        Settled::Ours => Ok(()),
        Settled::Theirs(_) => Err(EngineError::Damaged {
            object: name.to_owned(),
            message: "expected a name that nobody else can take, found another object there".to_owned(),
        }),
    }
}
