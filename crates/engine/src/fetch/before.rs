//! What lies before an inner page in its pack, got along with it.
//!
//! A checkpoint writes the pages below an inner page before that page, so of what was written last they lie right
//! before it: a reader that comes from above has the page that he wants next without a further round trip. A page that
//! is found here is decoded and checked by its reference like any other; one that is not there, or is not whole, is
//! got as if nothing had been kept.

use bytes::Bytes;
use esker_format::{
    ids::PackId,
    page::{PACK_PAGES_AT, Page, PageRef, decode_page},
};
use esker_io::Range;

use super::Fetcher;
use crate::{Result, cache::Footprint};

/// The most bytes before a page that are got along.
pub(super) const BYTES_MAX: u64 = 128 << 10;
/// The memory for them.
pub(super) const CACHE_BYTES: usize = 8 << 20;

/// Bytes of a pack.
#[derive(Clone)]
pub(super) struct Stretch {
    start: u64,
    bytes: Bytes,
}

impl Footprint for Stretch {
    fn footprint_bytes(&self) -> usize {
        size_of::<PackId>() + size_of::<Self>() + self.bytes.len()
    }
}

impl Stretch {
    fn slice(&self, reference: &PageRef) -> Option<&[u8]> {
        let start = usize::try_from(reference.offset.checked_sub(self.start)?).ok()?;
        self.bytes.get(start..start.checked_add(reference.bytes as usize)?)
    }
}

impl Fetcher {
    /// A page that came along with another one.
    pub(super) fn page_got_along(&self, reference: &PageRef, level: u8, index: u64) -> Option<Page> {
        let stretch = self.before.get(&reference.pack)?;
        decode_page(reference, stretch.slice(reference)?, level, index).ok()
    }

    /// Gets the bytes of an inner page with what lies before it.
    pub(super) async fn get_with_before(&self, name: &str, reference: &PageRef, end: u64) -> Result<Bytes> {
        let start = reference.offset;
        let from = start.saturating_sub(BYTES_MAX).max(PACK_PAGES_AT).min(start);
        let bytes = self.get(name, Range::Bytes { start: from, end }).await?;
        let page = bytes.slice((start - from) as usize..);
        if from < start {
            let bytes = bytes.slice(..(start - from) as usize);
            self.before.insert(reference.pack, Stretch { start: from, bytes });
        }
        Ok(page)
    }
}
