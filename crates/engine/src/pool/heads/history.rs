//! The heads of a volume as what they are to people: states that one can go back to.

use esker_format::{
    head::{Head, HeadKind},
    ids::VolumeId,
};
use futures_util::{StreamExt, stream};

use super::{Read, judge};
use crate::{EngineError, Result, pool::Pool};

/// Heads that are read at once; each may carry a piece.
const HEADS_AT_ONCE: usize = 8;

/// A state of a volume's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// The head's number.
    pub number: u64,
    /// Why it was written.
    pub kind: HeadKind,
    /// The epoch of its writer.
    pub epoch: u64,
    /// The last sequence that it holds.
    pub sequence: u64,
    /// The volume's size then.
    pub size_bytes: u64,
    /// When it was written, in milliseconds since 1970, by its writer's clock.
    pub written_ms: u64,
    /// Whether one can go back to it: all the pieces that it names are there.
    pub whole: bool,
}

impl Pool {
    /// The heads of a volume that are there, oldest first, without strays: the last one is its state. One LIST, and a GET
    /// for each.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] when there is none.
    pub async fn history(&self, volume: VolumeId) -> Result<Vec<Point>> {
        let numbers = self.head_numbers(volume).await?;
        let gets =
            numbers.iter().map(|number| async move { (*number, self.read_head(volume, *number).await) });
        let mut gets = stream::iter(gets.collect::<Vec<_>>()).buffered(HEADS_AT_ONCE);
        let mut heads: Vec<Read> = Vec::new();
        while let Some((number, read)) = gets.next().await {
            match read {
                Ok(Some(mut read)) => {
                    // It is in the hash, and nobody asks for it here.
                    read.head.piece = Vec::new();
                    heads.push(read);
                }
                // It was thinned just now.
                Ok(None) => {}
                Err(error @ EngineError::Store(_)) => return Err(error),
                Err(error) => tracing::warn!(%volume, number, %error, "a head of the history cannot be read"),
            }
        }
        let Some((_, strays)) = judge(&heads) else {
            return Err(EngineError::NotFound(format!("volume {volume}")));
        };
        heads.retain(|read| !strays.contains(&read.head.number));
        let carriers: Vec<u64> = heads.iter().map(|read| read.head.number).collect();
        let born = heads.iter().filter(|read| read.head.kind != HeadKind::Unborn);
        Ok(born.map(|read| Point::of(&read.head, &carriers)).collect())
    }
}

impl Point {
    fn of(head: &Head, there: &[u64]) -> Point {
        Point {
            number: head.number,
            kind: head.kind,
            epoch: head.epoch,
            sequence: head.sequence,
            size_bytes: head.size_bytes,
            written_ms: head.written_ms,
            whole: head.pieces.iter().all(|piece| there.binary_search(&piece.head).is_ok()),
        }
    }
}

/// The state that a volume had at a time, as far as one can go back to it: the last one that was there.
pub fn state_at(points: &[Point], time_ms: u64) -> Option<&Point> {
    points.iter().rev().find(|point| point.whole && point.written_ms <= time_ms)
}
