//! Verifying a pool: every reachable object and every address, read-only.
//!
//! From each volume's newest head: the chain of heads that exist, every page by the hash in its parent, every
//! segment that a page or the tail names, every frame in it, and that each address lies inside its segment.

use std::collections::BTreeMap;

use bytes::Bytes;
use esker_format::{
    address::AddressKind,
    head::{Head, HeadKind},
    ids::{SegmentId, VolumeId},
    names,
    page::Page,
    segment::{SLOTS_MAX, SegmentHeader, SegmentIndex, Trailer, open_frame},
};
use esker_io::{Bug, planted};
use futures_util::{StreamExt, stream};

use crate::{
    EngineError, Result, checkpoint,
    core::{fold::Place, slots::Slots},
    pieces::{Pieces, Reader},
    pool::Pool,
    recover::{NEWER_HEADS_MAX, committed_map},
};

/// Segments that are read at the same time.
const SEGMENTS_AT_ONCE: usize = 4;

/// One thing that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The object, or the volume.
    pub object: String,
    /// What was expected and found.
    pub message: String,
}

/// What a check saw.
#[derive(Debug, Clone, Default)]
pub struct CheckReport {
    /// Volumes looked at.
    pub volumes: u64,
    /// Heads read and verified.
    pub heads: u64,
    /// Pieces read and verified.
    pub pieces: u64,
    /// Segments read whole and verified.
    pub segments: u64,
    /// Frames decoded.
    pub frames: u64,
    /// Mapped blocks whose address was found in its segment.
    pub blocks: u64,
    /// Bytes of segments read.
    pub segment_bytes: u64,
    /// What is wrong.
    pub problems: Vec<Problem>,
}

/// The blocks of a segment that maps name.
#[derive(Debug, Clone, Default)]
struct Named {
    blocks: u64,
    slots: Slots,
}

/// Checks the named volumes, or all of the pool. `progress` gets (segments done, segments known).
///
/// # Errors
/// Only when the pool itself cannot be read; everything else is a [`Problem`] in the report.
pub async fn check(pool: &Pool, volumes: &[String], progress: impl Fn(u64, u64)) -> Result<CheckReport> {
    let mut report = CheckReport::default();
    let mut named: BTreeMap<SegmentId, Named> = BTreeMap::new();
    for (name, volume) in wanted(pool, volumes).await? {
        report.volumes += 1;
        if let Err(error) = check_volume(pool, volume, &mut report, &mut named).await {
            report.problems.push(problem(&format!("volume {name}"), &error));
        }
    }
    let total = named.len() as u64;
    let mut checks = stream::iter(named)
        .map(|(id, named)| async move { (id, named.blocks, check_segment(pool, id, &named.slots).await) })
        .buffer_unordered(SEGMENTS_AT_ONCE);
    while let Some((id, blocks, outcome)) = checks.next().await {
        match outcome {
            Ok((frames, bytes)) => {
                report.segments += 1;
                report.frames += frames;
                report.segment_bytes += bytes;
                report.blocks += blocks;
            }
            Err(error) => report.problems.push(problem(&names::segment(id), &error)),
        }
        progress(report.segments + report.problems.len() as u64, total);
    }
    report.problems.sort_by(|a, b| a.object.cmp(&b.object));
    Ok(report)
}

fn problem(object: &str, error: &EngineError) -> Problem {
    Problem { object: object.to_owned(), message: error.to_string() }
}

async fn wanted(pool: &Pool, volumes: &[String]) -> Result<Vec<(String, VolumeId)>> {
    if volumes.is_empty() {
        return Ok(pool.names().await?.into_iter().map(|named| (named.name, named.volume)).collect());
    }
    let mut wanted = Vec::new();
    for name in volumes {
        let volume = pool.lookup(name).await?;
        wanted.push((name.clone(), volume.ok_or_else(|| EngineError::NotFound(format!("volume {name}")))?));
    }
    Ok(wanted)
}

async fn check_volume(
    pool: &Pool,
    volume: VolumeId,
    report: &mut CheckReport,
    named: &mut BTreeMap<SegmentId, Named>,
) -> Result<()> {
    let newest = pool.newest_head(volume).await?;
    for number in &newest.numbers {
        match pool.head(volume, *number).await {
            // One that goes while we look was thinned by its owner.
            Ok(found) => report.heads += u64::from(found.is_some()),
            Err(error) => report.problems.push(problem(&names::head(volume, *number), &error)),
        }
    }
    // What was never born may lack what it names; nobody can rely on it (rule R6).
    if matches!(newest.head.kind, HeadKind::Deleted | HeadKind::Unborn) {
        return Ok(());
    }
    let mut head = newest.head;
    let mut tries = 1;
    let (pieces, pages) = loop {
        let found = (check_pieces(pool, &head).await, check_pages(pool, &head).await);
        if found.0.is_ok() && found.1.is_ok() {
            break found;
        }
        // What it names may have gone, rightly: then there is a newer one, which does without.
        match pool.newer_head(&head).await? {
            Some(newer) if tries < NEWER_HEADS_MAX && !planted(Bug::OldHeadBelieved) => head = newer.head,
            _ => break found,
        }
        tries += 1;
    };
    match pieces {
        Ok(pieces) => report.pieces += pieces,
        Err(error) => report.problems.push(problem(&names::head(volume, head.number), &error)),
    }
    for (id, found) in pages? {
        let entry = named.entry(id).or_default();
        entry.blocks += found.blocks;
        found.slots.runs().into_iter().for_each(|(first, count)| entry.slots.insert(first, count));
    }
    Ok(())
}

/// Reads the pieces that a head names; returns how many.
async fn check_pieces(pool: &Pool, head: &Head) -> Result<u64> {
    if head.kind != HeadKind::Deleted {
        Pieces::read(pool, head, Reader::Passes).await?;
    }
    Ok(head.pieces.len() as u64)
}

/// Reads every page that a head reaches; returns the segments that are named.
async fn check_pages(pool: &Pool, head: &Head) -> Result<BTreeMap<SegmentId, Named>> {
    let mut named: BTreeMap<SegmentId, Named> = BTreeMap::new();
    if head.kind == HeadKind::Deleted {
        return Ok(named);
    }
    let (mut map, tail) = committed_map(pool, head).await?;
    if let Some(root) = head.root {
        let blocks = map.blocks();
        let all = 0..blocks;
        let fill = |place: Place, page: &Page| map.fill(place.level, place.index, page, &all);
        checkpoint::load(pool.fetcher(), root, blocks, &all, fill).await?;
    }
    for index in &tail {
        named.entry(index.id).or_default();
    }
    map.for_each_extent(|extent| {
        if let AddressKind::Segment(id, slot) = extent.address.kind() {
            let entry = named.entry(id).or_default();
            entry.blocks += extent.blocks;
            // What reaches beyond the highest slot that can be is in no segment.
            let end = (u64::from(slot) + extent.blocks).min(u64::from(SLOTS_MAX));
            entry.slots.insert(slot, end as u32 - u32::from(slot));
        }
    });
    Ok(named)
}

/// Reads a whole segment; returns its frames and bytes.
async fn check_segment(pool: &Pool, id: SegmentId, named: &Slots) -> Result<(u64, u64)> {
    let (name, bytes) = pool.fetcher().image(id).await?;
    let pool_id = pool.id();
    let verified = esker_io::run(&*pool.world().cpu, move || {
        let index = open_segment(&bytes, pool_id, id)?;
        for frame in &index.frames {
            open_frame(frame, &bytes[frame.offset as usize..frame.end() as usize])?;
        }
        Ok::<_, EngineError>((index, bytes.len() as u64))
    });
    let (index, bytes) = verified.await?;
    if let Some((slot, _)) = named.without(&Slots::of(&index.kept())).runs().first() {
        let held = index.kept().iter().map(|run| run.1).sum::<u32>();
        let message = format!(
            "a map names slot {slot}, which is not one of the {held} of {} that it holds",
            index.slots
        );
        return Err(EngineError::Damaged { object: name, message });
    }
    Ok((index.frames.len() as u64, bytes))
}

fn open_segment(bytes: &Bytes, pool: esker_format::ids::PoolId, id: SegmentId) -> Result<SegmentIndex> {
    let trailer: Trailer = Trailer::parse(bytes)?.verify(pool, id, Some(bytes.len() as u64))?;
    let header = SegmentHeader::parse(bytes)?;
    if header != trailer.header() {
        return Err(EngineError::Damaged {
            object: names::segment(id),
            message: format!("expected a header like its trailer's, found {header:?}"),
        });
    }
    let end = trailer.index_offset + u64::from(trailer.index_bytes);
    Ok(SegmentIndex::parse(&bytes[trailer.index_offset as usize..end as usize], &trailer)?)
}
