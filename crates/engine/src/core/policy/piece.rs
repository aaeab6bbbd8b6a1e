//! When to let the next head carry a piece of the log.
//!
//! A piece is one request and one round trip, and its blocks are written once more when they are sealed. So it is for
//! what is due and little: what is much is sealed at once.

use esker_format::head::TAIL_PIECES_MAX;

use super::{Durability, View, piece_after_ms};

/// The most blocks of a piece: even where nothing can be compressed it stays below 4 MiB.
pub const PIECE_BLOCKS_MAX: u64 = 1_000;
/// From so many pieces on, a small one is made of everything that no segment holds, in place of all others.
const PIECES_MANY: usize = TAIL_PIECES_MAX / 2;
/// How much that may be, 1 MiB: it is written again each time.
const WHOLE_BLOCKS_MAX: u64 = 256;

/// What to do about what no head holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// Cut a piece now.
    Now {
        /// Of everything that no segment holds, rather than of what no head holds.
        whole: bool,
    },
    /// Ask again after so many milliseconds, or when more was written.
    Wait {
        /// Milliseconds.
        ms: u64,
    },
    /// Ask again when more was written or a commit has ended.
    Idle,
}

/// Decides whether the next head carries a piece.
pub fn next_piece(view: &View, durability: Durability) -> Piece {
    let due_ms = match durability.bound_seconds() {
        Some(seconds) => piece_after_ms(seconds),
        // Nothing is due, but somebody was promised more than that.
        None if view.flush_waits => 0,
        None => return Piece::Idle,
    };
    let Some(age_ms) = view.uncommitted_age_ms else { return Piece::Idle };
    let whole = view.pieces >= PIECES_MANY && view.unsealed_blocks <= WHOLE_BLOCKS_MAX;
    let is_little = view.uncommitted_blocks <= PIECE_BLOCKS_MAX;
    if view.draining || !is_little || (view.pieces >= TAIL_PIECES_MAX && !whole) {
        // A seal takes it.
        return Piece::Idle;
    }
    if view.flush_waits || age_ms >= due_ms {
        Piece::Now { whole }
    } else {
        Piece::Wait { ms: due_ms - age_ms }
    }
}

impl View {
    /// Whether only a seal can bring what is due or waited for to the store.
    pub(super) fn is_too_much_for_pieces(&self) -> bool {
        self.uncommitted_blocks > PIECE_BLOCKS_MAX
    }

    /// Whether no piece brings what is waited for to the store.
    pub(super) fn needs_seal(&self) -> bool {
        self.is_too_much_for_pieces() || self.has_many_pieces()
    }

    /// Whether the pieces come to an end (rule H8): a seal makes an end of them before they do.
    pub(super) fn has_many_pieces(&self) -> bool {
        self.pieces >= PIECES_MANY + PIECES_MANY / 2 && self.unsealed_blocks > WHOLE_BLOCKS_MAX
    }
}
