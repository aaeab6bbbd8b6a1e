//! How many blocks of a volume hold data: those of its pages, but for what its tail says otherwise.

use esker_format::{
    head::Head,
    page::{Child, LeafRun, Page, PageRef},
    segment::SegmentIndex,
};
use esker_io::sync::Arc;

use super::walk::Walk;
use crate::{
    Result, checkpoint,
    core::{
        fold::{self, Place, narrow},
        map::Extent,
    },
    volume::blocks_of,
};

/// Pages that are read in one go.
const PAGES_AT_ONCE: usize = 256;

/// The blocks with data, after the pages of the head were walked. Reads the pages that the tail touches once more.
pub(super) async fn blocks(walk: &Walk<'_>, head: &Head, tail: &[Arc<SegmentIndex>]) -> Result<u64> {
    let size_blocks = blocks_of(head.size_bytes);
    for index in tail {
        fold::check_runs(index.id, &index.runs, size_blocks)?;
    }
    let layers: Vec<_> = tail.iter().map(|index| (index.id, &index.runs[..])).collect();
    let changes = fold::flatten(&layers);
    let mut blocks = data(&changes);
    let Some(root) = head.root else { return Ok(blocks) };
    let mut waiting = vec![(checkpoint::top(size_blocks), root)];
    while !waiting.is_empty() {
        let batch = waiting.split_off(waiting.len().saturating_sub(PAGES_AT_ONCE));
        let (touched, whole): (Vec<_>, Vec<_>) =
            batch.into_iter().partition(|(place, _): &(Place, PageRef)| {
                !narrow(&changes, place.start(), place.end()).is_empty()
            });
        let known =
            whole.iter().map(|(_, reference)| walk.mapped(reference).map_or(0, |mapped| mapped.blocks));
        blocks += known.sum::<u64>();
        let wanted: Vec<_> =
            touched.iter().map(|(place, reference)| (*reference, place.level, place.index)).collect();
        for ((place, _), page) in touched.iter().zip(walk.pool().fetcher().pages(&wanted).await?) {
            match page {
                Page::Leaf(runs) => blocks += left(&runs, *place, &changes),
                Page::Inner(children) => {
                    waiting.extend(children.iter().filter_map(|(child, what)| match what {
                        Child::Page(reference) => Some((place.child(*child), *reference)),
                        Child::Zero => None,
                    }))
                }
            }
        }
    }
    Ok(blocks)
}

/// Blocks of these extents that hold data.
fn data(changes: &[Extent]) -> u64 {
    changes.iter().filter(|change| change.address.is_segment()).map(|change| change.blocks).sum()
}

/// Blocks of a leaf that hold data and are not changed.
fn left(runs: &[LeafRun], place: Place, changes: &[Extent]) -> u64 {
    let mut blocks = 0;
    for run in runs.iter().filter(|run| run.address.is_segment()) {
        let (start, end) =
            (place.start() + u64::from(run.start), place.start() + u64::from(run.start + run.blocks));
        let changed = narrow(changes, start, end).iter().filter_map(|change| change.clip(start, end));
        blocks += end - start - changed.map(|change| change.blocks).sum::<u64>();
    }
    blocks
}
