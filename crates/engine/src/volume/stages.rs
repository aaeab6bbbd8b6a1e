//! The steps of the pipeline, each a function of the volume and its input.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::Bytes;
use esker_format::{
    Bulk,
    address::Address,
    chunk::RecordKind,
    head::{TailPiece, TailSegment},
    ids::{AttemptId, LogPosition, PackId, SegmentId},
    page::{LEAF_BLOCKS, PackWriter},
    property::Compression,
    segment::{EncodedSegment, RunKind, SegmentHeader, SegmentIndex},
};
use esker_io::{Bug, planted};
use futures_util::future::join;

use super::{StoredMap, Volume, blocks_of};
use crate::{
    EngineError, Result, checkpoint,
    commit::{CutPiece, NewRoot, Resized, Uploaded},
    core::policy::part_blocks,
    log::Cut,
    pool::Pool,
    seal::{Intake, Move, Outcome},
    segment_ids::SegmentIds,
    upload,
    uses::InFlight,
};

/// Map entries that change under one hold of the guard: well below 100 µs.
const APPLY_SLICE: usize = 512;
/// Leaves that are made compact in one go; the guard is taken for each by itself.
const DEFLATE_SLICE: usize = 64;

/// What a seal is to take: a cut, or what is left of one that was too much for a segment.
pub(super) struct Taken {
    pub(super) cuts: VecDeque<Cut>,
    /// Whether more was there than was cut, or as much.
    pub(super) full: bool,
}

impl Taken {
    /// Makes several cuts of the first one, of which so many blocks were too much.
    fn divide(&mut self, filled: u64) {
        if let Some(cut) = self.cuts.pop_front() {
            let part = part_blocks(cut.blocks(), filled);
            let mut parts = cut.divided(part);
            assert!(parts.len() > 1, "a record fits in a segment");
            parts.append(&mut self.cuts);
            self.cuts = parts;
        }
    }

    /// What is known of the first cut.
    fn facts(&self) -> CutFacts {
        let oldest = &self.cuts[0].records[0];
        CutFacts {
            first_sequence: oldest.record.sequence,
            log_bytes: self.cuts[0].end - oldest.start,
            oldest_ms: oldest.at_ms,
            full: self.full || self.cuts.len() > 1,
        }
    }
}

/// A seal that is durable in the store.
pub(crate) struct Done {
    pub(super) uploaded: Uploaded,
    pub(crate) index: Arc<SegmentIndex>,
    pub(super) moves: Vec<Move>,
    pub(super) end: u64,
    pub(super) blocks: u64,
    pub(super) facts: CutFacts,
    pub(super) held: Arc<InFlight>,
}

impl Done {
    /// The segment as a tail names it, and what holds it until then.
    pub(crate) fn named(self) -> (TailSegment, Arc<InFlight>) {
        (self.uploaded.0, self.held)
    }
}

/// What is known of a seal from its cut.
#[derive(Debug, Clone, Copy)]
pub(super) struct CutFacts {
    /// Its place in the order of commits.
    pub(super) first_sequence: u64,
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

/// Seals and uploads the first segment of what was taken; gives back what is left. A cut that is too much for one segment
/// is divided by its records, so each part is a stretch of the log as any seal (rule W6).
pub(super) async fn seal_and_upload(volume: Arc<Volume>, mut taken: Taken) -> Result<(Done, Taken)> {
    let world = volume.pool.world();
    let writer = volume.writer.as_ref().expect("only writers seal");
    let id = insist(&volume, || writer.ids.next()).await?;
    let held = Arc::new(volume.pool.uses().hold(Bulk::Segment(id)));
    let compression = volume.effective().compression;
    if planted(Bug::OverwrittenNotSealed) {
        taken.cuts = taken.cuts.into_iter().map(|cut| without_overwritten(&volume, cut)).collect();
    }
    if planted(Bug::ReleasedEarly) {
        writer.log.release(taken.cuts[0].end);
    }
    let sealed = loop {
        let intake = Intake::of(writer.log.clone(), &taken.cuts[0]);
        match intake.seal(&*world.cpu, header(&volume.pool, id), compression).await? {
            Outcome::Sealed(sealed) => break *sealed,
            Outcome::TooMuch { blocks } => taken.divide(blocks),
        }
    };
    let facts = taken.facts();
    taken.cuts.pop_front();
    let (uploaded, index) = send(&volume.pool, sealed.encoded, || volume.gives_up()).await?;
    let done = Done {
        uploaded,
        index,
        moves: sealed.moves,
        end: sealed.end,
        blocks: sealed.blocks_written,
        facts,
        held,
    };
    Ok((done, taken))
}

/// Uploads a segment.
async fn send(
    pool: &Pool,
    encoded: EncodedSegment,
    give_up: impl Fn() -> bool,
) -> Result<(Uploaded, Arc<SegmentIndex>)> {
    let EncodedSegment { bytes, index, index_hash } = encoded;
    let (index, object) = (Arc::new(index), Bytes::from(bytes));
    // Beside the upload, so that a read right after the commit needs no GET. Should this segment never be committed,
    // nothing names it, and its id is not used again.
    let keep = pool.fetcher().keep_segment(&index, index_hash, &object);
    let upload = upload::segment(pool.world(), &index, index_hash, object.clone(), give_up);
    let (uploaded, ()) = join(upload, keep).await;
    let uploaded = uploaded?;
    pool.count_sealed(object.len() as u64);
    Ok((uploaded, index))
}

/// What the pieces of a head say, as segments that are durable in the store, in their order: when the volume is opened the first
/// that are committed. The steps are told in `pieces.rs`.
pub(crate) async fn seal_pieces(
    pool: &Pool,
    ids: &SegmentIds,
    intakes: Vec<Intake>,
    compression: Compression,
) -> Result<Vec<Done>> {
    let world = pool.world();
    let mut all = Vec::new();
    for intake in intakes {
        let id = ids.next().await?;
        let held = Arc::new(pool.uses().hold(Bulk::Segment(id)));
        let first_sequence = intake.sequences.0;
        let sealed = intake.seal(&*world.cpu, header(pool, id), compression).await?.sure();
        let oldest_ms = world.clock.monotonic().as_millis() as u64;
        let (uploaded, index) = send(pool, sealed.encoded, || false).await?;
        let facts = CutFacts { first_sequence, log_bytes: 0, oldest_ms, full: false };
        let blocks = sealed.blocks_written;
        // No entry of the map names what they were: the map is made with the segments.
        all.push(Done { uploaded, index, moves: Vec::new(), end: 0, blocks, facts, held });
    }
    Ok(all)
}

/// The cut as a piece for the next head.
pub(super) async fn encode_piece(volume: &Volume, cut: &Cut) -> Result<CutPiece> {
    let writer = volume.writer.as_ref().expect("only writers cut pieces");
    let header = header(&volume.pool, TailPiece::id());
    let intake = Intake::of(writer.log.clone(), cut);
    let (first_sequence, last_sequence) = intake.sequences;
    let sealed = intake.seal(&*volume.pool.world().cpu, header, volume.effective().compression).await?;
    Ok(CutPiece { first_sequence, last_sequence, bytes: sealed.sure().encoded.bytes })
}

/// A header with a salt that was never used (rule G4).
fn header(pool: &Pool, id: SegmentId) -> SegmentHeader {
    let random = &pool.world().random;
    let mut salt = [0; 32];
    random.fill(&mut salt);
    SegmentHeader { pool: pool.id(), id, attempt: AttemptId(random.id()), key_id: 0, salt }
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
    changes: Vec<Arc<SegmentIndex>>,
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
    let held = put_pages(&volume, pages).await?;
    Ok(NewRoot { root, sequence, held })
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
    let held = put_pages(volume, pages).await?;
    Ok(Resized { size_bytes, root, held })
}

fn new_pack(volume: &Volume) -> PackWriter {
    let random = &volume.pool.world().random;
    PackWriter::new(volume.pool.id(), PackId(random.id()), AttemptId(random.id()))
}

/// What it returns holds the pack until a head names it.
async fn put_pages(volume: &Volume, pages: PackWriter) -> Result<Option<Arc<InFlight>>> {
    if pages.is_empty() {
        return Ok(None);
    }
    let held = volume.pool.uses().hold(Bulk::Pack(pages.id()));
    upload::pack(volume.pool.world(), pages.id(), pages.finish(), || volume.gives_up()).await?;
    Ok(Some(Arc::new(held)))
}
