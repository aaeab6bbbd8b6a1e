//! What differs between two maps, one page at a time.
//!
//! ```text
//!   from   root ─┬─ page a ── page c          to   root ─┬─ page a    the same reference: skipped, never read
//!                └─ page b                               └─ page d    both are read, and what is below them compared
//!   laid   ──[ segments, pieces ]──           laid ──[ segments, pieces, log ]──    newer than the pages
//! ```
//! A state is a tree of pages and what is laid over it. References are hashes, so two that are equal stand for the same
//! blocks, and what they reach costs nothing; then only what is laid over either side is looked at. A block counts as
//! changed when its addresses differ: it may hold equal bytes all the same. [`crate::diff`] reads the pages.

use std::ops::Range;

use esker_format::{
    address::Address,
    page::{self, FANOUT, Page, PageRef},
};

use super::{
    fold::{self, Place, Subtree},
    map::Extent,
};

/// A state of a volume: where each of its blocks is.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// Its size.
    pub blocks: u64,
    /// The pages.
    pub root: Option<Root>,
    /// What is newer than they are: sorted and disjoint, inside the volume.
    pub laid: Vec<Extent>,
}

/// The top page of a map.
#[derive(Debug, Clone, Copy)]
pub struct Root {
    /// The page.
    pub page: PageRef,
    /// The size of the map whose top page it is.
    pub blocks: u64,
}

/// What a changed block is in the newer state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Data.
    Data,
    /// Written with zeros.
    Zero,
    /// Never written, or trimmed.
    Hole,
}

/// Consecutive blocks that differ, all of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// The first block.
    pub lba: u64,
    /// How many.
    pub blocks: u64,
    /// What they are in the newer state.
    pub kind: Kind,
}

/// The same place in both trees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair {
    /// Where.
    pub place: Place,
    /// In the older state.
    pub from: Subtree,
    /// In the newer one.
    pub to: Subtree,
}

/// What has to be done about a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Nothing: it is the same.
    Same,
    /// Nothing: all of it is changed.
    Whole(Change),
    /// The pages are to be read that are named here.
    Read {
        /// The older state's, where it has one.
        from: Option<PageRef>,
        /// The newer one's.
        to: Option<PageRef>,
    },
}

/// One side of a pair.
struct Side<'a> {
    base: Subtree,
    laid: &'a [Extent],
}

impl State {
    /// The side of a pair: what is laid over all of it leaves nothing of its pages.
    fn side(&self, base: Subtree, place: Place) -> Side<'_> {
        let laid = fold::narrow(&self.laid, place.start(), place.end());
        if let Some(swapped) = fold::swapped(laid, place, self.blocks) {
            return Side { base: swapped, laid: &[] };
        }
        let base = if fold::replaces(laid, place, self.blocks) { Subtree::Hole } else { base };
        Side { base, laid }
    }

    /// The page of a subtree, if there is one at this place: a tree that is lower than the other one has none there.
    fn page(&self, base: Subtree, place: Place) -> Option<PageRef> {
        let top = self.root.map_or(0, |root| top(root.blocks));
        match base {
            Subtree::Page(reference) if place.level <= top => Some(reference),
            _ => None,
        }
    }
}

/// The level of the top page of a map.
fn top(blocks: u64) -> u8 {
    page::height(blocks) - 1
}

/// Where a comparison begins.
pub fn whole(from: &State, to: &State) -> Pair {
    let below = |state: &State| top(state.blocks.max(1)).max(state.root.map_or(0, |root| top(root.blocks)));
    let root = |state: &State| state.root.map_or(Subtree::Hole, |root| Subtree::Page(root.page));
    Pair { place: Place { level: below(from).max(below(to)), index: 0 }, from: root(from), to: root(to) }
}

/// What has to be done about a pair, as far as `range` goes.
pub fn look(pair: &Pair, from: &State, to: &State, range: &Range<u64>) -> Look {
    let place = pair.place;
    let (start, end) = (place.start().max(range.start), place.end().min(range.end));
    if start >= end {
        return Look::Same;
    }
    let (older, newer) = (from.side(pair.from, place), to.side(pair.to, place));
    if older.base == newer.base && clipped(older.laid, start, end).eq(clipped(newer.laid, start, end)) {
        return Look::Same;
    }
    let uniform = |side: &Side<'_>| side.laid.is_empty() && !matches!(side.base, Subtree::Page(_));
    if uniform(&older) && uniform(&newer) {
        let kind = if newer.base == Subtree::Zero { Kind::Zero } else { Kind::Hole };
        return Look::Whole(Change { lba: start, blocks: end - start, kind });
    }
    Look::Read { from: from.page(older.base, place), to: to.page(newer.base, place) }
}

fn clipped(laid: &[Extent], from: u64, to: u64) -> impl Iterator<Item = Extent> {
    laid.iter().filter_map(move |extent| extent.clip(from, to))
}

/// The pairs below one that may differ, given the pages that [`look`] wanted.
pub fn children(
    pair: &Pair,
    (from, from_page): (&State, Option<&Page>),
    (to, to_page): (&State, Option<&Page>),
    range: &Range<u64>,
) -> Vec<Pair> {
    let place = pair.place;
    let (older, newer) = (from.side(pair.from, place), to.side(pair.to, place));
    let mut touched = vec![false; FANOUT as usize];
    for laid in [older.laid, newer.laid] {
        fold::touched(laid, place).iter().for_each(|(child, _)| touched[usize::from(*child)] = true);
    }
    let below = |child: u16| Pair {
        place: place.child(child),
        from: child_of(older.base, from_page, child),
        to: child_of(newer.base, to_page, child),
    };
    let meets = |pair: &Pair| pair.place.start() < range.end && range.start < pair.place.end();
    let pairs = (0..FANOUT as u16).map(below).filter(meets);
    pairs.filter(|pair| pair.from != pair.to || touched[(pair.place.index % FANOUT) as usize]).collect()
}

fn child_of(base: Subtree, page: Option<&Page>, child: u16) -> Subtree {
    match (base, page) {
        (Subtree::Page(_), Some(Page::Inner(children))) => fold::child_of(children, child),
        (_, Some(Page::Leaf(_))) => unreachable!("the page was checked against its level"),
        // A tree that ends below this level: it stands under the first child.
        (Subtree::Page(_), None) if child == 0 => base,
        (Subtree::Page(_), None) => Subtree::Hole,
        (uniform, _) => uniform,
    }
}

/// What differs in one leaf, given the pages that [`look`] wanted.
pub fn leaf(
    pair: &Pair,
    (from, from_page): (&State, Option<&Page>),
    (to, to_page): (&State, Option<&Page>),
    range: &Range<u64>,
) -> Vec<Change> {
    let place = pair.place;
    let older = addresses(&from.side(pair.from, place), from_page, place);
    let newer = addresses(&to.side(pair.to, place), to_page, place);
    let mut changes = Vec::new();
    let blocks = older.iter().zip(&newer).zip(place.start()..);
    for ((older, newer), lba) in blocks.filter(|(_, lba)| range.contains(lba)) {
        if older != newer {
            push(&mut changes, Change { lba, blocks: 1, kind: Kind::of(*newer) });
        }
    }
    changes
}

fn addresses(side: &Side<'_>, page: Option<&Page>, place: Place) -> Vec<Address> {
    match (side.base, page) {
        (Subtree::Page(_), Some(Page::Leaf(runs))) => fold::leaf_addresses(runs, place, side.laid),
        (Subtree::Page(_), _) => unreachable!("a leaf that is needed was read"),
        (Subtree::Hole, _) => fold::leaf_addresses(&[], place, side.laid),
        (Subtree::Zero, _) => match fold::uniform_page(0, true) {
            Page::Leaf(runs) => fold::leaf_addresses(&runs, place, side.laid),
            Page::Inner(_) => unreachable!("a page of level 0 is a leaf"),
        },
    }
}

impl Kind {
    fn of(address: Address) -> Kind {
        match address {
            Address::HOLE => Kind::Hole,
            Address::ZERO => Kind::Zero,
            _ => Kind::Data,
        }
    }
}

/// Appends a change, or lengthens the last one when it goes on.
pub fn push(changes: &mut Vec<Change>, change: Change) {
    match changes.last_mut() {
        Some(last) if last.lba + last.blocks == change.lba && last.kind == change.kind => {
            last.blocks += change.blocks;
        }
        _ => changes.push(change),
    }
}
