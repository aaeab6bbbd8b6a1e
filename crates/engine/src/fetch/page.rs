//! Pages of the stored map.

use esker_format::{
    names,
    page::{PAGE_BYTES_MAX, Page, PageRef, decode_page},
};
use esker_io::{BoxFuture, Range};

use super::{Fetcher, damaged, damaged_by};
use crate::{Result, checkpoint::PageSource};

impl PageSource for Fetcher {
    fn page<'a>(&'a self, reference: &'a PageRef, level: u8, index: u64) -> BoxFuture<'a, Result<Page>> {
        Box::pin(self.read_page(reference, level, index))
    }
}

impl Fetcher {
    async fn read_page(&self, reference: &PageRef, level: u8, index: u64) -> Result<Page> {
        let name = names::pack(reference.pack);
        let key = (reference.pack, reference.offset);
        if let Some(bytes) = self.pages.get(&key) {
            // Two references to one place may disagree on the rest: the hash decides.
            if let Ok(page) = decode_page(reference, &bytes, level, index) {
                return Ok(page);
            }
        }
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
        let _permit = self.gets.acquire().await;
        let got = self.get(&name, Range::Bytes { start, end }).await?;
        let (got, page) = match decode_page(reference, &got, level, index) {
            Ok(page) => (got, page),
            Err(_) => {
                // A second time: bytes may be damaged on the way as well as in the store.
                let got = self.get(&name, Range::Bytes { start, end }).await?;
                let page = decode_page(reference, &got, level, index);
                let page = page.map_err(|error| damaged_by(&place, &error))?;
                (got, page)
            }
        };
        self.pages.insert(key, got);
        Ok(page)
    }
}
