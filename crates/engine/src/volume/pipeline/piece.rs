//! Pieces: one request brings what is due to the store.
//!
//! A piece is cut when the chain is here, so its records are those above the newest head's sequence, and no seal that is
//! on its way can be committed before it (rule H1). It changes nothing but what the store holds: map entries go on naming
//! the log, seals take the same records later, and only their commit gives room back.

use esker_format::head::HeadKind;

use super::{
    super::{Effective, Writer, stages::encode_piece},
    CommitEnd, Pipeline,
};
use crate::{
    commit::Change,
    core::policy::{self, PIECE_BLOCKS_MAX, Piece, View},
};

impl Pipeline {
    /// Commits a head with a piece, if the policy wants one and no other commit is on its way.
    pub(super) fn begin_piece(&mut self, writer: &Writer, view: &View) {
        // What lies beyond the end that a volume is about to get must be in no piece: it goes into pages first.
        if self.chain.is_none() || self.too_many_heads() || self.hurries() {
            return;
        }
        let whole = match policy::next_piece(view, self.volume.effective().durability) {
            Piece::Now { whole } => whole,
            Piece::Wait { ms } => return self.look_again_after(ms),
            Piece::Idle => return,
        };
        let mut chain = self.chain.take().expect("it was seen above");
        let head = chain.newest();
        let from = if whole { head.covered() } else { head.sequence } + 1;
        let Some(cut) = writer.log.copy(from, PIECE_BLOCKS_MAX) else {
            self.chain = Some(chain);
            return;
        };
        let volume = self.volume.clone();
        self.commit = Some(Box::pin(async move {
            let outcome = match encode_piece(&volume, &cut).await {
                Ok(piece) => {
                    let change = Change { piece: Some(piece), ..Change::none(HeadKind::Data) };
                    chain.commit(volume.pool.world(), change, || volume.gives_up()).await
                }
                Err(error) => Err(error),
            };
            CommitEnd::alone(chain, outcome)
        }));
    }

    /// Rule W11: says when the store has less than was promised, and lets writes wait where the volume is set so.
    pub(super) fn watch_lag(&mut self, writer: &Writer, view: &View) {
        let Effective { durability, on_lag, .. } = self.volume.effective();
        // What is not counted in time does not lag, whatever was promised before.
        let bound_ms = durability.bound_seconds().map_or(u64::MAX, |seconds| u64::from(seconds) * 1_000);
        let lag_ms = view.uncommitted_age_ms.unwrap_or(0);
        let lags = lag_ms > bound_ms;
        if writer.store.set_lags(lags, on_lag) {
            let volume = &self.volume.name;
            if lags {
                tracing::warn!(%volume, lag_ms, bound_ms, %on_lag, "the store lacks writes older than promised");
            } else {
                tracing::info!(%volume, "the store has caught up");
            }
            // Those who wait ask again whether they have to.
            writer.room.notify();
        }
        if view.uncommitted_age_ms.is_some() && !lags && bound_ms < u64::MAX {
            self.look_again_after(bound_ms - lag_ms + 1);
        }
    }
}
