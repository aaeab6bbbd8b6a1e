//! What of an open volume has changed since some state, its own or another's.
//!
//! The state now is the pages of the newest head, and over them whatever the map holds: a block that is unloaded there
//! is what those pages say. A block in the log is equal to none that is stored.

use std::{ops::Range, sync::Arc};

use esker_format::{
    BLOCK_BYTES,
    address::{Address, AddressKind},
    ids::LogPosition,
    names,
};

use super::{StoredMap, Volume, blocks_of};
use crate::{
    Result,
    core::{
        diff::{Root, State},
        map::Extent,
    },
    diff::{IN_LOG, NamedState, Walk},
};

/// How much of a volume is compared at a time: what its map says of so much is in memory for a moment.
const STEP_BYTES: u64 = 1 << 30;

/// Stretches of bytes, the one after the other.
struct Stretches {
    at: u64,
    found: Vec<(u64, bool)>,
}

impl Volume {
    /// The names of the snapshots that it can be compared with.
    ///
    /// # Errors
    /// When the pool cannot be read.
    pub async fn comparable(&self) -> Result<Vec<String>> {
        let snapshots = self.pool.snapshot_names(self.family()).await?;
        Ok(snapshots.into_iter().filter(|snapshot| self.snapshot() != Some(snapshot.as_str())).collect())
    }

    /// The state that it is to be compared with: `SNAPSHOT` of the same volume, `#N` for head N of its history, or
    /// `VOLUME@SNAPSHOT`. Rounds of reclaim of this run count what it reaches for as long as it is held.
    ///
    /// # Errors
    /// [`crate::EngineError::NotFound`] when there is none.
    pub async fn compared_with(&self, name: &str) -> Result<Arc<NamedState>> {
        let whole = match name {
            _ if name.starts_with('#') => format!("{}{name}", self.family()),
            _ if name.contains(['@', '#']) => name.to_owned(),
            _ => names::snapshot_name(self.family(), name),
        };
        NamedState::hold(&self.pool, &whole).await
    }

    /// Which of `length` bytes at `offset` have changed since `from`, as (bytes, changed) in order, from the first byte
    /// on; at most `most` stretches, so the answer may end early.
    ///
    /// # Errors
    /// When a page cannot be read, or the range reaches beyond the end.
    pub async fn changed_since(
        &self,
        from: &NamedState,
        offset: u64,
        length: u64,
        most: usize,
    ) -> Result<Vec<(u64, bool)>> {
        self.check_range(offset, length)?;
        let (block, end) = (BLOCK_BYTES as u64, offset + length);
        let mut stretches = Stretches { at: offset, found: Vec::new() };
        while stretches.at < end {
            let (start, stop) = (stretches.at, end.min((stretches.at / STEP_BYTES + 1) * STEP_BYTES));
            let range = start / block..stop.div_ceil(block);
            let to = self.state_in(&range)?;
            let mut walk = Walk::new(self.pool.fetcher(), &from.state, &to, range);
            while let Some(changes) = walk.next().await? {
                for change in changes {
                    stretches.until((change.lba * block).max(start), false);
                    stretches.until(((change.lba + change.blocks) * block).min(stop), true);
                }
                if stretches.found.len() > most {
                    stretches.found.truncate(most);
                    return Ok(stretches.found);
                }
            }
            stretches.until(stop, false);
        }
        stretches.found.truncate(most);
        Ok(stretches.found)
    }

    /// The state now, as far as a range goes.
    fn state_in(&self, range: &Range<u64>) -> Result<State> {
        let mut extents = Vec::new();
        loop {
            let StoredMap { root, size_bytes, sequence } = *self.stored.lock();
            let map = self.map.read();
            if !map.takes(sequence) {
                // What is unloaded now, only a newer root tells: there is one.
                continue;
            }
            self.check_blocks(&map, range.start, range.end - range.start)?;
            map.resolve(range.start, range.end - range.start, &mut extents);
            let laid = extents.into_iter().filter_map(laid).collect();
            let root = root.map(|page| Root { page, blocks: blocks_of(size_bytes) });
            return Ok(State { blocks: map.blocks(), root, laid });
        }
    }

    /// The name that its snapshots are called by.
    fn family(&self) -> &str {
        names::snapshot_parts(&self.name).map_or(&*self.name, |(volume, _)| volume)
    }

    /// What it is called itself, among them.
    fn snapshot(&self) -> Option<&str> {
        names::snapshot_parts(&self.name).map(|(_, snapshot)| snapshot)
    }
}

/// What the map says that the pages do not.
fn laid(extent: Extent) -> Option<Extent> {
    match extent.address.kind() {
        AddressKind::Unloaded => None,
        AddressKind::Log(position) => {
            let address = Address::log(LogPosition((position.0 % IN_LOG) | IN_LOG));
            Some(Extent { address, ..extent })
        }
        _ => Some(extent),
    }
}

impl Stretches {
    fn until(&mut self, end: u64, changed: bool) {
        if end <= self.at {
            return;
        }
        let bytes = end - self.at;
        match self.found.last_mut() {
            Some((before, last)) if *last == changed => *before += bytes,
            _ => self.found.push((bytes, changed)),
        }
        self.at = end;
    }
}
