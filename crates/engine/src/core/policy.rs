//! When to seal and how much, when to commit, when to checkpoint, and how fast guests may write. Policy returns a
//! value; the pipeline and the front ends carry it out.
//!
//! ```text
//! what no applied commit covers, as a share of the dirty bound
//! 0              1/2                 5/8                               1
//! |  by size, age | sealed at once                                      |
//! |  commits are held together        | held less, guests are paced     | writes wait
//! ```
//!
//! 1. Below a half nothing is short. A segment is sealed when it is full, or when its oldest record has had minutes to
//!    be overwritten: blocks die young. How many blocks fill one is guessed from the last ones; where that was far too
//!    many, what was cut is divided ([`part_blocks`]). Meanwhile what is due in the store goes there as a piece, in one request
//!    ([`next_piece`]), unless it is too much for one. A commit waits for the segments that come soon, so that one head
//!    names several ([`next_commit`]).
//! 2. From a half on, or once the daemon has used half of its bound, everything is sealed at once, in lumps of an
//!    eighth of the bound at most ([`next_seal`]): room comes back in lumps of that size.
//! 3. From five eighths on, a commit gives back an eighth of the bound, or less near its end. Guests write as fast as the bound comes free, times two at the beginning and nearly not at
//!    all at the end ([`pace`]). Where they drain at the measured rate the log comes to rest in the middle.
//! 4. At the bound writes wait. That holds whatever front ends make of 3.

mod commit;
pub mod pace;
mod piece;
mod seal;

use esker_format::{BLOCK_BYTES, property::Durability};

pub use commit::{Commit, Ready, next_commit};
pub use piece::{PIECE_BLOCKS_MAX, Piece, next_piece};
pub use seal::{Choice, Look, Yield, next_look, next_seal, part_blocks};

/// What a segment should weigh in the store.
pub const SEGMENT_BYTES_TARGET: u64 = 32 << 20;
/// The most that header and frames of a segment take: what a seal is made of is chosen by what blocks took lately, and
/// so much more than the target may come of it before it is divided.
pub const SEGMENT_FRAME_BYTES_MAX: u64 = SEGMENT_BYTES_TARGET / 4 * 5;
/// No segment is larger: frames, an index of at most 8 MiB, and the trailer.
pub const SEGMENT_BYTES_MAX: u64 = SEGMENT_FRAME_BYTES_MAX + (8 << 20) + (64 << 10);
/// So many blocks fit in a segment whatever they are: a frame is never larger than its blocks.
pub const SEGMENT_BLOCKS_SURE: u64 = SEGMENT_BYTES_TARGET / BLOCK_BYTES as u64;
/// The most slots of a segment.
pub const SEGMENT_SLOTS_MAX: u64 = 65_536;
/// Seals that are encoded or uploaded at the same time, per volume.
pub const SEALS_IN_FLIGHT_MAX: usize = 3;
/// Seals that are encoded, uploaded or held for a commit.
pub const SEALS_UNCOMMITTED_MAX: usize = COMMIT_SEGMENTS_MAX + SEALS_IN_FLIGHT_MAX;
/// A commit that names so many segments waits for no more.
pub const COMMIT_SEGMENTS_MAX: usize = 12;
/// A checkpoint is begun when the tail has this many segments; at twice as many commits wait for it (rule H8).
pub const CHECKPOINT_AT: usize = 32;

/// What the pipeline knows when it asks.
#[derive(Debug, Clone, Copy)]
pub struct View {
    /// Blocks in the log that no seal has taken.
    pub backlog_blocks: u64,
    /// Age of the oldest record that no seal has taken, in milliseconds.
    pub oldest_age_ms: Option<u64>,
    /// Log bytes that no applied commit covers.
    pub dirty_bytes: u64,
    /// The bound on them.
    pub dirty_bound: u64,
    /// Whether the whole daemon has used half of its bound.
    pub pressed: bool,
    /// Seals that are encoded or uploaded.
    pub sealing: usize,
    /// Seals that are in the store and in no head yet.
    pub ready: usize,
    /// Whether everything has to go, now.
    pub draining: bool,
    /// Blocks that no head holds, neither in a segment nor in a piece.
    pub uncommitted_blocks: u64,
    /// Age of the oldest such record, in milliseconds.
    pub uncommitted_age_ms: Option<u64>,
    /// Blocks that no segment of a head holds.
    pub unsealed_blocks: u64,
    /// The age at which what is in pieces is sealed, in milliseconds.
    pub seal_age_ms: u64,
    /// Pieces that the newest head names.
    pub pieces: usize,
    /// Whether somebody waits until the store has what is uncommitted.
    pub flush_waits: bool,
}

impl View {
    fn may_begin_seal(&self) -> bool {
        self.sealing < SEALS_IN_FLIGHT_MAX && self.sealing + self.ready < SEALS_UNCOMMITTED_MAX
    }

    /// Whether blocks have to leave the log for the sake of room.
    fn is_short_of_room(&self) -> bool {
        let half = self.dirty_bound / 2;
        self.pressed || self.dirty_bytes >= half || self.backlog_blocks * BLOCK_BYTES as u64 >= half
    }

    /// Whether guests are paced.
    fn is_paced(&self) -> bool {
        self.dirty_bytes >= pace::soft(self.dirty_bound)
    }

    /// The most blocks that a seal takes while room is short.
    fn lump_blocks(&self) -> u64 {
        (self.dirty_bound / 8 / BLOCK_BYTES as u64).max(CRUMB_BLOCKS)
    }
}

/// From how many dirty bytes on a commit waits for nothing: the bound is near.
fn brink(bound: u64) -> u64 {
    bound / 8 * 7
}

/// Fewer blocks than this are not worth a segment of their own, unless they are as old as this.
const CRUMB_BLOCKS: u64 = 1_024;
const CRUMB_AGE_MS: u64 = 100;

/// The age at which what is too much for a piece is sealed under `bounded(seconds)`: what is left of N is for encode
/// and upload.
fn large_after_ms(seconds: u32) -> u64 {
    let bound_ms = u64::from(seconds) * 1_000;
    bound_ms - (bound_ms / 2).min(2_000)
}

/// The age at which a piece is cut under `bounded(seconds)`: what is left of N is for one PUT.
fn piece_after_ms(seconds: u32) -> u64 {
    let bound_ms = u64::from(seconds) * 1_000;
    bound_ms - (bound_ms / 10).clamp(250, 1_000)
}

/// The age up to which a commit may be held under `bounded(seconds)`: what is left of N is for one small PUT.
fn commit_after_ms(seconds: u32) -> u64 {
    let bound_ms = u64::from(seconds) * 1_000;
    bound_ms - (bound_ms * 3 / 10).min(1_500)
}

#[cfg(test)]
mod tests;
