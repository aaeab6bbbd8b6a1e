//! Blocks for somebody who looks at each once: verified like any other, and none is cached.

use futures_util::{StreamExt, stream};

use super::{
    Fetcher, GETS_AHEAD_PER_RANGE,
    frames::fill_in,
    plan::{self, Part, Wanted, Window, windows},
};
use crate::Result;

impl Fetcher {
    /// Fills in all parts. Takes its turn behind guests, with those who read ahead.
    pub(crate) async fn copy(&self, parts: &[Part], buffer: &mut [u8]) -> Result<()> {
        super::check_parts(parts, buffer);
        let indexes = self.indexes_of(parts).await?;
        let wanted = plan::wanted(parts, &indexes)?;
        let frames = wanted.into_iter().map(|(key, wanted)| (key.0, wanted.frame.clone(), wanted));
        let gets: Vec<_> = windows(frames).into_iter().map(|window| self.copy_window(window)).collect();
        let mut gets = stream::iter(gets).buffer_unordered(GETS_AHEAD_PER_RANGE);
        while let Some(opened) = gets.next().await {
            for (wanted, bytes) in opened? {
                fill_in(&bytes, &wanted, buffer);
            }
        }
        Ok(())
    }

    async fn copy_window(&self, window: Window<Wanted>) -> Result<Vec<(Wanted, bytes::Bytes)>> {
        let Window { source, start, end, frames } = window;
        let _ahead = self.gets_ahead.acquire().await;
        let _permit = self.gets.acquire().await;
        let bytes = self.get_part(&source.name(), source.range(start, end)).await?;
        let (frames, wanted): (Vec<_>, Vec<_>) = frames.into_iter().unzip();
        let opened = self.open(frames.clone(), start, bytes).await;
        let mut copied = Vec::with_capacity(wanted.len());
        for ((frame, wanted), opened) in frames.into_iter().zip(wanted).zip(opened) {
            let bytes = match opened {
                Ok(bytes) => bytes,
                Err(_) => self.again(source, frame).await?,
            };
            copied.push((wanted, bytes));
        }
        Ok(copied)
    }
}
