//! Checkpoints: folding committed segments into copy-on-write pages, and reading pages for a map.
//!
//! A fold loads and writes only the pages whose blocks changed, and of those loads only the ones of
//! which something is still true. Everything else keeps its reference, so a fork shares what neither
//! side wrote, and a trim of terabytes costs the pages at its two edges.

mod resize;
#[cfg(test)]
mod tests;

use std::ops::Range;

use esker_format::{
    names,
    page::{self, Child, LeafRun, PackWriter, Page, PageRef},
    segment::SegmentIndex,
};
use esker_io::{BoxFuture, sync::Arc};
use futures_util::{
    StreamExt,
    stream::{self, FuturesUnordered},
};

use crate::{
    EngineError, Result,
    core::{
        fold::{self, Place, Subtree},
        map::Extent,
    },
};

pub use resize::resize;

/// How many pages are asked for at once.
const PAGES_IN_FLIGHT: usize = 16;

/// Where pages come from.
pub trait PageSource: Send + Sync {
    /// Reads one page and verifies it against the hash in its reference, its level and its index.
    fn page<'a>(&'a self, reference: &'a PageRef, level: u8, index: u64) -> BoxFuture<'a, Result<Arc<Page>>>;

    /// A page was made that this reference will name: whoever asks for it soon need not read it.
    fn made(&self, reference: PageRef, level: u8, index: u64, page: Page);
}

/// Lays committed segments, oldest first, over the map whose top page is `old`, and returns the top page
/// of the new map (none when all of it is holes). New pages go to `writer`; whoever calls uploads the
/// pack before a head names the new root. The map had the same size before; see [`resize`].
///
/// # Errors
/// When a page cannot be read or does not fit, or a segment names blocks outside the volume. What
/// `writer` holds then is of no use.
pub async fn fold(
    pages: &dyn PageSource,
    old: Option<PageRef>,
    size_blocks: u64,
    changes: &[Arc<SegmentIndex>],
    writer: &mut PackWriter,
) -> Result<Option<PageRef>> {
    let changes = fold::lay(changes.iter().map(|index| &**index), size_blocks)?;
    if changes.is_empty() {
        return Ok(old);
    }
    let root = top(size_blocks);
    let old = old.map_or(Subtree::Hole, Subtree::Page);
    let mut walk = Walk { pages, size_blocks, writer };
    Ok(match walk.subtree(root, old, &changes).await? {
        Subtree::Hole => None,
        Subtree::Page(reference) => Some(reference),
        // A root has no parent that could say it in a word.
        Subtree::Zero => Some(walk.writer.add(root.level, 0, &fold::uniform_page(root.level, true))),
    })
}

/// Reads the pages that say where the blocks of a range are, in a map of `size_blocks` blocks, and shows each to
/// `found`: a page before those below it, in no other order. For an empty range that is the top page.
///
/// # Errors
/// When a page cannot be read or does not fit.
pub async fn load(
    pages: &dyn PageSource,
    root: PageRef,
    size_blocks: u64,
    range: &Range<u64>,
    mut found: impl FnMut(Place, &Page),
) -> Result<()> {
    // Last in, first out: what waits is at most the siblings along a few paths.
    let mut waiting = vec![(top(size_blocks), root)];
    let mut flying = FuturesUnordered::new();
    loop {
        while flying.len() < PAGES_IN_FLIGHT
            && let Some((place, reference)) = waiting.pop()
        {
            flying.push(async move { (place, read(pages, &reference, place, size_blocks).await) });
        }
        let Some((place, page)) = flying.next().await else { return Ok(()) };
        let page = page?;
        found(place, &page);
        let Page::Inner(children) = &*page else { continue };
        for (child, what) in children.iter().rev() {
            let place = place.child(*child);
            if let Child::Page(reference) = what
                && place.start() < range.end
                && range.start < place.end()
            {
                waiting.push((place, *reference));
            }
        }
    }
}

/// Where the top page of a map of `size_blocks` blocks stands.
pub(crate) fn top(size_blocks: u64) -> Place {
    Place { level: page::height(size_blocks) - 1, index: 0 }
}

/// Reads a page and checks that it fits its place.
pub(crate) async fn read(
    pages: &dyn PageSource,
    reference: &PageRef,
    place: Place,
    size_blocks: u64,
) -> Result<Arc<Page>> {
    let page = pages.page(reference, place.level, place.index).await?;
    fold::check_page(&page, place, size_blocks).map_err(|message| EngineError::Damaged {
        object: format!("{} at {}", names::pack(reference.pack), reference.offset),
        message,
    })?;
    Ok(page)
}

/// The runs of a leaf, whatever its parent says of it.
async fn read_leaf(
    pages: &dyn PageSource,
    old: &Subtree,
    place: Place,
    size_blocks: u64,
) -> Result<Vec<LeafRun>> {
    match &*read_subtree(pages, old, place, size_blocks).await? {
        Page::Leaf(runs) => Ok(runs.clone()),
        Page::Inner(_) => unreachable!("the page was checked against its level"),
    }
}

/// The page of a subtree, made up where there is none.
async fn read_subtree(
    pages: &dyn PageSource,
    old: &Subtree,
    place: Place,
    size_blocks: u64,
) -> Result<Arc<Page>> {
    match old {
        Subtree::Hole => Ok(Arc::new(fold::uniform_page(place.level, false))),
        Subtree::Zero => Ok(Arc::new(fold::uniform_page(place.level, true))),
        Subtree::Page(reference) => read(pages, reference, place, size_blocks).await,
    }
}

/// One walk down the tree.
struct Walk<'a> {
    pages: &'a dyn PageSource,
    size_blocks: u64,
    writer: &'a mut PackWriter,
}

impl Walk<'_> {
    /// What a subtree becomes. There is at least one change, and all of them touch it.
    fn subtree<'s>(
        &'s mut self,
        place: Place,
        old: Subtree,
        changes: &'s [Extent],
    ) -> BoxFuture<'s, Result<Subtree>> {
        Box::pin(async move {
            if let Some(swapped) = fold::swapped(changes, place, self.size_blocks) {
                return Ok(swapped);
            }
            let old = self.still_true(old, place, changes);
            if place.level == 0 {
                let runs = read_leaf(self.pages, &old, place, self.size_blocks).await?;
                return Ok(self.leaf(place, old, &runs, changes));
            }
            let page = read_subtree(self.pages, &old, place, self.size_blocks).await?;
            let Page::Inner(children) = &*page else {
                unreachable!("the page was checked against its level")
            };
            let touched = fold::touched(changes, place);
            let new = if place.level == 1 {
                self.leaves(place, children, touched).await?
            } else {
                let mut new = Vec::with_capacity(touched.len());
                for (child, changes) in touched {
                    let old = fold::child_of(children, child);
                    new.push((child, self.subtree(place.child(child), old, changes).await?));
                }
                new
            };
            Ok(self.inner(place, old, children, new))
        })
    }

    /// What the leaves of one inner page become; their old pages are read several at a time.
    async fn leaves(
        &mut self,
        parent: Place,
        children: &[(u16, Child)],
        touched: Vec<(u16, &[Extent])>,
    ) -> Result<Vec<(u16, Subtree)>> {
        let (pages, size_blocks) = (self.pages, self.size_blocks);
        let mut new = Vec::with_capacity(touched.len());
        let mut changed = Vec::new();
        for (child, changes) in touched {
            let place = parent.child(child);
            match fold::swapped(changes, place, size_blocks) {
                Some(swapped) => new.push((child, swapped)),
                None => {
                    let old = self.still_true(fold::child_of(children, child), place, changes);
                    changed.push((child, place, old, changes));
                }
            }
        }
        let reads: Vec<_> =
            changed.iter().map(|(_, place, old, _)| read_leaf(pages, old, *place, size_blocks)).collect();
        let mut reads = stream::iter(reads).buffered(PAGES_IN_FLIGHT);
        for (child, place, old, changes) in &changed {
            let runs = reads.next().await.expect("one answer a question")?;
            new.push((*child, self.leaf(*place, *old, &runs, changes)));
        }
        new.sort_by_key(|(child, _)| *child);
        Ok(new)
    }

    /// The old subtree, or a hole when nothing of it stays true.
    fn still_true(&self, old: Subtree, place: Place, changes: &[Extent]) -> Subtree {
        if fold::replaces(changes, place, self.size_blocks) { Subtree::Hole } else { old }
    }

    fn leaf(&mut self, place: Place, old: Subtree, runs: &[LeafRun], changes: &[Extent]) -> Subtree {
        let new = fold::fold_leaf(runs, place, changes);
        if new == runs {
            return old;
        }
        self.write(place, Page::Leaf(new))
    }

    fn inner(
        &mut self,
        place: Place,
        old: Subtree,
        children: &[(u16, Child)],
        new: Vec<(u16, Subtree)>,
    ) -> Subtree {
        let new = fold::fold_inner(children, new);
        if new == children {
            return old;
        }
        self.write(place, Page::Inner(new))
    }

    /// Writes a page, unless a word in its parent says the same.
    fn write(&mut self, place: Place, page: Page) -> Subtree {
        if page == fold::uniform_page(place.level, false) {
            Subtree::Hole
        } else if page == fold::uniform_page(place.level, true) {
            Subtree::Zero
        } else {
            let reference = self.writer.add(place.level, place.index, &page);
            self.pages.made(reference, place.level, place.index, page);
            Subtree::Page(reference)
        }
    }
}
