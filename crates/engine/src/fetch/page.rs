//! Pages of the stored map.

use esker_format::{
    names,
    page::{PAGE_BYTES_MAX, Page, PageRef, decode_page},
};
use esker_io::{BoxFuture, Range, sync::Arc};

use super::{Fetcher, damaged, damaged_by, flight::Role};
use crate::{Result, cache::Footprint, checkpoint::PageSource};

/// A page as one reference names it: two references to one place may disagree on the rest.
pub(super) type PageKey = (PageRef, u8, u64);

/// A verified page.
#[derive(Clone)]
pub(super) struct CachedPage(Arc<Page>);

impl Footprint for CachedPage {
    fn footprint_bytes(&self) -> usize {
        size_of::<PageKey>()
            + match &*self.0 {
                Page::Leaf(runs) => size_of_val::<[_]>(runs),
                Page::Inner(children) => size_of_val::<[_]>(children),
            }
    }
}

impl PageSource for Fetcher {
    fn page<'a>(&'a self, reference: &'a PageRef, level: u8, index: u64) -> BoxFuture<'a, Result<Arc<Page>>> {
        Box::pin(self.read_page((*reference, level, index), level > 0))
    }

    fn made(&self, reference: PageRef, level: u8, index: u64, page: Page) {
        self.keep_made_page(&reference, level, index, &page);
        self.pages.insert((reference, level, index), CachedPage(Arc::new(page)));
    }
}

impl Fetcher {
    /// `along` says whether what lies before it comes too.
    pub(super) async fn read_page(&self, key: PageKey, along: bool) -> Result<Arc<Page>> {
        loop {
            let role = self.page_flights.join(&key, || self.pages.get(&key));
            let answer = match role {
                Role::Ready(page) => Ok(page),
                Role::Lead(lead) => {
                    let answer = self.get_page_with(&key, along).await.map(|page| CachedPage(Arc::new(page)));
                    if let Ok(page) = &answer {
                        self.pages.insert(key, page.clone());
                    }
                    lead.finish(&answer);
                    answer
                }
                // A closed channel: the one who fetched it has gone, so try again.
                Role::Wait(receiver) => match receiver.await {
                    Ok(answer) => answer,
                    Err(_) => continue,
                },
            };
            return answer.map(|page| page.0);
        }
    }

    /// Reads a page; with an inner one what lies before it comes along.
    pub(super) async fn get_page(&self, key: &PageKey) -> Result<Page> {
        self.get_page_with(key, key.1 > 0).await
    }

    async fn get_page_with(&self, (reference, level, index): &PageKey, along: bool) -> Result<Page> {
        if let Some(page) = self.page_got_along(reference, *level, *index) {
            return Ok(page);
        }
        let name = names::pack(reference.pack);
        let (start, bytes) = (reference.offset, reference.bytes);
        let place = format!("{name} at bytes {start} to {}", start.saturating_add(u64::from(bytes)));
        if bytes as usize > PAGE_BYTES_MAX {
            return Err(damaged(
                &place,
                format!("a page has at most {PAGE_BYTES_MAX} bytes, its parent says {bytes}"),
            ));
        }
        let Some(end) = start.checked_add(u64::from(bytes)) else {
            return Err(damaged(&place, "the place is beyond the end of any object"));
        };
        if let Some(page) = self.kept_page(reference, *level, *index).await {
            return Ok(page);
        }
        let _permit = self.gets.acquire().await;
        let got = match along {
            true => self.get_with_before(&name, reference, end).await?,
            false => self.get(&name, Range::Bytes { start, end }).await?,
        };
        if let Ok(page) = decode_page(reference, &got, *level, *index) {
            self.keep_page(reference, &got);
            return Ok(page);
        }
        // A second time: bytes may be damaged on the way as well as in the store.
        let got = self.get(&name, Range::Bytes { start, end }).await?;
        decode_page(reference, &got, *level, *index).map_err(|error| damaged_by(&place, &error))
    }
}
