//! When to commit what is in the store.
//!
//! Every head is a request. A stream of writes fills a segment every few hundred milliseconds, long before its
//! records are due; so a commit waits for the segments that follow, as long as nobody lacks the room that it would
//! give back, and no record gets older than `bounded(N)` allows. Where guests are paced it waits only for as much as
//! pacing evens out.

use super::{COMMIT_SEGMENTS_MAX, Durability, View, brink, commit_after_ms};

/// The segments that could be committed now: durable, and next in the order of the log.
#[derive(Debug, Clone, Copy)]
pub struct Ready {
    /// How many; not zero.
    pub segments: usize,
    /// Log bytes that their commit gives back.
    pub log_bytes: u64,
    /// Age of their oldest record, in milliseconds.
    pub oldest_age_ms: u64,
    /// Whether the last of them was sealed because it was full: then a next one fills already.
    pub full: bool,
}

/// What to do with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commit {
    /// Commit them.
    Now,
    /// Ask again after so many milliseconds, or when another seal has ended.
    Wait {
        /// Milliseconds.
        ms: u64,
    },
    /// Ask again when another seal has ended; one is on its way.
    Idle,
}

/// Decides whether to commit.
pub fn next_commit(view: &View, ready: &Ready, durability: Durability) -> Commit {
    let eighths = if view.is_paced() { 1 } else { 3 };
    let enough = ready.segments >= COMMIT_SEGMENTS_MAX || ready.log_bytes >= view.dirty_bound / 8 * eighths;
    let hurry = view.draining || view.pressed || view.flush_waits;
    if hurry || enough || view.dirty_bytes >= brink(view.dirty_bound) {
        return Commit::Now;
    }
    match durability.bound_seconds() {
        // Nothing is due. Only a seal that is on its way makes a wait worth it.
        None => {
            if view.sealing > 0 {
                Commit::Idle
            } else {
                Commit::Now
            }
        }
        Some(seconds) => {
            let due_ms = commit_after_ms(seconds);
            let more_comes = view.sealing > 0 || ready.full;
            if more_comes && ready.oldest_age_ms < due_ms {
                Commit::Wait { ms: due_ms - ready.oldest_age_ms }
            } else {
                Commit::Now
            }
        }
    }
}
