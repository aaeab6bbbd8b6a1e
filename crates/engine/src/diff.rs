//! Comparing two states of volumes, in requests and time proportional to what differs between them.
//!
//! ```text
//!   places in order   [ done ][ reading ][ reading ][ waiting ] … [ waiting ]
//!                       │ handed out            └ an inner page gives way to the places below it that may differ
//! ```
//! Pages that differ are read some ahead of what is handed out, so that one comes while others are on their way; what
//! waits is at most the children of a few inner pages. Nothing is kept of what was handed out, so the memory does not
//! grow with the volume: it is that of both tails, and of some hundred kilobytes of places.
//!
//! A comparison changes nothing and holds nothing back: a state that reclaim takes away meanwhile is an error, never a
//! wrong answer, for every page is verified by the hash in its reference.

mod named;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, ops::Range};

use esker_format::page::{Page, PageRef};
use esker_io::{BoxFuture, Bug, planted, sync::Arc};
use futures_util::{StreamExt, future::try_join, stream::FuturesUnordered};

pub use crate::core::diff::{Change, Kind, State};
use crate::{
    Result,
    checkpoint::{self, PageSource},
    core::{
        diff::{self, Look, Pair},
        fold::{Place, Subtree},
    },
};
pub(crate) use named::IN_LOG;
pub use named::NamedState;

/// Pairs of pages that are read, or were and wait for those before them.
const PAIRS_AHEAD: usize = 32;

/// One comparison under way.
pub struct Walk<'a> {
    pages: &'a dyn PageSource,
    from: &'a State,
    to: &'a State,
    range: Range<u64>,
    /// What is not handed out yet, by its first block.
    places: BTreeMap<u64, Item>,
    /// Those that are being read, or were.
    ahead: usize,
    reads: FuturesUnordered<BoxFuture<'a, Result<Read>>>,
}

enum Item {
    Waiting(Box<(Pair, Wanted)>),
    Reading,
    Done(Vec<Change>),
}

#[derive(Clone, Copy)]
struct Wanted {
    from: Option<PageRef>,
    to: Option<PageRef>,
}

/// The pages of a pair.
struct Read {
    pair: Pair,
    from: Option<Arc<Page>>,
    to: Option<Arc<Page>>,
}

impl<'a> Walk<'a> {
    /// Compares the blocks of a range. What lies beyond the end of `to` is not looked at; beyond the end of `from` are
    /// holes.
    pub fn new(pages: &'a dyn PageSource, from: &'a State, to: &'a State, range: Range<u64>) -> Self {
        let range = range.start..range.end.min(to.blocks);
        let mut walk = Self {
            pages,
            from,
            to,
            range,
            places: BTreeMap::new(),
            ahead: 0,
            reads: FuturesUnordered::new(),
        };
        walk.place(diff::whole(from, to));
        walk
    }

    /// The next changes, in order; neighbours of two calls may continue each other. `None` at the end.
    ///
    /// # Errors
    /// When a page cannot be read or does not fit.
    pub async fn next(&mut self) -> Result<Option<Vec<Change>>> {
        loop {
            if let Some(first) = self.places.first_entry()
                && matches!(first.get(), Item::Done(_))
            {
                let Item::Done(changes) = first.remove() else { unreachable!("it was looked at") };
                self.ahead -= 1;
                if changes.is_empty() {
                    continue;
                }
                return Ok(Some(changes));
            }
            self.read_ahead();
            let Some(read) = self.reads.next().await else {
                assert!(self.places.is_empty(), "what is first is read first");
                return Ok(None);
            };
            self.take(read?);
        }
    }

    /// A place that may differ.
    fn place(&mut self, mut pair: Pair) {
        if planted(Bug::PagesComparedByPlace)
            && matches!((pair.from, pair.to), (Subtree::Page(_), Subtree::Page(_)))
        {
            pair.from = pair.to;
        }
        match diff::look(&pair, self.from, self.to, &self.range) {
            Look::Same => {}
            Look::Whole(change) => {
                self.ahead += 1;
                self.places.insert(pair.place.start(), Item::Done(vec![change]));
            }
            Look::Read { from, to } => {
                self.places.insert(pair.place.start(), Item::Waiting(Box::new((pair, Wanted { from, to }))));
            }
        }
    }

    /// Begins to read what comes first, as far as there is room.
    fn read_ahead(&mut self) {
        let (pages, from, to) = (self.pages, self.from, self.to);
        for item in self.places.values_mut() {
            if self.reads.len() >= PAIRS_AHEAD || self.ahead >= 2 * PAIRS_AHEAD && !self.reads.is_empty() {
                return;
            }
            let Item::Waiting(waiting) = item else { continue };
            let (pair, wanted) = **waiting;
            *item = Item::Reading;
            self.ahead += 1;
            self.reads.push(Box::pin(read(pages, (from, to), pair, wanted)));
        }
    }

    fn take(&mut self, read: Read) {
        let pair = read.pair;
        let (from, to) = ((self.from, read.from.as_deref()), (self.to, read.to.as_deref()));
        if pair.place.level == 0 {
            let changes = diff::leaf(&pair, from, to, &self.range);
            self.places.insert(pair.place.start(), Item::Done(changes));
            return;
        }
        let below = diff::children(&pair, from, to, &self.range);
        self.places.remove(&pair.place.start());
        self.ahead -= 1;
        below.into_iter().for_each(|pair| self.place(pair));
    }
}

async fn read(
    pages: &dyn PageSource,
    (from, to): (&State, &State),
    pair: Pair,
    wanted: Wanted,
) -> Result<Read> {
    if wanted.from == wanted.to {
        // Equal pages under something that differs.
        let page = read_page(pages, to, wanted.to, pair.place).await?;
        return Ok(Read { pair, from: page.clone(), to: page });
    }
    let from = read_page(pages, from, wanted.from, pair.place);
    let to = read_page(pages, to, wanted.to, pair.place);
    let (from, to) = try_join(from, to).await?;
    Ok(Read { pair, from, to })
}

async fn read_page(
    pages: &dyn PageSource,
    state: &State,
    wanted: Option<PageRef>,
    place: Place,
) -> Result<Option<Arc<Page>>> {
    let (Some(reference), Some(root)) = (wanted, state.root) else { return Ok(None) };
    Ok(Some(checkpoint::read(pages, &reference, place, root.blocks).await?))
}
