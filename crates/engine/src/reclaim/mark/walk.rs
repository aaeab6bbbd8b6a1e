//! From a head down: what it shows, or all that it names.

use esker_format::{
    address::{Address, AddressKind},
    head::Head,
    ids::SegmentId,
    names,
    page::{Child, Page, PageRef},
    segment::SegmentIndex,
};
use esker_io::{Bug, planted, sync::Arc};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::Mark;
use crate::{
    EngineError, Result, checkpoint,
    core::{
        fold::{Cover, Place, check_page, lay, left},
        map::Extent,
        state::State,
    },
    pool::Pool,
    volume::blocks_of,
};

/// Pages that are read in one go.
const PAGES_AT_ONCE: usize = 256;
/// Indexes of a tail that are read at once.
const INDEXES_AT_ONCE: usize = 16;

/// The pages of one map, and what lies over them.
struct Under<'a> {
    blocks: u64,
    changes: &'a [Extent],
}

fn state(head: &Head) -> State {
    if planted(Bug::TailIgnoredInMemo) {
        return State::of(&Head { tail: Vec::new(), ..head.clone() });
    }
    State::of(head)
}

impl Mark {
    /// Marks what a head shows: its pages, where the tail says nothing else, and of the tail what is said last.
    pub(super) async fn shown(&mut self, pool: &Pool, head: &Head) -> Result<()> {
        let state = state(head);
        if self.states.contains(&state) {
            return Ok(());
        }
        let mut tail = self.tail(pool, head).await?;
        if planted(Bug::TailBackwards) {
            tail.reverse();
        }
        let blocks = blocks_of(head.size_bytes);
        let changes = lay(tail.iter().map(|index| &**index), blocks)?;
        drop(tail);
        self.surely = true;
        for change in changes.iter().filter(|_| !planted(Bug::TailNotCounted)) {
            self.slots(change.address, change.blocks);
        }
        if let Some(root) = head.root {
            self.walk(pool, root, &Under { blocks, changes: &changes }).await?;
        }
        self.states.insert(state);
        Ok(())
    }

    /// Marks all that a head names: its pages, whatever its tail has overwritten, and all of its tail. What another head
    /// shows, too, is marked already.
    pub(super) async fn named(&mut self, pool: &Pool, head: &Head) -> Result<()> {
        if head.tail.is_empty() || self.states.contains(&state(head)) {
            return self.shown(pool, head).await;
        }
        self.surely = false;
        let read = |id: SegmentId| self.segments.get(&id).is_some_and(|reached| reached.whole);
        let fresh = head.tail.iter().filter(|segment| !read(segment.id));
        let gets: Vec<_> = fresh.map(|segment| pool.fetcher().index(segment.id, Some(segment))).collect();
        let mut gets = stream::iter(gets).buffered(INDEXES_AT_ONCE);
        while let Some(index) = gets.next().await {
            self.index(&*index?);
        }
        match head.root {
            Some(root) => {
                self.walk(pool, root, &Under { blocks: blocks_of(head.size_bytes), changes: &[] }).await
            }
            None => Ok(()),
        }
    }

    /// The indexes of a tail, oldest first. All of its segments are reached: whoever opens the head reads them.
    async fn tail(&mut self, pool: &Pool, head: &Head) -> Result<Vec<Arc<SegmentIndex>>> {
        let gets = head.tail.iter().map(|segment| pool.fetcher().index(segment.id, Some(segment)));
        let gets: Vec<_> = gets.collect();
        let tail: Vec<_> = stream::iter(gets).buffered(INDEXES_AT_ONCE).try_collect().await?;
        let open = self.open;
        for index in &tail {
            let reached = self.segments.entry(index.id).or_default();
            (reached.tail, reached.open) = (Some(index.slots), reached.open | open);
        }
        Ok(tail)
    }

    pub(super) fn index(&mut self, index: &SegmentIndex) {
        let reached = self.segments.entry(index.id).or_default();
        (reached.tail, reached.whole) = (Some(index.slots), true);
        for run in &index.runs {
            self.slots(run.address(index.id), run.blocks);
        }
    }

    /// Marks the slots of consecutive blocks.
    fn slots(&mut self, first: Address, blocks: u64) {
        let AddressKind::Segment(id, slot) = first.kind() else { return };
        let count = u32::try_from(blocks).expect("consecutive blocks lie in one segment");
        if self.watched.get(&id).is_some_and(|dropped| dropped.touches(slot, count)) {
            self.revived.insert(id);
        }
        let open = self.open;
        let reached = self.segments.entry(id).or_default();
        reached.open |= open;
        if planted(Bug::SharedSlotDead) && !reached.live.overlap(slot, count).is_empty() {
            reached.live.remove(slot, count);
            return;
        }
        // Rule R5: only added.
        if self.surely {
            reached.live.insert(slot, count);
        } else if reached.live.overlap(slot, count) != [(slot, count)] {
            reached.perhaps.insert(slot, count);
        }
    }

    async fn walk(&mut self, pool: &Pool, root: PageRef, under: &Under<'_>) -> Result<()> {
        let mut waiting = Vec::new();
        self.visit(&mut waiting, checkpoint::top(under.blocks), root, under);
        while !waiting.is_empty() {
            // The deepest first: what waits is at most the siblings along a few paths.
            let batch = waiting.split_off(waiting.len().saturating_sub(PAGES_AT_ONCE));
            let wanted: Vec<_> = batch
                .iter()
                .map(|(place, reference): &(Place, PageRef)| (*reference, place.level, place.index))
                .collect();
            let pages = pool.fetcher().pages(&wanted).await?;
            self.pages_read += pages.len() as u64;
            for ((place, reference), page) in batch.into_iter().zip(pages) {
                check_page(&page, place, under.blocks).map_err(|message| EngineError::Damaged {
                    object: format!("{} at {}", names::pack(reference.pack), reference.offset),
                    message,
                })?;
                self.page(&mut waiting, place, &page, under);
            }
        }
        Ok(())
    }

    fn page(&mut self, waiting: &mut Vec<(Place, PageRef)>, place: Place, page: &Page, under: &Under<'_>) {
        match page {
            Page::Leaf(runs) => {
                for shown in left(runs, place, under.changes) {
                    self.slots(shown.address, shown.blocks);
                }
            }
            Page::Inner(children) => {
                for (child, what) in children {
                    if let Child::Page(reference) = what {
                        self.visit(waiting, place.child(*child), *reference, under);
                    }
                }
            }
        }
    }

    /// A page is reached. It is to be read, unless all below it was marked, or nothing of it shows: whoever walks down
    /// from the head finds it then, and no more.
    fn visit(
        &mut self,
        waiting: &mut Vec<(Place, PageRef)>,
        place: Place,
        reference: PageRef,
        under: &Under<'_>,
    ) {
        let key = (reference.pack, reference.offset);
        self.packs.insert(reference.pack);
        let read = match Cover::of(under.changes, place, under.blocks) {
            Cover::Bare => self.pages.insert(key),
            Cover::Hidden if place.level == 0 => false,
            Cover::Partly | Cover::Hidden => !self.pages.contains(&key),
        };
        if read {
            waiting.push((place, reference));
        }
    }
}

#[cfg(test)]
mod tests;
