//! Frames: from the cache, from somebody else's GET, or from one of our own.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use esker_format::{
    error::FormatError,
    segment::{Frame, open_frame},
};
use futures_util::{StreamExt, stream};

use super::{
    Cached, Fetcher, GETS_PER_READ, damaged_by,
    flight::{Lead, Role},
    plan::{FrameKey, Wanted, Window, windows},
    source::Source,
    tally::Tally,
};
use crate::{EngineError, Result};

pub(super) type FrameLead<'a> = Lead<'a, FrameKey, Bytes>;

impl Fetcher {
    /// Fills in what is cached or can be fetched and takes it out of `missing`. What stays there was being fetched by
    /// somebody who went away, or in the first round by somebody whose patience with the store began earlier.
    pub(super) async fn round(
        &self,
        missing: &mut BTreeMap<FrameKey, Wanted>,
        buffer: &mut [u8],
        first: bool,
    ) -> Result<()> {
        let (mut leads, mut waits) = (Vec::new(), Vec::new());
        let before = missing.len();
        missing.retain(|key, wanted| {
            match self.frame_flights.join(key, || self.in_memory(key)) {
                Role::Ready(bytes) => {
                    fill_in(&bytes, wanted, buffer);
                    return false;
                }
                Role::Lead(lead) => leads.push((key.0, wanted.frame.clone(), lead)),
                Role::Wait(receiver) => waits.push((*key, receiver)),
            }
            true
        });
        self.hits.add((before - missing.len()) as u64);
        self.misses.add(missing.len() as u64);
        let leads = self.read_disk(leads, missing, buffer).await;
        // First our own GETs, to their end, and only then others': two reads never wait for each other.
        let gets: Vec<_> = windows(leads).into_iter().map(|window| self.get_window(window, None)).collect();
        let mut gets = stream::iter(gets).buffer_unordered(GETS_PER_READ);
        let mut outcome = Ok(());
        while let Some(frames) = gets.next().await {
            for (key, answer) in frames {
                match answer {
                    Ok(bytes) => {
                        let wanted = missing.remove(&key).expect("what is fetched is missing");
                        fill_in(&bytes, &wanted, buffer);
                    }
                    Err(error) => outcome = Err(error),
                }
            }
        }
        outcome?;
        for (key, receiver) in waits {
            // A closed channel: the one who fetched it has gone, the next round tries again.
            if let Ok(answer) = receiver.await {
                if first && matches!(answer, Err(EngineError::Store(_))) {
                    continue;
                }
                // It may have been read ahead: now it is used.
                let _ = self.in_memory(&key);
                let wanted = missing.remove(&key).expect("what is waited for is missing");
                fill_in(&answer?, &wanted, buffer);
            }
        }
        Ok(())
    }

    /// A frame in memory, for a read.
    fn in_memory(&self, key: &FrameKey) -> Option<Bytes> {
        self.frames.get(key).map(|cached| cached.bytes().clone())
    }

    /// One GET. Each frame has its own answer: a bad one does not spoil its neighbours for others.
    /// `ahead` counts frames that nobody waits for yet.
    pub(super) async fn get_window(
        &self,
        window: Window<FrameLead<'_>>,
        ahead: Option<&Arc<Tally>>,
    ) -> Vec<(FrameKey, Result<Bytes>)> {
        let Window { source, start, end, frames } = window;
        let name = source.name();
        let _permit = self.gets.acquire().await;
        let (wanted, leads): (Vec<_>, Vec<_>) = frames.into_iter().unzip();
        let mut got = Bytes::new();
        let opened = match self.get_part(&name, source.range(start, end)).await {
            Ok(bytes) => {
                got = bytes.clone();
                self.open(wanted.clone(), start, bytes).await.into_iter().map(Ok).collect()
            }
            Err(error) => vec![Err(error); wanted.len()],
        };
        #[cfg(feature = "planted")]
        let opened = misplaced(opened, ahead.is_some());
        let mut answers = Vec::with_capacity(leads.len());
        for ((lead, frame), opened) in leads.into_iter().zip(wanted).zip(opened) {
            let answer = match opened {
                Ok(Ok(bytes)) => {
                    self.keep_frame(source, &frame, start, &got);
                    Ok(bytes)
                }
                Ok(Err(_)) => self.again(source, frame).await,
                Err(error) => Err(error),
            };
            if let Ok(bytes) = &answer {
                let ahead = ahead.map(|tally| Arc::new(tally.promise()));
                self.frames.insert(*lead.key(), Cached { bytes: bytes.clone(), ahead });
            }
            let key = *lead.key();
            lead.finish(&answer);
            answers.push((key, answer));
        }
        answers
    }

    /// Gets one frame a second time: bytes may be damaged on the way as well as in the store.
    pub(super) async fn again(&self, source: Source, frame: Frame) -> Result<Bytes> {
        let name = source.name();
        let (start, end) = (frame.offset, frame.end());
        let bytes = self.get_part(&name, source.range(start, end)).await?;
        let opened = self.open(vec![frame], start, bytes).await.remove(0);
        opened.map_err(|error| damaged_by(&format!("{name} at bytes {start} to {end}"), &error))
    }

    /// Verifies and decompresses frames from bytes that begin at `start` of the object.
    pub(super) async fn open(
        &self,
        frames: Vec<Frame>,
        start: u64,
        bytes: Bytes,
    ) -> Vec<std::result::Result<Bytes, FormatError>> {
        esker_io::run_first(&*self.world.cpu, move || {
            let open = |frame: &Frame| {
                let stored = &bytes[(frame.offset - start) as usize..(frame.end() - start) as usize];
                open_frame(frame, stored).map(Bytes::from)
            };
            frames.iter().map(open).collect()
        })
        .await
    }
}

/// What was read ahead, each in its neighbour's place.
#[cfg(feature = "planted")]
fn misplaced<T>(mut opened: Vec<T>, ahead: bool) -> Vec<T> {
    if ahead && esker_io::planted(esker_io::Bug::AheadMisplaced) {
        opened.rotate_left(1);
    }
    opened
}

pub(super) fn fill_in(frame: &[u8], wanted: &Wanted, buffer: &mut [u8]) {
    assert_eq!(frame.len(), wanted.frame.raw_bytes(), "a decoded frame has the length that its index states");
    wanted.pieces.iter().for_each(|piece| piece.copy(frame, buffer));
}
