//! Rewriting segments of which much is dead: what lives moves into bundles, under its own slots, and the rest goes.
//!
//! ```text
//! victims ─▶ round record ─▶ read live slots ─▶ images ─▶ bundles ─▶ mark again ─▶ table record ─▶ … grace … ─▶ DELETE
//!            condemns the    through the reader  new salts, PUT      a LIST after   now current     the old objects
//!            dropped slots   (verified)          new frames          the mark (R7)  (rule G2)
//! ```
//! 1. Open the index of each victim. What heads show must be there: where an earlier rewrite dropped it, that is damage.
//! 2. A segment of which less than a sixteenth lives is emptied by the owners of open volumes, like writes (rule G5); one
//!    that they hold nothing of is held by old heads, or by volumes that are not open here, and goes on to 3.
//! 3. Publish the round: it condemns the dropped slots for ever and suspends the segments (rules G1, R3).
//! 4. Read the live slots, in the order of slots, which is that of LBAs since a seal numbers them so; cut frames; compress
//!    under a salt drawn afresh (rule G4). Images are gathered up to 32 MiB, and each bundle is sent under a random name.
//!    It is in flight from before its PUT until 6 is settled.
//! 5. Mark again: heads that came since are marked, until a LIST made after that shows no other (rule R7). A segment of
//!    which a dropped slot is named now is left as it was.
//! 6. One record of the table names all images. It is settled, and the newest, or nothing has happened.
//! 7. From now on the old objects are superseded: dead like others, they are deleted after the grace, for readers in other
//!    processes hold older tables. Later they ask once (rule G3).
//!
//! A crash after any of these leaves the old objects current, or the new ones: a bundle that no record names is dead, and
//! the next round makes its victims anew, with other salts and another name.

use std::{mem, time::Duration};

use bytes::Bytes;
use esker_format::{
    BLOCK_BYTES, Bulk, Codec, Compression, Suspended, TableEntry,
    address::Address,
    ids::{AttemptId, BundleId, SegmentId},
    names,
    segment::{EncodedSegment, Rewrite, SegmentHeader, SegmentIndex, SegmentWriter, SlotRun},
};
use esker_io::{Bug, planted, sync::Arc};

use super::{
    chains::TableChange,
    mark::Mark,
    round::{Report, Round},
};
use crate::{
    EngineError, Result,
    core::{slots::Slots, victims::Victim},
    fetch::Part,
    upload,
    uses::{InFlight, Sent},
};

/// A bundle is sent before it is larger.
const BUNDLE_BYTES: usize = 32 << 20;
/// The most segments of one round; the next one takes others.
const VICTIMS_MAX: usize = 256;
/// Blocks in one frame, as a seal cuts them.
const FRAME_BLOCKS: usize = 8;
/// Blocks that are read, and compressed, in one go.
const SLICE_BLOCKS: u32 = 256;
/// A round in the background rests so long after each of these.
const REST: Duration = Duration::from_millis(5);
/// A segment is almost empty when less than one part in so many lives.
const ALMOST_EMPTY: u32 = 16;

const _: () = assert!((SLICE_BLOCKS as usize).is_multiple_of(FRAME_BLOCKS));

/// What is to be done about a victim.
struct Plan {
    segment: SegmentId,
    kept: Vec<SlotRun>,
    dropped: Slots,
}

/// Images on their way into one object.
#[derive(Default)]
struct Bundle {
    bytes: Vec<u8>,
    entries: Vec<TableEntry>,
}

impl Round<'_> {
    /// Rewrites segments; the mark says what is reached, and goes on. Nothing is deleted.
    pub(super) async fn rewrite(
        &self,
        mark: &mut Mark,
        victims: Vec<Victim>,
        report: &mut Report,
    ) -> Result<()> {
        let mut plans = Vec::new();
        // What lives of it is known, and all of it.
        let known = |victim: &Victim| {
            let named = mark.segments.get(&victim.segment).is_some_and(|reached| reached.tail.is_some());
            (named || !victim.live.is_empty()) && !mark.keeps(&Bulk::Segment(victim.segment))
        };
        let victims: Vec<_> = victims.into_iter().filter(known).take(VICTIMS_MAX).collect();
        for victim in victims {
            if let Some(plan) = self.plan(victim, mark, report).await? {
                plans.push(plan);
            }
        }
        if plans.is_empty() || (self.stop)() {
            return Ok(());
        }
        let suspended = |plan: &Plan| Suspended { segment: plan.segment, dropped: plan.dropped.runs() };
        let round = self.publish(Vec::new(), plans.iter().map(suspended).collect()).await?;
        let mut sent = Vec::new();
        let Some(mut entries) = self.bundles(&plans, &mut sent).await? else { return Ok(()) };
        for plan in plans {
            mark.watch(plan.segment, plan.dropped);
        }
        self.mark(mark, report).await?;
        entries.retain(|entry| !mark.is_revived(entry.segment));
        if entries.is_empty() {
            return Ok(());
        }
        entries.iter().for_each(|entry| report.rewritten.add(entry.bytes));
        // What is on its way counts until this is settled, and where its outcome stays unknown, for as long as the run.
        let sent = Sent::new(None, sent);
        let named: Vec<_> = entries.iter().map(|entry| entry.segment).collect();
        self.write_table(TableChange { entries, round, ..TableChange::default() }).await?;
        sent.settled();
        tracing::info!(segments = named.len(), round, "rewrote segments of which much was dead");
        Ok(())
    }

    /// Steps 1 and 2; `None` when the segment is left alone.
    async fn plan(&self, victim: Victim, mark: &Mark, report: &mut Report) -> Result<Option<Plan>> {
        let segment = victim.segment;
        let index = self.pool.fetcher().index(segment, None).await?;
        let held = Slots::of(&index.kept());
        let shown = mark.segments.get(&segment).map(|reached| reached.live.without(&held).runs());
        if let Some((slot, _)) = shown.unwrap_or_default().first() {
            let message = format!("a head shows slot {slot}, which was dropped by reclaim");
            return Err(EngineError::Damaged { object: names::segment(segment), message });
        }
        // What is only named may be dropped already.
        let mut live = held.without(&held.without(&Slots::of(&victim.live)));
        if !live.is_empty() && live.count() * ALMOST_EMPTY < index.slots {
            let moved = self.empty(&index, &live).await;
            report.resealed += moved;
            if moved > 0 {
                return Ok(None);
            }
        }
        if planted(Bug::RewriteDropsLive)
            && let Some((last, count)) = victim.live.last()
        {
            live.remove(last + (count - 1) as u16, 1);
        }
        let dropped = held.without(&live);
        Ok(Some(Plan { segment, kept: live.runs(), dropped }))
    }

    /// Rule G5: those who have the segment in the map of a volume that is open here write its blocks anew.
    async fn empty(&self, index: &SegmentIndex, live: &Slots) -> u64 {
        let mut moved = 0;
        for volume in self.owners.iter().filter(|volume| !volume.read_only()) {
            match volume.reseal(index, live, || (self.stop)()).await {
                Ok(blocks) => moved += blocks,
                Err(error) => tracing::warn!(volume = volume.name(), %error, "a segment was not emptied"),
            }
        }
        moved
    }

    /// Step 4; `None` when the round was told to stop.
    async fn bundles(
        &self,
        plans: &[Plan],
        sent: &mut Vec<Arc<InFlight>>,
    ) -> Result<Option<Vec<TableEntry>>> {
        let (mut entries, mut bundle) = (Vec::new(), Bundle::default());
        for plan in plans {
            let Some(image) = self.image(plan).await? else { return Ok(None) };
            if bundle.bytes.len() + image.bytes.len() > BUNDLE_BYTES {
                entries.extend(self.send(mem::take(&mut bundle), sent).await?);
            }
            bundle.entries.push(TableEntry {
                segment: plan.segment,
                bundle: BundleId([0; 16]),
                offset: bundle.bytes.len() as u64,
                bytes: image.bytes.len() as u64,
                index_hash: image.index_hash,
            });
            bundle.bytes.extend_from_slice(&image.bytes);
        }
        entries.extend(self.send(bundle, sent).await?);
        Ok(Some(entries))
    }

    async fn send(&self, bundle: Bundle, sent: &mut Vec<Arc<InFlight>>) -> Result<Vec<TableEntry>> {
        let Bundle { bytes, mut entries } = bundle;
        if entries.is_empty() {
            return Ok(entries);
        }
        let world = self.pool.world();
        let id = BundleId(world.random.id());
        // Rule R2: it counts as alive from before its PUT.
        sent.push(Arc::new(self.pool.uses().hold(Bulk::Bundle(id))));
        upload::bundle(world, id, Bytes::from(bytes), || (self.stop)()).await?;
        entries.iter_mut().for_each(|entry| entry.bundle = id);
        Ok(entries)
    }

    /// The rewrite of one segment; `None` when the round was told to stop.
    async fn image(&self, plan: &Plan) -> Result<Option<EncodedSegment>> {
        let (pool, world) = (self.pool, self.pool.world());
        let (index, sealed_bytes, sealed_hash) = pool.fetcher().sealed(plan.segment).await?;
        let mut salt = [0; 32];
        salt[..16].copy_from_slice(&world.random.id());
        salt[16..].copy_from_slice(&world.random.id());
        let attempt = AttemptId(world.random.id());
        // Rule G4: salt and attempt are drawn for this image alone.
        let header = SegmentHeader { pool: pool.id(), id: plan.segment, attempt, key_id: 0, salt };
        let mut writer = SegmentWriter::new(header, self.compression(&index));
        for slice in slices(&plan.kept) {
            if (self.stop)() {
                return Ok(None);
            }
            let blocks: u32 = slice.iter().map(|run| run.1).sum();
            let mut buffer = vec![0; blocks as usize * BLOCK_BYTES];
            pool.fetcher().copy(&parts(plan.segment, &slice), &mut buffer).await?;
            writer = esker_io::run(&*world.cpu, move || {
                buffer.chunks(FRAME_BLOCKS * BLOCK_BYTES).for_each(|frame| writer.push_frame(frame));
                writer
            })
            .await;
            if self.options.gently {
                world.clock.sleep(REST).await;
            }
        }
        let rewrite = Rewrite::new(sealed_bytes, sealed_hash, plan.kept.clone());
        Ok(Some(esker_io::run(&*world.cpu, move || writer.finish_rewrite(&index, rewrite)).await))
    }

    /// As the pool says, and no less than the segment is: its volume may have another property.
    fn compression(&self, index: &SegmentIndex) -> Compression {
        let pool = self.pool.record().properties.compression_or_built_in();
        let has = |codec| index.frames.iter().any(|frame| frame.codec == codec);
        match pool {
            Compression::Zstd(_) => pool,
            _ if has(Codec::Zstd) => Compression::Zstd(ZSTD_LEVEL),
            Compression::Off if has(Codec::Lz4) => Compression::Lz4,
            _ => pool,
        }
    }
}

/// For segments that were compressed so when the pool says less.
const ZSTD_LEVEL: i8 = 3;

/// Stretches of slots, cut into groups of so many blocks; the last has fewer.
fn slices(runs: &[SlotRun]) -> Vec<Vec<SlotRun>> {
    let (mut slices, mut slice, mut room) = (Vec::new(), Vec::new(), SLICE_BLOCKS);
    for (first, count) in runs {
        let (mut at, end) = (u32::from(*first), u32::from(*first) + count);
        while at < end {
            let blocks = room.min(end - at);
            slice.push((at as u16, blocks));
            (at, room) = (at + blocks, room - blocks);
            if room == 0 {
                slices.push(mem::take(&mut slice));
                room = SLICE_BLOCKS;
            }
        }
    }
    slices.extend((!slice.is_empty()).then_some(slice));
    slices
}

fn parts(segment: SegmentId, slots: &[SlotRun]) -> Vec<Part> {
    let mut offset = 0;
    let part = |(first, count): &SlotRun| {
        let part = Part { address: Address::segment(segment, *first), blocks: u64::from(*count), offset };
        offset += *count as usize * BLOCK_BYTES;
        part
    };
    slots.iter().map(part).collect()
}
