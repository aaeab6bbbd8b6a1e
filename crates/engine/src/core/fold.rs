//! Folding: what committed segments change in the pages of a map, one page at a time.
//!
//! The segments of a tail are first laid over each other ([`lay`]), so that each block is named
//! once, with its newest address. Then each page that they touch is a function of its old self and
//! its stretch of that list. [`crate::checkpoint`] walks the tree, loads old pages and writes new ones.
//! Who only asks what a head shows, walks the tree too, and sees of each page what is left of it ([`left`]).

#[cfg(test)]
mod tests;

use esker_format::{
    address::Address,
    ids::SegmentId,
    names,
    page::{Child, FANOUT, LEAF_BLOCKS, LeafRun, Page, PageRef},
    segment::{Run, RunKind, SegmentIndex},
};

use crate::{
    EngineError, Result,
    core::map::{Extent, RunBuilder, is_uniform, push_merged, run_extent, span},
};

/// Which page of a map: `index` counts the pages of `level`, and leaves are level 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Level of the page.
    pub level: u8,
    /// Which page of the level.
    pub index: u64,
}

impl Place {
    /// First block under the page.
    pub fn start(&self) -> u64 {
        self.index * span(self.level)
    }

    /// One past the last block under the page, which may lie beyond the volume's end.
    pub fn end(&self) -> u64 {
        self.start() + span(self.level)
    }

    /// One of the page's children.
    pub fn child(&self, child: u16) -> Place {
        Place { level: self.level - 1, index: self.index * FANOUT + u64::from(child) }
    }
}

/// A subtree of stored pages, as its parent sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subtree {
    /// Every block is a hole.
    Hole,
    /// Every block is zeros.
    Zero,
    /// There is a page.
    Page(PageRef),
}

/// Checks that the runs of a segment can be laid over a map of `blocks` blocks: inside the volume, in
/// order, and naming only addresses that may be stored.
///
/// # Errors
/// [`EngineError::Damaged`], with the segment's object.
pub fn check_runs(id: SegmentId, runs: &[Run], blocks: u64) -> Result<()> {
    let mut end = 0;
    for run in runs {
        let extent = run_extent_checked(run, id).filter(|extent| {
            extent.lba >= end
                && extent.lba < blocks
                && extent.blocks > 0
                && extent.blocks <= blocks - extent.lba
        });
        let Some(extent) = extent else {
            return Err(EngineError::Damaged {
                object: names::segment(id),
                message: format!(
                    "a run of its index is not what the volume can hold: expected sorted runs of stored \
                     addresses inside {blocks} blocks, found {run:?} behind block {end}"
                ),
            });
        };
        end = extent.end();
    }
    Ok(())
}

/// The run as an extent, when its last block still has an address.
fn run_extent_checked(run: &Run, id: SegmentId) -> Option<Extent> {
    if let RunKind::Reference(address) = run.kind
        && !address.is_segment()
    {
        return None;
    }
    let extent = run_extent(run, id);
    let last = extent.address.plus(extent.blocks.checked_sub(1)?);
    (last != Address::NOWHERE).then_some(extent)
}

/// What a tail says: its segments, in its order (rule W7), laid over each other. Sorted disjoint extents, neighbours
/// merged, each block with its newest address.
///
/// # Errors
/// As [`check_runs`].
pub fn lay<'a>(tail: impl Iterator<Item = &'a SegmentIndex>, blocks: u64) -> Result<Vec<Extent>> {
    let checked = |index: &'a SegmentIndex| {
        check_runs(index.id, &index.runs, blocks)?;
        Ok((index.id, &index.runs[..]))
    };
    Ok(flatten(&tail.map(checked).collect::<Result<Vec<_>>>()?))
}

/// Lays segments over each other, oldest first: sorted disjoint extents, neighbours merged, each block
/// with the address that the newest segment gives it. Runs must have passed [`check_runs`].
fn flatten(segments: &[(SegmentId, &[Run])]) -> Vec<Extent> {
    match segments {
        [] => Vec::new(),
        [(id, runs)] => {
            let mut out = Vec::with_capacity(runs.len());
            for run in *runs {
                push_merged(&mut out, 0, run_extent(run, *id));
            }
            out
        }
        // In halves, so that each extent is copied log₂(segments) times.
        _ => {
            let (older, newer) = segments.split_at(segments.len() / 2);
            overlay(&flatten(older), &flatten(newer))
        }
    }
}

/// Lays newer extents over older ones, both sorted and disjoint.
pub fn overlay(older: &[Extent], newer: &[Extent]) -> Vec<Extent> {
    let mut out = Vec::with_capacity(older.len() + newer.len());
    let mut rest = older;
    let mut decided = 0;
    for extent in newer {
        rest = copy_until(rest, decided, extent.lba, &mut out);
        push_merged(&mut out, 0, *extent);
        decided = extent.end();
    }
    copy_until(rest, decided, u64::MAX, &mut out);
    out
}

/// Copies what `extents` say of blocks `from..to`; returns those that reach `to` or lie behind it.
fn copy_until<'a>(extents: &'a [Extent], from: u64, to: u64, out: &mut Vec<Extent>) -> &'a [Extent] {
    let mut rest = extents;
    while let [first, behind @ ..] = rest {
        if let Some(part) = first.clip(from, to) {
            push_merged(out, 0, part);
        }
        if first.end() > to {
            break;
        }
        rest = behind;
    }
    rest
}

/// The changes that touch blocks `from..to`; the first and last may reach beyond.
pub fn narrow(changes: &[Extent], from: u64, to: u64) -> &[Extent] {
    if from >= to {
        return &[];
    }
    let changes = &changes[changes.partition_point(|change| change.end() <= from)..];
    &changes[..changes.partition_point(|change| change.lba < to)]
}

/// What a subtree becomes when one change makes all of it holes or zeros; then nothing of it is loaded.
pub fn swapped(changes: &[Extent], place: Place, blocks: u64) -> Option<Subtree> {
    let [change] = changes else { return None };
    if !is_uniform(change.address) || change.lba > place.start() {
        return None;
    }
    if change.address == Address::HOLE {
        // Blocks beyond the volume's end are holes already.
        return (change.end() >= place.end().min(blocks)).then_some(Subtree::Hole);
    }
    (change.end() >= place.end()).then_some(Subtree::Zero)
}

/// Whether the changes name every block of the subtree that lies in the volume: then its old page says
/// nothing that is still true, and is not loaded.
pub fn replaces(changes: &[Extent], place: Place, blocks: u64) -> bool {
    let end = place.end().min(blocks);
    let mut next = place.start();
    for change in changes {
        if change.lba > next {
            return false;
        }
        next = change.end();
    }
    next >= end
}

/// How changes lie over a subtree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cover {
    /// They do not touch it.
    Bare,
    /// Something of it still shows.
    Partly,
    /// Nothing of it does.
    Hidden,
}

impl Cover {
    /// How sorted disjoint changes lie over the subtree, in a map of `blocks` blocks.
    pub fn of(changes: &[Extent], place: Place, blocks: u64) -> Cover {
        match narrow(changes, place.start(), place.end()) {
            [] => Cover::Bare,
            changes if replaces(changes, place, blocks) => Cover::Hidden,
            _ => Cover::Partly,
        }
    }
}

/// What still shows of a leaf under changes.
pub fn left(runs: &[LeafRun], place: Place, changes: &[Extent]) -> Vec<Extent> {
    let mut left = Vec::with_capacity(runs.len());
    for run in runs {
        let (lba, blocks) = (place.start() + u64::from(run.start), u64::from(run.blocks));
        let run = Extent { lba, blocks, address: run.address };
        let mut at = lba;
        for change in narrow(changes, lba, run.end()) {
            left.extend(run.clip(at, change.lba));
            at = change.end();
        }
        left.extend(run.clip(at, run.end()));
    }
    left
}

/// The children of an inner page that changes touch, each with its own.
pub fn touched(changes: &[Extent], place: Place) -> Vec<(u16, &[Extent])> {
    let below = span(place.level - 1);
    let mut out = Vec::new();
    let mut at = place.start();
    let mut rest = narrow(changes, at, place.end());
    while let [first, ..] = rest {
        let child = (at.max(first.lba) - place.start()) / below;
        let (start, end) = (place.start() + child * below, place.start() + (child + 1) * below);
        out.push((child as u16, narrow(rest, start, end)));
        at = end;
        rest = narrow(rest, at, place.end());
    }
    out
}

/// The runs of a leaf after the changes.
pub fn fold_leaf(old: &[LeafRun], place: Place, changes: &[Extent]) -> Vec<LeafRun> {
    let mut builder = RunBuilder::default();
    for (block, address) in leaf_addresses(old, place, changes).into_iter().enumerate() {
        builder.push(block as u16, 1, address);
    }
    builder.finish()
}

/// The address of each block of a leaf after the changes.
pub fn leaf_addresses(old: &[LeafRun], place: Place, changes: &[Extent]) -> Vec<Address> {
    let mut addresses = vec![Address::HOLE; LEAF_BLOCKS as usize];
    for run in old {
        fill(&mut addresses, u64::from(run.start), u64::from(run.blocks), run.address);
    }
    for part in changes.iter().filter_map(|change| change.clip(place.start(), place.end())) {
        fill(&mut addresses, part.lba - place.start(), part.blocks, part.address);
    }
    addresses
}

fn fill(addresses: &mut [Address], start: u64, blocks: u64, first: Address) {
    for (i, address) in addresses[start as usize..(start + blocks) as usize].iter_mut().enumerate() {
        *address = first.plus(i as u64);
    }
}

/// The children of an inner page after some of them, given in order, have become something else.
pub fn fold_inner(old: &[(u16, Child)], new: Vec<(u16, Subtree)>) -> Vec<(u16, Child)> {
    let mut out = Vec::with_capacity(old.len() + new.len());
    let mut rest = old.iter().peekable();
    for (child, subtree) in new {
        while let Some(kept) = rest.next_if(|(other, _)| *other < child) {
            out.push(*kept);
        }
        rest.next_if(|(other, _)| *other == child);
        match subtree {
            Subtree::Hole => {}
            Subtree::Zero => out.push((child, Child::Zero)),
            Subtree::Page(reference) => out.push((child, Child::Page(reference))),
        }
    }
    out.extend(rest.copied());
    out
}

/// One of the old children of an inner page.
pub fn child_of(children: &[(u16, Child)], child: u16) -> Subtree {
    match children.binary_search_by_key(&child, |(other, _)| *other) {
        Err(_) => Subtree::Hole,
        Ok(found) => match &children[found].1 {
            Child::Zero => Subtree::Zero,
            Child::Page(reference) => Subtree::Page(*reference),
        },
    }
}

/// The page of a subtree that reads one uniform address all over.
pub fn uniform_page(level: u8, zero: bool) -> Page {
    match (level, zero) {
        (0, false) => Page::Leaf(Vec::new()),
        (0, true) => {
            Page::Leaf(vec![LeafRun { start: 0, blocks: LEAF_BLOCKS as u16, address: Address::ZERO }])
        }
        (_, false) => Page::Inner(Vec::new()),
        (_, true) => Page::Inner((0..FANOUT as u16).map(|child| (child, Child::Zero)).collect()),
    }
}

/// Checks that a page fits its place in a volume of `blocks` blocks: of the right kind, and with
/// nothing beyond the end.
///
/// # Errors
/// What was expected and found; the caller knows the object.
pub fn check_page(page: &Page, place: Place, blocks: u64) -> std::result::Result<(), String> {
    let inside = blocks.saturating_sub(place.start());
    let end = match page {
        Page::Leaf(_) if place.level != 0 => {
            return Err(format!("expected an inner page at {place:?}, found a leaf"));
        }
        Page::Inner(_) if place.level == 0 => {
            return Err(format!("expected a leaf at {place:?}, found an inner page"));
        }
        Page::Leaf(runs) => runs.last().map_or(0, |run| u64::from(run.start) + u64::from(run.blocks)),
        Page::Inner(children) => {
            children.iter().map(|(child, what)| end_of(place, *child, what)).max().unwrap_or(0)
        }
    };
    if end > inside {
        return Err(format!("expected at most {inside} blocks of the volume under {place:?}, found {end}"));
    }
    Ok(())
}

/// The fewest blocks of its parent that a child needs to be inside the volume.
fn end_of(place: Place, child: u16, what: &Child) -> u64 {
    let below = span(place.level - 1);
    match what {
        Child::Zero => (u64::from(child) + 1) * below,
        Child::Page(_) => u64::from(child) * below + 1,
    }
}
