//! What a fork or a snapshot is made from, and all of its steps in a row.

use esker_format::{
    head::{Head, HeadKind, Lineage, TAIL_SEGMENTS_MAX},
    ids::VolumeId,
    name::NameState,
};
use esker_io::{Bug, planted};

use super::{Pin, State};
use crate::{
    EngineError, Result,
    commit::Owner,
    pieces::{Pieces, Reader},
    pool::{Place, Pool, describe},
    recover::effective,
    segment_ids::SegmentIds,
    volume::{Done, seal_pieces},
};

/// How often the newest head is looked for while its pieces go.
const TRIES_MAX: usize = 4;

/// Who makes forks and snapshots.
pub struct Making<'a> {
    /// The pool.
    pub pool: &'a Pool,
    /// Segment ids of this run.
    pub ids: &'a SegmentIds,
    /// This run.
    pub owner: Owner,
}

impl Making<'_> {
    /// The newest state of a volume that the store has. What is in pieces is written as a segment first (rule H7).
    ///
    /// # Errors
    /// [`EngineError::NotFound`] when the volume was deleted, [`EngineError::Invalid`] when it was never born.
    pub async fn newest(&self, name: &str, volume: VolumeId) -> Result<State> {
        let mut before = None;
        for _ in 0..TRIES_MAX {
            let head = self.pool.newest_head(volume).await?.head;
            check_alive(&describe(name), &head)?;
            match self.whole(&head).await {
                Ok(state) => return Ok(state),
                // Heads go when their pieces are in a segment: then there is a newer one, which says so.
                Err(error) if before == Some(head.number) => return Err(error),
                Err(_) => before = Some(head.number),
            }
        }
        Err(EngineError::Invalid(format!(
            "{name} is written so fast that its pieces cannot be read; open it here"
        )))
    }

    /// The state of a head, with its pieces in a segment.
    pub(crate) async fn whole(&self, head: &Head) -> Result<State> {
        if planted(Bug::PiecesForgotten) {
            return Ok(State::of(head));
        }
        match Pieces::read(self.pool, head, Reader::Passes).await? {
            Some(pieces) => self.sealed(head, pieces).await,
            None => Ok(State::of(head)),
        }
    }

    /// The state of a head, with further sequences up to `last` in which nothing happens: its pieces and these in a
    /// segment.
    pub(crate) async fn whole_up_to(&self, head: &Head, last: u64) -> Result<State> {
        let pieces = Pieces::read(self.pool, head, Reader::Passes).await?;
        let pieces = pieces.filter(|_| !planted(Bug::PiecesForgotten));
        self.sealed(head, Pieces::up_to(self.pool, pieces, head, last)).await
    }

    async fn sealed(&self, head: &Head, pieces: Pieces) -> Result<State> {
        let mut state = State::of(head);
        let intakes = pieces.intakes();
        if state.head.tail.len() + intakes.len() > TAIL_SEGMENTS_MAX {
            let name = head.volume;
            return Err(EngineError::Invalid(format!("the tail of volume {name} is full; open it once")));
        }
        let compression = effective(&head.properties, &self.pool.record().properties).compression;
        let sealed = seal_pieces(self.pool, self.ids, intakes, compression).await?;
        for (segment, held) in sealed.into_iter().map(Done::named) {
            state.head.tail.push(segment);
            state.held.push(held);
        }
        state.head.sequence = state.head.covered();
        assert!(state.head.sequence >= head.sequence, "the segment holds what the pieces hold");
        Ok(state)
    }

    /// Pin, look, use. `None` when the source is not what it was any more: nothing was made, look at it again.
    pub async fn make(
        &self,
        state: State,
        place: Place,
        (kind, lineage): (HeadKind, Lineage),
        own: impl Fn() -> u64,
    ) -> Result<Option<Head>> {
        let name = place.name().to_owned();
        let pin = self.pool.pin(state, Some(place), lineage, self.owner).await?;
        if pin.look(self.pool, own).await? {
            return Ok(Some(pin.born(self.pool, kind).await?));
        }
        self.give_up(&pin, &name).await?;
        Ok(None)
    }

    /// Buries what was pinned, and frees its name.
    pub(crate) async fn give_up(&self, pin: &Pin, name: &str) -> Result<()> {
        pin.bury(self.pool).await?;
        match self.pool.set_name(name, pin.volume(), NameState::Free).await {
            // Somebody took it over.
            Err(EngineError::Exists(_) | EngineError::NotFound(_)) => Ok(()),
            outcome => outcome.map(drop),
        }
    }
}

/// Whether this is a state that somebody can rely on.
pub(crate) fn check_alive(name: &str, head: &Head) -> Result<()> {
    match head.kind {
        HeadKind::Deleted => Err(EngineError::NotFound(format!("{name} (it was deleted)"))),
        HeadKind::Unborn => Err(EngineError::Invalid(format!(
            "{name} was never finished; delete it, or make it again under this name"
        ))),
        _ => Ok(()),
    }
}
