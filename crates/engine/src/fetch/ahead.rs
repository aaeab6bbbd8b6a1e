//! Frames that nobody waits for yet.

use std::sync::Arc;

use bytes::Bytes;
use esker_format::page::{Page, PageRef};
use futures_util::{StreamExt, stream};

use super::{
    Fetcher, GETS_AHEAD_PER_RANGE,
    flight::Role,
    plan::{self, Part, Window, windows},
    tally::{Tally, Totals},
};
use crate::{Result, core::ahead::WINDOW_MAX};

/// Windows read ahead take at most this part of the memory for frames.
const MEMORY_PART: u64 = 16;

impl Fetcher {
    /// The most blocks of one window.
    pub(crate) fn ahead_blocks_max(&self) -> u64 {
        let bytes = self.cache_bytes / MEMORY_PART;
        (bytes / esker_format::BLOCK_BYTES as u64).min(WINDOW_MAX)
    }

    /// What was read ahead of all volumes.
    pub(crate) fn ahead_totals(&self) -> &Arc<Totals> {
        &self.ahead_totals
    }

    /// Brings the frames of these parts into memory that are neither there nor on the disk.
    pub(crate) async fn read_ahead(&self, parts: &[Part], tally: &Arc<Tally>) -> Result<()> {
        let indexes = self.indexes_of(parts).await?;
        let wanted = plan::wanted(parts, &indexes)?;
        let far = wanted
            .into_iter()
            .filter(|(key, wanted)| !self.frames.holds(key) && !self.is_on_disk(key.0, &wanted.frame));
        let windows = windows(far.map(|(key, wanted)| (key.0, wanted.frame, ())));
        let gets: Vec<_> = windows.into_iter().map(|window| self.get_ahead(window, tally)).collect();
        stream::iter(gets).buffer_unordered(GETS_AHEAD_PER_RANGE).collect::<()>().await;
        Ok(())
    }

    /// An inner page that nobody waits for yet. With the lowest ones nothing comes along: it would be a leaf or two that
    /// somebody wants, among many.
    pub(crate) async fn page_ahead(&self, reference: &PageRef, level: u8, index: u64) -> Result<Arc<Page>> {
        let _permit = self.gets_ahead.acquire().await;
        self.read_page((*reference, level, index), level > 1).await
    }

    async fn get_ahead(&self, window: Window<()>, tally: &Arc<Tally>) {
        // First the permit: a guest that wants one of these frames meanwhile gets it by itself.
        let _permit = self.gets_ahead.acquire().await;
        let source = window.source;
        let leads = window.frames.into_iter().filter_map(|(frame, ())| {
            let key = (source, frame.first_place);
            match self.frame_flights.join(&key, || self.frames.holds(&key).then(Bytes::new)) {
                Role::Lead(lead) => Some((source, frame, lead)),
                Role::Ready(_) | Role::Wait(_) => None,
            }
        });
        for window in windows(leads.collect::<Vec<_>>()) {
            // Whoever needs a frame that fails asks for it again, and is told.
            let _ = self.get_window(window, Some(tally)).await;
        }
    }
}
