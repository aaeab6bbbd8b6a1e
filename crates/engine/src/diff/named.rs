//! Which states can be compared: what a name stands for, and what its head says of every block.

use std::sync::Arc;

use esker_format::{
    address::Address,
    head::{Head, HeadKind},
    ids::{LogPosition, VolumeId},
    segment::RunKind,
};
use esker_io::{Bug, planted};
use futures_util::future::{try_join, try_join_all};

use super::State;
use crate::{
    EngineError, Result,
    core::{
        diff::Root,
        fold::lay,
        map::{Extent, push_merged, run_extent},
    },
    pieces,
    pool::{Pool, describe},
    volume::blocks_of,
};

/// What a block in a log, or in memory, is called: equal to no block of a stored state.
pub(crate) const IN_LOG: u64 = 1 << 61;
/// What a block in a piece is called, so that two states of one volume agree about it: the carrier's number, and the
/// place in its piece.
const PIECE_SHIFT: u32 = 24;
const HEADS_MAX: u64 = 1 << (60 - PIECE_SHIFT);
/// Where the blocks of the other volume's pieces are.
const OTHER: u64 = 1 << 60;

const _: () = assert!(OTHER < IN_LOG && IN_LOG < LogPosition::END);

/// A state of a volume, found by its name.
#[derive(Debug)]
pub struct NamedState {
    /// The name that it was asked for by.
    pub name: String,
    /// The volume.
    pub volume: VolumeId,
    /// The head that it is the state of.
    pub head: u64,
    /// The size.
    pub size_bytes: u64,
    /// The last sequence that it holds.
    pub sequence: u64,
    /// Where the blocks are.
    pub state: State,
    /// What it was made of.
    stored: Head,
}

impl NamedState {
    /// The state that `name` stands for: `VOLUME` its newest head, `VOLUME@SNAPSHOT` a snapshot, `VOLUME#N` head N of
    /// its history.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] when there is none.
    pub async fn find(pool: &Pool, name: &str) -> Result<NamedState> {
        let (volume, number) = match name.split_once('#') {
            None => (name, None),
            Some((volume, digits)) => {
                let number = digits.parse::<u64>().map_err(|_| {
                    EngineError::Invalid(format!("{name} names no head: expected VOLUME#NUMBER"))
                })?;
                (volume, Some(number))
            }
        };
        let Some(id) = pool.lookup(volume).await? else {
            return Err(EngineError::NotFound(describe(volume)));
        };
        Self::of_volume(pool, name, id, number).await
    }

    /// The state of a volume's newest head, or of another one.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] when there is none.
    pub async fn of_volume(pool: &Pool, name: &str, id: VolumeId, number: Option<u64>) -> Result<NamedState> {
        loop {
            let seen = pool.fetcher().table().number();
            let newest = pool.newest_head(id).await?;
            let last = newest.head.number;
            match newest.head.kind {
                HeadKind::Deleted => return Err(EngineError::NotFound(format!("{name} (it was deleted)"))),
                HeadKind::Unborn => {
                    return Err(EngineError::NotFound(format!("{name} (it was never finished)")));
                }
                _ => {}
            }
            let head = match number.filter(|number| *number != last) {
                None => newest.head,
                Some(number) if !newest.numbers.contains(&number) => return Err(no_head(name, number)),
                Some(number) => match pool.head(id, number).await? {
                    Some(head) => head,
                    None => return Err(no_head(name, number)),
                },
            };
            let read = match State::of(pool, &head).await {
                Ok(state) => pool.is_still_there(&head, seen).await.map(|()| state),
                Err(error) => Err(error),
            };
            let error = match read {
                Ok(state) => return Ok(Self::new(name, head, state)),
                Err(error) => error,
            };
            // Heads go when their pieces are in a segment: then there is a newer one, which says so.
            if number.is_some() || pool.newest_head(id).await?.head.number == last {
                return Err(error);
            }
        }
    }

    /// The state that `name` stands for, which rounds of this run count as alive until it is dropped.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] when there is none.
    pub async fn hold(pool: &Pool, name: &str) -> Result<Arc<NamedState>> {
        let named = Arc::new(Self::find(pool, name).await?);
        pool.uses().reads(&named, named.stored.clone());
        Ok(named)
    }

    fn new(name: &str, head: Head, state: State) -> NamedState {
        NamedState {
            name: name.to_owned(),
            volume: head.volume,
            head: head.number,
            size_bytes: head.size_bytes,
            sequence: head.sequence,
            state,
            // The piece is read.
            stored: Head { piece: Vec::new(), ..head },
        }
    }

    /// From now on nothing in its pieces is equal to anything in those of another volume.
    pub fn against(mut self, other: VolumeId) -> NamedState {
        if self.volume != other {
            for extent in self.state.laid.iter_mut().filter(|extent| extent.address.is_log()) {
                extent.address = Address::from_raw(extent.address.raw() | OTHER);
            }
        }
        self
    }
}

fn no_head(name: &str, number: u64) -> EngineError {
    let of = name.split_once('#').map_or(name, |(of, _)| of);
    EngineError::NotFound(format!("head {number} in the history of {of}"))
}

impl State {
    /// What a head says of every block of its volume.
    ///
    /// # Errors
    /// When what it names cannot be read.
    pub async fn of(pool: &Pool, head: &Head) -> Result<State> {
        let blocks = blocks_of(head.size_bytes);
        let fetcher = pool.fetcher();
        let indexes = try_join_all(head.tail.iter().map(|segment| fetcher.index(segment.id, Some(segment))));
        let (tail, pieces) = try_join(indexes, pieces::read_all(pool, head)).await?;
        let tail = if planted(Bug::TailNotCompared) { Vec::new() } else { tail };
        let mut laid = lay(tail.iter().map(|index| &**index), blocks)?;
        for (number, piece) in &pieces {
            let mut over = Vec::with_capacity(piece.index.runs.len());
            for run in piece.index.runs.iter().filter(|run| run.sequence > head.covered()) {
                let named = match run.kind {
                    RunKind::Data { first_slot } => piece_block(*number, u64::from(first_slot))?,
                    _ => run_extent(run, piece.index.id).address,
                };
                push_merged(&mut over, 0, Extent { lba: run.lba, blocks: run.blocks, address: named });
            }
            laid = crate::core::fold::overlay(&laid, &over);
        }
        let root = head.root.map(|page| Root { page, blocks });
        Ok(State { blocks, root, laid })
    }
}

fn piece_block(head: u64, slot: u64) -> Result<Address> {
    let place = slot * esker_format::BLOCK_BYTES as u64;
    if head >= HEADS_MAX || place >= 1 << PIECE_SHIFT {
        return Err(EngineError::Invalid(format!("head {head} has a number too high to be compared")));
    }
    Ok(Address::log(LogPosition(head << PIECE_SHIFT | place)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_blocks_in_pieces_and_in_logs_never_meet() {
        let block = esker_format::BLOCK_BYTES as u64;
        let raw = |address: Address| match address.kind() {
            esker_format::AddressKind::Log(position) => position.0,
            other => panic!("{other:?}"),
        };
        let (first, last) = (raw(piece_block(0, 0).unwrap()), raw(piece_block(HEADS_MAX - 1, 1023).unwrap()));
        assert!(first < OTHER && last + block <= OTHER, "the bits above say whose they are");
        assert_ne!(
            piece_block(7, 0).unwrap(),
            piece_block(6, 1023).unwrap().plus(1),
            "the next head's are others"
        );
        assert!(piece_block(HEADS_MAX, 0).is_err() && piece_block(1, 1 << 12).is_err());
    }
}
