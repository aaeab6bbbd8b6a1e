//! Many pages at once, for somebody who looks at each once: neighbours in a pack come in one GET, and none is cached.
//! Indexes for the same one.

use std::sync::Arc;

use esker_format::{
    ids::SegmentId,
    names,
    page::{PAGE_BYTES_MAX, Page, PageRef, decode_page},
    segment::SegmentIndex,
};
use esker_io::Range;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::{Fetcher, GET_BYTES_MAX, GET_GAP_BYTES_MAX, GETS_PER_READ};
use crate::Result;

/// A page and where in a map it stands.
pub(crate) type Wanted = (PageRef, u8, u64);

impl Fetcher {
    /// Reads these pages, verified, and in this order.
    pub(crate) async fn pages(&self, wanted: &[Wanted]) -> Result<Vec<Page>> {
        for reference in wanted.iter().filter(|wanted| wanted.0.bytes as usize > PAGE_BYTES_MAX) {
            // No page is so long: this says so, and asks for nothing.
            self.get_page(reference).await?;
        }
        let gets: Vec<_> = groups(wanted).into_iter().map(|group| self.group(wanted, group)).collect();
        let got: Vec<_> = stream::iter(gets).buffer_unordered(GETS_PER_READ).try_collect().await?;
        let mut pages: Vec<_> = got.into_iter().flatten().collect();
        pages.sort_by_key(|(at, _)| *at);
        assert_eq!(pages.len(), wanted.len(), "one page a reference");
        Ok(pages.into_iter().map(|(_, page)| page).collect())
    }

    /// A segment's index, which pushes none out of the memory that reads need.
    pub(crate) async fn index_once(&self, id: SegmentId) -> Result<Arc<SegmentIndex>> {
        match self.indexes.get(&id) {
            Some(opened) => Ok(opened.index),
            None => Ok(self.open_segment(id).await?.index),
        }
    }

    /// Reads some that lie close together: their numbers, by offset.
    async fn group(&self, wanted: &[Wanted], group: Vec<usize>) -> Result<Vec<(usize, Page)>> {
        let start = wanted[group[0]].0.offset;
        let end = group.iter().map(|at| end(&wanted[*at].0)).max().unwrap_or(start);
        let mut pages = Vec::with_capacity(group.len());
        let permit = self.gets.acquire().await;
        let bytes = self.get(&names::pack(wanted[group[0]].0.pack), Range::Bytes { start, end }).await?;
        drop(permit);
        let parts: Vec<(usize, Wanted)> = group.into_iter().map(|at| (at, wanted[at])).collect();
        // Many at once, and no guest waits for them.
        let decode = move || {
            let page = |(at, (reference, level, index)): (usize, Wanted)| {
                let from = (reference.offset - start) as usize;
                (at, decode_page(&reference, &bytes[from..from + reference.bytes as usize], level, index))
            };
            parts.into_iter().map(page).collect::<Vec<_>>()
        };
        for (at, page) in esker_io::run(&*self.world.cpu, decode).await {
            let page = match page {
                Ok(page) => page,
                // Bytes may be damaged on the way as well as in the store: this asks again, and says what is wrong.
                Err(_) => self.get_page(&wanted[at]).await?,
            };
            pages.push((at, page));
        }
        Ok(pages)
    }
}

fn end(reference: &PageRef) -> u64 {
    reference.offset.saturating_add(u64::from(reference.bytes))
}

/// The numbers of the references, grouped into stretches that one GET brings.
fn groups(wanted: &[Wanted]) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by_key(|at| (wanted[*at].0.pack, wanted[*at].0.offset));
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let (mut first, mut reached) = (0, 0);
    for at in order {
        let reference = &wanted[at].0;
        let joins = groups.last().is_some_and(|group| wanted[group[0]].0.pack == reference.pack)
            && reference.offset <= reached + GET_GAP_BYTES_MAX
            && end(reference).saturating_sub(first) <= GET_BYTES_MAX;
        match groups.last_mut().filter(|_| joins) {
            Some(group) => {
                group.push(at);
                reached = reached.max(end(reference));
            }
            None => {
                groups.push(vec![at]);
                (first, reached) = (reference.offset, end(reference));
            }
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use esker_format::ids::{Hash, PackId};

    use super::*;

    fn wanted(pack: u8, offset: u64, bytes: u32) -> Wanted {
        (PageRef { pack: PackId([pack; 16]), offset, bytes, hash: Hash([0; 32]) }, 0, 0)
    }

    #[test]
    fn neighbours_come_together() {
        let far = GET_GAP_BYTES_MAX + 101;
        let all = [wanted(1, 100, 50), wanted(2, 0, 10), wanted(1, 0, 100), wanted(1, far + 50, 5)];
        assert_eq!(groups(&all), [vec![2, 0], vec![3], vec![1]]);
        let long: Vec<_> = (0..100).map(|page| wanted(1, page * 20_000, 20_000)).collect();
        assert_eq!(groups(&long).iter().map(Vec::len).collect::<Vec<_>>(), [52, 48]);
        assert!(groups(&[]).is_empty());
    }
}
