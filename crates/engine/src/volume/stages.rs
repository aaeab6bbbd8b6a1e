//! The steps of the pipeline, each a function of the volume and its input.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use esker_format::{
    address::Address,
    chunk::RecordKind,
    ids::{AttemptId, LogPosition, PackId, SegmentId},
    page::{LEAF_BLOCKS, PackWriter},
    segment::{EncodedSegment, RunKind, SegmentHeader, SegmentIndex},
};
use esker_io::{Bug, planted};
use futures_util::future::join;

use super::{StoredMap, Volume, blocks_of};
use crate::{
    EngineError, Result, checkpoint,
    commit::{NewRoot, Resized, Uploaded},
    log::Cut,
    seal::{Move, Progress, Sealing},
    upload,
};

/// Map entries that change under one hold of the guard: well below 100 µs.
const APPLY_SLICE: usize = 512;
/// Leaves that are made compact in one go; the guard is taken for each by itself.
const DEFLATE_SLICE: usize = 64;

/// A seal that is durable in the store.
pub(super) struct Done {
    pub(super) uploaded: Uploaded,
    pub(super) index: Arc<SegmentIndex>,
    pub(super) moves: Vec<Move>,
    pub(super) end: u64,
    pub(super) blocks: u64,
    pub(super) facts: CutFacts,
}

/// What is known of a seal from its cut.
#[derive(Debug, Clone, Copy)]
pub(super) struct CutFacts {
    /// Its place in the order of commits.
    pub(super) order: u64,
    /// Log bytes that it takes.
    pub(super) log_bytes: u64,
    /// Monotonic milliseconds of its oldest record.
    pub(super) oldest_ms: u64,
    /// Whether more was there than it took, or as much.
    pub(super) full: bool,
}

/// How long background work waits before it asks a store again that did not answer.
pub(super) const STORE_RETRY: Duration = Duration::from_secs(1);

/// Does what needs the store again and again while the store is away, until the volume gives up.
async fn insist<T, F: Future<Output = Result<T>>>(volume: &Volume, mut work: impl FnMut() -> F) -> Result<T> {
    loop {
        match work().await {
            Err(error @ (EngineError::Store(_) | EngineError::Unknown { .. })) if !volume.gives_up() => {
                tracing::warn!(volume = %volume.name, %error, "the store does not answer, trying again");
                volume.pool.world().clock.sleep(STORE_RETRY).await;
            }
            outcome => return outcome,
        }
    }
}

pub(super) async fn seal_and_upload(volume: Arc<Volume>, facts: CutFacts, cut: Cut) -> Result<Done> {
    let world = volume.pool.world();
    let writer = volume.writer.as_ref().expect("only writers seal");
    let id = insist(&volume, || writer.ids.next()).await?;
    let mut salt = [0; 32];
    world.random.fill(&mut salt);
    let attempt = AttemptId(world.random.id());
    let header = SegmentHeader { pool: volume.pool.id(), id, attempt, key_id: 0, salt };
    let (log, compression) = (writer.log.clone(), volume.effective.compression);
    let cut = if planted(Bug::OverwrittenNotSealed) { without_overwritten(&volume, cut) } else { cut };
    if planted(Bug::ReleasedEarly) {
        log.release(cut.end);
    }
    // Slice by slice, so that other volumes and reads get their turn.
    let mut sealing =
        esker_io::run(&*world.cpu, move || Sealing::begin(log, &cut, header, compression)).await;
    let sealed = loop {
        match esker_io::run(&*world.cpu, move || sealing.go_on()).await? {
            Progress::More(rest) => sealing = *rest,
            Progress::Done(sealed) => break *sealed,
        }
    };
    let EncodedSegment { bytes, index, index_hash } = sealed.encoded;
    let (index, object) = (Arc::new(index), Bytes::from(bytes));
    // Beside the upload, so that a read right after the commit needs no GET. Should this segment never be committed,
    // nothing names it, and its id is not used again.
    let keep = volume.pool.fetcher().keep_segment(&index, index_hash, &object);
    let upload = upload::segment(world, &index, index_hash, object.clone(), || volume.gives_up());
    let (uploaded, ()) = join(upload, keep).await;
    let uploaded = uploaded?;
    Ok(Done { uploaded, index, moves: sealed.moves, end: sealed.end, blocks: sealed.blocks_written, facts })
}

/// The cut without records that later writes have overwritten to the last block: what rule W6 forbids. Its ends
/// stay, for their sequences.
fn without_overwritten(volume: &Volume, mut cut: Cut) -> Cut {
    let map = volume.map.read();
    let (first, last) = (cut.records[0].record.sequence, cut.records[cut.records.len() - 1].record.sequence);
    cut.records.retain(|pending| {
        let (record, position) = (&pending.record, Address::log(LogPosition(pending.position())));
        let ends = record.sequence == first || record.sequence == last;
        let lives = |block| map.get(record.lba + block) == position.plus(block);
        ends || record.kind != RecordKind::Write || (0..record.blocks).any(lives)
    });
    cut
}

/// Moves map entries from the log to the segments, unless a newer write came; then waits until no reader
/// can hold one of the old positions.
pub(super) async fn apply(volume: &Arc<Volume>, done: &mut [Done]) {
    let cpu = &*volume.pool.world().cpu;
    // A record is cut as soon as it is appended, and its writer holds the guard until it has published it. Without
    // this wait an entry could still come to name the log after the apply has passed it (rule W4).
    drop(volume.map.write());
    for done in done {
        let (volume, moves) = (volume.clone(), std::mem::take(&mut done.moves));
        let job = move || {
            for slice in moves.chunks(APPLY_SLICE) {
                let map = volume.map.read();
                // What was cut off since is not there to be changed.
                for step in slice.iter().filter(|step| step.lba < map.blocks()) {
                    map.apply(step.lba, step.from, step.to);
                }
            }
        };
        esker_io::run_first(cpu, job).await;
    }
    drop(volume.map.write());
}

/// Makes the leaves that these segments changed compact again, one at a time.
pub(super) async fn deflate(volume: Arc<Volume>, folded: Vec<Arc<SegmentIndex>>) {
    let leaves = touched_leaves(&folded);
    for slice in leaves.chunks(DEFLATE_SLICE) {
        let (volume, slice) = (volume.clone(), slice.to_vec());
        let cpu = volume.pool.world().cpu.clone();
        let job = move || {
            for leaf in slice {
                let mut map = volume.map.write();
                if leaf < map.leaves() {
                    map.deflate(leaf);
                }
            }
        };
        esker_io::run(&*cpu, job).await;
    }
}

fn touched_leaves(folded: &[Arc<SegmentIndex>]) -> Vec<u64> {
    let mut leaves: Vec<u64> = Vec::new();
    for run in folded.iter().flat_map(|index| &index.runs) {
        // Trims of more than a leaf swap whole subtrees: nothing there is left to make compact.
        if run.blocks <= LEAF_BLOCKS || matches!(run.kind, RunKind::Data { .. }) {
            leaves.extend(run.lba / LEAF_BLOCKS..=(run.lba + run.blocks - 1) / LEAF_BLOCKS);
        }
    }
    leaves.sort_unstable();
    leaves.dedup();
    leaves
}

/// Writes the pages that `changes` touch as one pack; returns the new root.
pub(super) async fn write_pages(
    volume: Arc<Volume>,
    old: StoredMap,
    changes: Vec<(SegmentId, Arc<SegmentIndex>)>,
    sequence: u64,
) -> Result<NewRoot> {
    let blocks = blocks_of(old.size_bytes);
    let fetcher = volume.pool.fetcher();
    let (pages, root) = insist(&volume, || async {
        let mut pages = new_pack(&volume);
        let root = checkpoint::fold(fetcher, old.root, blocks, &changes, &mut pages).await?;
        Ok((pages, root))
    })
    .await?;
    put_pages(&volume, pages).await?;
    Ok(NewRoot { root, sequence })
}

/// Writes the pages that a root of another height needs; returns the root.
pub(super) async fn write_root(volume: &Arc<Volume>, old: StoredMap, size_bytes: u64) -> Result<Resized> {
    let sizes = (blocks_of(old.size_bytes), blocks_of(size_bytes));
    let fetcher = volume.pool.fetcher();
    let (pages, root) = insist(volume, || async {
        let mut pages = new_pack(volume);
        let root = checkpoint::resize(fetcher, old.root, sizes, &mut pages).await?;
        Ok((pages, root))
    })
    .await?;
    put_pages(volume, pages).await?;
    Ok(Resized { size_bytes, root })
}

fn new_pack(volume: &Volume) -> PackWriter {
    let random = &volume.pool.world().random;
    PackWriter::new(volume.pool.id(), PackId(random.id()), AttemptId(random.id()))
}

async fn put_pages(volume: &Volume, pages: PackWriter) -> Result<()> {
    if !pages.is_empty() {
        upload::pack(volume.pool.world(), pages.id(), pages.finish(), || volume.gives_up()).await?;
    }
    Ok(())
}
