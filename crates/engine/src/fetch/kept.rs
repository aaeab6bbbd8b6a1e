//! The disk cache below the memory: what is there is verified like the bytes of a GET, and if it is not right it is
//! a miss. What a GET brings is offered to it, and what this host writes to the store.

use std::collections::BTreeMap;

use bytes::Bytes;
use esker_format::{
    Codec,
    cache::CacheKey,
    codec,
    error::FormatError,
    ids::{Hash, SegmentId},
    page::{Page, PageRef, decode_page, encode_page},
    segment::{Frame, SegmentIndex, TRAILER_BYTES, Trailer, open_frame},
};
use esker_io::{Bug, planted};
use futures_util::{StreamExt, stream};

use super::{
    Fetcher, GETS_PER_READ,
    frames::{FrameLead, fill_in},
    index::Opened,
    plan::{FrameKey, Wanted},
};
use crate::cache::{DiskCache, Found};

/// Frames that one job reads and decodes; a large read has several side by side.
const FRAMES_PER_JOB: usize = 8;

/// A frame to be fetched, by its segment.
type Lead<'a> = (SegmentId, Frame, FrameLead<'a>);

impl Fetcher {
    /// Adds a disk cache of at most `bytes`.
    pub(crate) async fn with_disk_cache(mut self, bytes: u64) -> Self {
        let frames = self.frames.clone();
        let in_memory = move |key: CacheKey| {
            key.as_frame().is_some_and(|(segment, slot)| frames.holds(&(segment, u32::from(slot))))
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
            match disk.find(frame_key(lead.0, &lead.1)) {
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
            for ((segment, frame, lead), bytes) in frames {
                let Some(bytes) = bytes else {
                    rest.push((segment, frame, lead));
                    continue;
                };
                let key = *lead.key();
                let wanted = missing.remove(&key).expect("what is read is missing");
                fill_in(&bytes, &wanted, buffer);
                self.frames.insert(key, bytes.clone().into());
                lead.finish(&Ok(bytes));
            }
        }
        rest.sort_by_key(|(segment, frame, _)| (*segment, frame.first_slot));
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
    pub(super) fn is_on_disk(&self, segment: SegmentId, frame: &Frame) -> bool {
        self.disk.as_ref().is_some_and(|disk| disk.holds(frame_key(segment, frame)))
    }

    /// A segment's index from the disk.
    pub(super) async fn kept_index(&self, id: SegmentId) -> Option<Opened> {
        let disk = self.disk.clone()?;
        let (found, pool) = (disk.find(CacheKey::index(id))?, self.pool);
        let open = move |bytes: &Bytes| {
            let trailer = Trailer::parse(bytes)?.verify(pool, id, None)?;
            let index = &bytes[..bytes.len() - TRAILER_BYTES];
            let opened = SegmentIndex::parse(index, &trailer)?;
            Ok(Opened::new(opened, trailer.object_bytes, trailer.index_hash))
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
    pub(super) fn keep_frame(&self, segment: SegmentId, frame: &Frame, start: u64, bytes: &Bytes) {
        if let Some(disk) = &self.disk {
            let stored = &bytes[(frame.offset - start) as usize..(frame.end() - start) as usize];
            disk.offer(frame_key(segment, frame), stored);
        }
    }

    pub(super) fn keep_index(&self, id: SegmentId, index: &[u8], trailer: &[u8]) {
        if let Some(disk) = &self.disk {
            disk.offer(CacheKey::index(id), &[index, trailer].concat());
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
        let opened = Opened::new(index.clone(), object.len() as u64, index_hash);
        self.indexes.insert(index.id, opened);
        let Some(disk) = &self.disk else { return };
        let end_of_frames = index.frames.last().map_or(0, |frame| frame.end() as usize);
        let frames = index.frames.iter().map(|frame| {
            (frame_key(index.id, frame), object.slice(frame.offset as usize..frame.end() as usize))
        });
        let whole_index =
            (end_of_frames > 0).then(|| (CacheKey::index(index.id), object.slice(end_of_frames..)));
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

fn frame_key(segment: SegmentId, frame: &Frame) -> CacheKey {
    CacheKey::frame(segment, u16::try_from(frame.first_slot).expect("a segment has at most 65,536 slots"))
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
