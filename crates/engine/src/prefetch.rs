//! Inner pages of a volume that was just opened, fetched before somebody needs them.
//!
//! An opening reads the top page. What lies below it in old packs costs a first read one request a level, one after the
//! other. So once a volume is open, its inner pages are brought into the memory for pages, a level at a time, beside
//! whatever its guests do:
//! 1. Never more than 128 pages and 8 MiB. Small volumes have no such pages: then there is no request at all.
//! 2. They are fetched with the permits of reading ahead, so they stand in no guest's way; who needs a page that is under
//!    way waits for that one GET.
//! 3. Leaves come on demand, as ever. What fails here is fetched again by whoever needs it, and he is told.

use std::sync::Arc;

use esker_format::page::{Child, Page, PageRef};
use futures_util::{StreamExt, stream};

use crate::{
    Result,
    checkpoint::top,
    core::fold::Place,
    fetch::Fetcher,
    pool::Pool,
    volume::{Volume, blocks_of},
};

/// The most pages below the top.
const PAGES_MAX: usize = 128;
/// The most bytes that they have in the store.
const BYTES_MAX: u64 = 8 << 20;
/// How many are fetched at a time.
const PAGES_IN_FLIGHT: usize = 8;

/// Fetches the inner pages of a volume; none if it has none but the top.
pub(crate) fn inner_pages(volume: &Volume) -> Option<impl Future<Output = ()> + Send + 'static> {
    let stored = volume.stored_map();
    let (root, top) = (stored.root?, top(blocks_of(stored.size_bytes)));
    if top.level <= 1 {
        // Below it there are leaves.
        return None;
    }
    let (pool, name) = (volume.pool.clone(), volume.name().to_owned());
    Some(async move {
        if let Err(error) = fetch(&pool, root, top).await {
            tracing::debug!(volume = %name, %error, "inner pages are not fetched ahead");
        }
    })
}

async fn fetch(pool: &Arc<Pool>, root: PageRef, top: Place) -> Result<()> {
    let (mut pages, mut bytes) = (0, 0);
    let mut level = vec![(top, root)];
    while level[0].0.level > 1 {
        let reads = level.into_iter().map(|(place, reference)| page(pool.fetcher(), place, reference));
        let mut reads = stream::iter(reads).buffered(PAGES_IN_FLIGHT);
        let mut next = Vec::new();
        while let Some(children) = reads.next().await {
            for (place, reference) in children? {
                pages += 1;
                bytes += u64::from(reference.bytes);
                if pages <= PAGES_MAX && bytes <= BYTES_MAX {
                    next.push((place, reference));
                }
            }
        }
        drop(reads);
        level = next;
        if level.is_empty() {
            return Ok(());
        }
    }
    // What these name are leaves.
    let reads = level.into_iter().map(|(place, reference)| page(pool.fetcher(), place, reference));
    let mut reads = stream::iter(reads).buffer_unordered(PAGES_IN_FLIGHT);
    while let Some(read) = reads.next().await {
        read?;
    }
    Ok(())
}

/// The children of a page that have pages themselves.
async fn page(fetcher: &Fetcher, place: Place, reference: PageRef) -> Result<Vec<(Place, PageRef)>> {
    let page = fetcher.page_ahead(&reference, place.level, place.index).await?;
    let Page::Inner(children) = &*page else { return Ok(Vec::new()) };
    let with_page = |(child, what): &(u16, Child)| match what {
        Child::Page(reference) => Some((place.child(*child), *reference)),
        Child::Zero => None,
    };
    Ok(children.iter().filter_map(with_page).collect())
}
