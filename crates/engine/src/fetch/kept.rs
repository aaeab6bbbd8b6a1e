//! The disk cache below the memory: what is there is verified like the bytes of a GET, and if it is not right it is
//! a miss. What a GET brings is offered to it, and what this host writes to the store.

use std::collections::BTreeMap;

use bytes::Bytes;
use esker_format::{
    Codec, TableEntry,
    cache::CacheKey,
    codec,
    error::FormatError,
    ids::Hash,
    page::{Page, PageRef, decode_page, encode_page},
    segment::{Frame, SegmentIndex, TRAILER_BYTES, Trailer, open_frame},
};
use esker_io::{Bug, planted};
use futures_util::{StreamExt, stream};

use super::{
    Fetcher, GETS_PER_READ,
    frames::{FrameLead, fill_in},
    index::{Opened, fits},
    plan::{FrameKey, Wanted},
    source::Source,
};
use crate::cache::{DiskCache, Found};

/// Frames that one job reads and decodes; a large read has several side by side.
const FRAMES_PER_JOB: usize = 8;

/// A frame to be fetched, by where it is.
type Lead<'a> = (Source, Frame, FrameLead<'a>);

impl Fetcher {
    /// Adds a disk cache of at most `bytes`.
    pub(crate) async fn with_disk_cache(mut self, bytes: u64) -> Self {
        let frames = self.frames.clone();
        let in_memory = move |key: CacheKey| {
            let key = key.as_frame().map(|(segment, slot)| (Source::sealed(segment), u32::from(slot)));
            key.is_some_and(|key| frames.holds(&key))
        };
        self.disk = DiskCache::open(self.world.clone(), self.pool, bytes, Box::new(in_memory)).await;
        self
    }

    /// Writes to the disk cache what waits for it, so that the next run finds it; nothing is kept there after that.
    pub async fn close_disk_cache(&self) {
        if let Some(disk) = &self.disk {
            disk.close().await;
        }
    }

    /// Fills in what the disk holds and takes it out of `missing`; returns what it does not hold, in order.
    pub(super) async fn read_disk<'a>(
        &self,
        leads: Vec<Lead<'a>>,
        missing: &mut BTreeMap<FrameKey, Wanted>,
        buffer: &mut [u8],
    ) -> Vec<Lead<'a>> {
        let Some(disk) = &self.disk else { return leads };
        let (mut here, mut rest) = (Vec::new(), Vec::new());
        for lead in leads {
            match disk.find(lead.0.frame_key(lead.1.first_place)) {
                Some(found) => here.push((lead, found)),
                None => rest.push(lead),
            }
        }
        let mut jobs = Vec::new();
        while !here.is_empty() {
            let behind = here.split_off(here.len().min(FRAMES_PER_JOB));
            jobs.push(self.read_kept(disk, std::mem::replace(&mut here, behind)));
        }
        let mut jobs = stream::iter(jobs).buffer_unordered(GETS_PER_READ);
        while let Some(frames) = jobs.next().await {
            for ((source, frame, lead), bytes) in frames {
                let Some(bytes) = bytes else {
                    rest.push((source, frame, lead));
                    continue;
                };
                let key = *lead.key();
                let wanted = missing.remove(&key).expect("what is read is missing");
                fill_in(&bytes, &wanted, buffer);
                self.frames.insert(key, bytes.clone().into());
                lead.finish(&Ok(bytes));
            }
        }
        rest.sort_by_key(|(source, frame, _)| (*source, frame.first_place));
        rest
    }

    async fn read_kept<'a>(
        &self,
        disk: &std::sync::Arc<DiskCache>,
        frames: Vec<(Lead<'a>, Found)>,
    ) -> Vec<(Lead<'a>, Option<Bytes>)> {
        let (leads, places): (Vec<_>, Vec<_>) = frames
            .into_iter()
            .map(|(lead, found)| ((lead.1.clone(), found), lead))
            .map(|(a, b)| (b, a))
            .unzip();
        let disk = disk.clone();
        let read = move || {
            let open =
                |(frame, found): &(Frame, Found)| disk.verified(found, |bytes| open_kept(frame, bytes));
            places.iter().map(open).collect::<Vec<_>>()
        };
        let opened = esker_io::run_first(&*self.world.cpu, read).await;
        leads.into_iter().zip(opened).collect()
    }

    /// Whether a frame is on the disk.
    pub(super) fn is_on_disk(&self, source: Source, frame: &Frame) -> bool {
        self.disk.as_ref().is_some_and(|disk| disk.holds(source.frame_key(frame.first_place)))
    }

    /// A segment's index from the disk.
    pub(super) async fn kept_index(&self, source: Source, entry: Option<TableEntry>) -> Option<Opened> {
        let disk = self.disk.clone()?;
        let (found, pool) = (disk.find(source.index_key())?, self.pool);
        let open = move |bytes: &Bytes| {
            let size = entry.map(|entry| entry.bytes);
            let trailer = fits(Trailer::parse(bytes)?.verify(pool, source.segment, size)?, entry)?;
            let index = &bytes[..bytes.len() - TRAILER_BYTES];
            let opened = SegmentIndex::parse(index, &trailer)?;
            Ok(Opened::new(source, opened, trailer.object_bytes, trailer.index_hash))
        };
        esker_io::run_first(&*self.world.cpu, move || disk.verified(&found, open)).await
    }

    /// A page from the disk.
    pub(super) async fn kept_page(&self, reference: &PageRef, level: u8, index: u64) -> Option<Page> {
        let disk = self.disk.clone()?;
        let (found, reference) = (disk.find(CacheKey::page(reference))?, *reference);
        let open = move |bytes: &Bytes| decode_page(&reference, bytes, level, index);
        esker_io::run_first(&*self.world.cpu, move || disk.verified(&found, open)).await
    }

    /// Offers a frame out of an object's bytes from `start` on.
    pub(super) fn keep_frame(&self, source: Source, frame: &Frame, start: u64, bytes: &Bytes) {
        if let Some(disk) = &self.disk {
            let stored = &bytes[(frame.offset - start) as usize..(frame.end() - start) as usize];
            disk.offer(source.frame_key(frame.first_place), stored);
        }
    }

    pub(super) fn keep_index(&self, source: Source, index: &[u8], trailer: &[u8]) {
        if let Some(disk) = &self.disk {
            disk.offer(source.index_key(), &[index, trailer].concat());
        }
    }

    pub(super) fn keep_page(&self, reference: &PageRef, bytes: &[u8]) {
        if let Some(disk) = &self.disk {
            disk.offer(CacheKey::page(reference), bytes);
        }
    }

    /// Offers a page that a checkpoint made, as its pack has it.
    pub(super) fn keep_made_page(&self, reference: &PageRef, level: u8, index: u64, page: &Page) {
        if self.disk.is_some() {
            self.keep_page(reference, &encode_page(level, index, page));
        }
    }

    /// Keeps a segment that this host has sealed: a read of it soon after its commit needs no GET. Waits for the disk; no
    /// guest waits for this.
    pub(crate) async fn keep_segment(&self, index: &SegmentIndex, index_hash: Hash, object: &Bytes) {
        let source = Source::sealed(index.id);
        let opened = Opened::new(source, index.clone(), object.len() as u64, index_hash);
        self.indexes.insert(index.id, opened);
        let Some(disk) = &self.disk else { return };
        let end_of_frames = index.frames.last().map_or(0, |frame| frame.end() as usize);
        let frames = index.frames.iter().map(|frame| {
            (source.frame_key(frame.first_place), object.slice(frame.offset as usize..frame.end() as usize))
        });
        let whole_index = (end_of_frames > 0).then(|| (source.index_key(), object.slice(end_of_frames..)));
        disk.offer_all(whole_index.into_iter().chain(frames)).await;
    }
}

impl DiskCache {
    /// Reads an entry and proves it. Blocks for as long as the disk takes.
    fn verified<T>(&self, found: &Found, open: impl FnOnce(&Bytes) -> Result<T, FormatError>) -> Option<T> {
        let bytes = self.read(found)?;
        match open(&bytes) {
            Ok(opened) => {
                self.hit();
                Some(opened)
            }
            Err(_) => {
                self.refuse(found);
                None
            }
        }
    }
}

fn open_kept(frame: &Frame, stored: &Bytes) -> Result<Bytes, FormatError> {
    if planted(Bug::CacheUnchecked) || planted(Bug::CachePoolIgnored) {
        return believed(frame.codec, stored, frame.raw_bytes());
    }
    open_frame(frame, stored).map(Bytes::from)
}

/// What is planted: nothing is compared.
fn believed(codec: Codec, stored: &[u8], raw_bytes: usize) -> Result<Bytes, FormatError> {
    codec::decompress(codec, stored, raw_bytes).map(Bytes::from)
}
