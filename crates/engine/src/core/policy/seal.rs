//! When to seal, and how much.

use esker_format::{BLOCK_BYTES, chunk::RECORD_ALIGN};

use super::{
    CRUMB_AGE_MS, CRUMB_BLOCKS, Durability, PIECE_BLOCKS_MAX, SEGMENT_BLOCKS_SURE, SEGMENT_BYTES_TARGET,
    SEGMENT_FRAME_BYTES_MAX, SEGMENT_SLOTS_MAX, View, brink, large_after_ms, pace,
};

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// Seal at most so many blocks.
    Seal {
        /// A bound that leaves the segment near its target.
        blocks_max: u64,
    },
    /// Ask again after so many milliseconds, or when more was written.
    Wait {
        /// Milliseconds.
        ms: u64,
    },
    /// Ask again when more was written or a seal has ended.
    Idle,
}

/// How much has to be written before the choice could be another: whichever comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Bytes of log.
    pub bytes: u64,
    /// Records: trims take next to no log.
    pub records: u64,
}

/// How raw bytes relate to stored bytes, learnt from the last seals.
#[derive(Debug, Clone, Copy)]
pub struct Yield {
    /// Stored bytes per block written, smoothed.
    stored_per_block: f64,
}

impl Default for Yield {
    fn default() -> Self {
        Self { stored_per_block: BLOCK_BYTES as f64 }
    }
}

impl Yield {
    /// Learns from a seal that took `blocks` and stored `bytes`.
    pub fn learn(&mut self, blocks: u64, bytes: u64) {
        // Small seals are mostly index; they say little about what a full one would weigh.
        if blocks >= 1_024 {
            let seen = bytes as f64 / blocks as f64;
            self.stored_per_block = (self.stored_per_block + seen) / 2.0;
        }
    }

    /// How many blocks should fill a segment.
    pub fn blocks_per_segment(&self) -> u64 {
        let blocks = SEGMENT_BYTES_TARGET as f64 / self.stored_per_block.max(1.0);
        (blocks as u64).clamp(1_024, SEGMENT_SLOTS_MAX)
    }
}

/// How many blocks each part takes of a cut of `blocks`, of which `filled` were as much as a segment may be.
pub fn part_blocks(blocks: u64, filled: u64) -> u64 {
    // What follows is thought to be like what was seen. Two parts at least, so that it comes to an end.
    let like_this = filled * SEGMENT_BYTES_TARGET / SEGMENT_FRAME_BYTES_MAX;
    like_this.max(SEGMENT_BLOCKS_SURE).min(blocks.div_ceil(2))
}

/// Decides whether to seal.
pub fn next_seal(view: &View, durability: Durability, stored: &Yield) -> Choice {
    let Some(age_ms) = view.oldest_age_ms else {
        return Choice::Idle;
    };
    if !view.may_begin_seal() {
        return Choice::Idle;
    }
    let blocks_max = stored.blocks_per_segment();
    let seal = Choice::Seal { blocks_max };
    if view.draining {
        return seal;
    }
    if view.is_short_of_room() {
        return short_of_room(view, age_ms, blocks_max.min(view.lump_blocks()));
    }
    match durability.bound_seconds() {
        // A FLUSH began to wait under another durability.
        None if view.flush_waits && view.needs_seal() && view.sealing + view.ready == 0 => seal,
        // Blocks die young: keep them as long as there is room.
        None => Choice::Idle,
        Some(_) if view.backlog_blocks >= blocks_max => seal,
        Some(seconds) => bounded(view, age_ms, seconds, seal),
    }
}

/// A segment that is not full: sealed for its age, or because pieces cannot do what is promised.
fn bounded(view: &View, age_ms: u64, seconds: u32, seal: Choice) -> Choice {
    // No piece is needed where N is longer.
    let mut left_ms = large_after_ms(seconds).max(view.seal_age_ms).saturating_sub(age_ms);
    let nothing_comes = view.sealing + view.ready == 0;
    if view.is_too_much_for_pieces() {
        // What is in a seal or in a piece is not due again.
        let new_age_ms = age_ms.min(view.uncommitted_age_ms.unwrap_or(0));
        left_ms = left_ms.min(large_after_ms(seconds).saturating_sub(new_age_ms));
        // Those who wait while a seal is on its way are served by the next one together.
        if view.flush_waits && nothing_comes {
            left_ms = 0;
        }
    }
    if left_ms == 0 || (view.has_many_pieces() && nothing_comes) {
        seal
    } else {
        Choice::Wait { ms: left_ms }
    }
}

/// How much more could change the choice, when records wait already.
pub fn next_look(view: &View, durability: Durability, stored: &Yield) -> Look {
    let half = view.dirty_bound / 2;
    let levels = [half, pace::soft(view.dirty_bound), brink(view.dirty_bound)];
    let level = levels.into_iter().find(|level| view.dirty_bytes < *level);
    let level_bytes = level.map_or(u64::MAX, |level| level - view.dirty_bytes);
    if !view.may_begin_seal() {
        return Look { bytes: level_bytes, records: u64::MAX };
    }
    let half_blocks = half / BLOCK_BYTES as u64;
    let enough = match durability {
        _ if view.is_short_of_room() => view.lump_blocks().min(stored.blocks_per_segment()),
        // A segment's worth is no reason to seal it.
        Durability::Ephemeral => half_blocks,
        Durability::Bounded { .. } | Durability::Sync => stored.blocks_per_segment().min(half_blocks),
    };
    let mut records = enough.saturating_sub(view.backlog_blocks).max(1);
    if durability.bound_seconds().is_some() && !view.is_too_much_for_pieces() {
        records = records.min(PIECE_BLOCKS_MAX + 1 - view.uncommitted_blocks);
    }
    let bytes = records * BLOCK_BYTES as u64;
    Look { bytes: bytes.min(level_bytes).max(RECORD_ALIGN as u64), records }
}

/// Room is short: seal what makes a lump at once, and less when nothing else will make room.
fn short_of_room(view: &View, age_ms: u64, lump: u64) -> Choice {
    let seal = Choice::Seal { blocks_max: lump };
    if view.backlog_blocks >= lump {
        return seal;
    }
    if view.sealing + view.ready > 0 {
        return Choice::Idle;
    }
    if view.backlog_blocks >= CRUMB_BLOCKS || age_ms >= CRUMB_AGE_MS {
        seal
    } else {
        Choice::Wait { ms: CRUMB_AGE_MS - age_ms }
    }
}
