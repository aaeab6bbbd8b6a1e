//! When to seal, how much, and when to checkpoint. Policy returns a value; the pipeline carries it out.

use esker_format::{BLOCK_BYTES, chunk::RECORD_ALIGN, property::Durability};

/// What a segment should weigh in the store.
pub const SEGMENT_BYTES_TARGET: u64 = 32 << 20;
/// The most slots of a segment.
pub const SEGMENT_SLOTS_MAX: u64 = 65_536;
/// Seals that are encoded or uploaded at the same time, per volume.
pub const SEALS_IN_FLIGHT_MAX: usize = 3;
/// A checkpoint is begun when the tail has this many segments; at twice as many commits wait for it (rule H8).
pub const CHECKPOINT_AT: usize = 32;

/// Fewer blocks than this are not worth a segment of their own, unless they are as old as this.
const CRUMB_BLOCKS: u64 = 1_024;
const CRUMB_AGE_MS: u64 = 100;

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
    /// Seals that are not committed yet.
    pub in_flight: usize,
    /// Whether everything has to go, now.
    pub draining: bool,
}

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

/// Decides whether to seal.
pub fn next_seal(view: &View, durability: Durability, stored: &Yield) -> Choice {
    let Some(age_ms) = view.oldest_age_ms else {
        return Choice::Idle;
    };
    if view.in_flight >= SEALS_IN_FLIGHT_MAX {
        return Choice::Idle;
    }
    let blocks_max = stored.blocks_per_segment();
    let seal = Choice::Seal { blocks_max };
    if view.draining {
        return seal;
    }
    let half = view.dirty_bound / 2;
    if view.pressed || view.dirty_bytes >= half || view.backlog_blocks * BLOCK_BYTES as u64 >= half {
        return under_pressure(view, age_ms, seal);
    }
    match durability {
        Durability::Ephemeral => {
            // Blocks die young: keep them as long as there is room.
            Choice::Idle
        }
        Durability::Bounded { seconds } => {
            let due_ms = seal_after_ms(seconds);
            if view.backlog_blocks >= blocks_max || age_ms >= due_ms {
                seal
            } else {
                Choice::Wait { ms: due_ms - age_ms }
            }
        }
    }
}

/// How many more bytes of log could change the choice, when records wait already: as little as a record for each
/// block, so that trims count too.
pub fn bytes_before_next_look(view: &View, durability: Durability, stored: &Yield) -> u64 {
    if view.in_flight >= SEALS_IN_FLIGHT_MAX {
        return u64::MAX;
    }
    let half = view.dirty_bound / 2;
    let half_blocks = half / BLOCK_BYTES as u64;
    let blocks = match durability {
        // A segment's worth is no reason to seal it.
        Durability::Ephemeral => half_blocks,
        Durability::Bounded { .. } => stored.blocks_per_segment().min(half_blocks),
    };
    let records = blocks.saturating_sub(view.backlog_blocks) * RECORD_ALIGN as u64;
    records.min(half.saturating_sub(view.dirty_bytes)).max(RECORD_ALIGN as u64)
}

/// Room is short: seal what is worth a segment at once, and crumbs when nothing else will make room.
fn under_pressure(view: &View, age_ms: u64, seal: Choice) -> Choice {
    if view.backlog_blocks >= CRUMB_BLOCKS {
        return seal;
    }
    if view.in_flight > 0 {
        return Choice::Idle;
    }
    if age_ms >= CRUMB_AGE_MS { seal } else { Choice::Wait { ms: CRUMB_AGE_MS - age_ms } }
}

/// The age at which a record is sealed under `bounded(seconds)`: what is left of N is for encode and upload.
fn seal_after_ms(seconds: u32) -> u64 {
    let bound_ms = u64::from(seconds) * 1_000;
    bound_ms - (bound_ms / 2).min(2_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view() -> View {
        View {
            backlog_blocks: 10,
            oldest_age_ms: Some(100),
            dirty_bytes: 40_960,
            dirty_bound: 1 << 30,
            pressed: false,
            in_flight: 0,
            draining: false,
        }
    }

    const BOUNDED: Durability = Durability::Bounded { seconds: 5 };

    #[test]
    fn a_clean_volume_wants_nothing() {
        let clean = View { oldest_age_ms: None, backlog_blocks: 0, draining: true, ..view() };
        assert_eq!(next_seal(&clean, BOUNDED, &Yield::default()), Choice::Idle);
    }

    #[test]
    fn age_seals_a_bounded_volume_before_its_bound() {
        assert_eq!(next_seal(&view(), BOUNDED, &Yield::default()), Choice::Wait { ms: 2_900 });
        let old = View { oldest_age_ms: Some(3_000), ..view() };
        assert_eq!(next_seal(&old, BOUNDED, &Yield::default()), Choice::Seal { blocks_max: 8_192 });
    }

    #[test]
    fn an_ephemeral_volume_waits_for_the_dirty_bound() {
        let old = View { oldest_age_ms: Some(3_000_000), ..view() };
        assert_eq!(next_seal(&old, Durability::Ephemeral, &Yield::default()), Choice::Idle);
        let full = View { dirty_bytes: 1 << 29, backlog_blocks: 1 << 17, ..old };
        assert!(matches!(next_seal(&full, Durability::Ephemeral, &Yield::default()), Choice::Seal { .. }));
    }

    #[test]
    fn an_ephemeral_volume_is_not_looked_at_for_every_write() {
        let backlog = View { backlog_blocks: 100_000, dirty_bytes: 100_000 * 4_160, ..view() };
        let more = bytes_before_next_look(&backlog, Durability::Ephemeral, &Yield::default());
        assert!(more > 1_000_000, "woken after {more} bytes");
    }

    #[test]
    fn well_compressed_data_makes_longer_seals() {
        let mut stored = Yield::default();
        for _ in 0..16 {
            stored.learn(8_192, 8 << 20);
        }
        assert!(stored.blocks_per_segment() > 30_000);
        assert!(stored.blocks_per_segment() <= SEGMENT_SLOTS_MAX);
    }
}
