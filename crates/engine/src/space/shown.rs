//! What a head shows: its pages, where its tail says nothing else, and of the tail what is said last.
//!
//! Pages that the tail touches are read for each head that shows another state, and only what is left of them is held.
//! Below those that it does not touch all is held, so they are remembered as whole pages are ([`super::walk`]). Heads
//! that show the same are walked twice at most, like pages.

use std::ops::AddAssign;

use esker_format::{
    head::Head,
    page::{Child, Page, PageRef},
};

use super::walk::{Mapped, Walk, segment};
use crate::{
    Result, checkpoint,
    core::{
        fold::{Cover, Place, lay, left},
        map::Extent,
        state::State,
    },
    volume::blocks_of,
};

/// Pages that are read in one go.
const PAGES_AT_ONCE: usize = 256;

impl AddAssign for Mapped {
    fn add_assign(&mut self, other: Mapped) {
        self.blocks += other.blocks;
        self.bytes += other.bytes;
    }
}

/// The pages of a map that something lies over.
struct Under<'a> {
    blocks: u64,
    changes: &'a [Extent],
    /// Are to be read.
    waiting: Vec<(Place, PageRef)>,
    /// Are not touched: the whole page is the head's.
    bare: Vec<(Place, PageRef)>,
}

impl Under<'_> {
    fn meet(&mut self, place: Place, reference: PageRef) {
        match Cover::of(self.changes, place, self.blocks) {
            Cover::Bare => self.bare.push((place, reference)),
            // Nothing of it shows.
            Cover::Hidden if place.level == 0 => {}
            Cover::Hidden | Cover::Partly => self.waiting.push((place, reference)),
        }
    }
}

impl Walk<'_> {
    /// What a head shows is reached. Returns how much that is.
    pub(super) async fn shown(&mut self, head: &Head) -> Result<Mapped> {
        let state = State::of(head);
        let known = self.states.get(&state).copied();
        let holder = known.map_or(self.by, |(before, _)| before.and(self.by));
        if let Some((before, mapped)) = known
            && before == holder
        {
            return Ok(mapped);
        }
        let blocks = blocks_of(head.size_bytes);
        let tail = self.tail(head).await?;
        let changes = lay(tail.iter().map(|index| &**index), blocks)?;
        drop(tail);
        self.weigh(changes.iter().filter_map(|change| segment(change.address)).collect()).await?;
        let mut mapped = self.extents(&changes);
        if let Some(root) = head.root {
            let (waiting, bare) = (Vec::new(), Vec::new());
            mapped += self.under(root, Under { blocks, changes: &changes, waiting, bare }).await?;
        }
        self.states.insert(state, (holder, mapped));
        Ok(mapped)
    }

    async fn under(&mut self, root: PageRef, mut under: Under<'_>) -> Result<Mapped> {
        let mut mapped = Mapped::default();
        under.meet(checkpoint::top(under.blocks), root);
        self.packs.insert(root.pack);
        loop {
            let bare = std::mem::take(&mut under.bare);
            mapped += self.whole(&bare, under.blocks).await?;
            let batch = under.waiting.split_off(under.waiting.len().saturating_sub(PAGES_AT_ONCE));
            if batch.is_empty() {
                return Ok(mapped);
            }
            for ((place, _), page) in batch.iter().zip(self.read(&batch, under.blocks).await?) {
                match page {
                    Page::Leaf(runs) => {
                        let shown = left(&runs, *place, under.changes);
                        self.weigh(shown.iter().filter_map(|run| segment(run.address)).collect()).await?;
                        mapped += self.extents(&shown);
                    }
                    Page::Inner(children) => {
                        for (child, what) in children {
                            let Child::Page(reference) = what else { continue };
                            self.packs.insert(reference.pack);
                            under.meet(place.child(child), reference);
                        }
                    }
                }
            }
        }
    }

    /// Blocks that a head shows are reached. Returns how much they are.
    fn extents(&mut self, extents: &[Extent]) -> Mapped {
        let mut mapped = Mapped::default();
        for extent in extents.iter().filter(|extent| extent.address.is_segment()) {
            self.hold(extent.address, extent.blocks);
            let bytes = self.bytes_of(extent.address, extent.blocks);
            mapped += Mapped { blocks: extent.blocks, bytes };
        }
        mapped
    }
}
