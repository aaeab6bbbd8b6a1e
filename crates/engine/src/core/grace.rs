//! Which dead objects may be deleted: those that every round has found dead for as long as the grace.
//!
//! ```text
//! round      1        2        3        4
//! dead       ×        ×        ×        ×──▶ due: for_ms ≥ grace
//! for_ms     0        Δ      2 × Δ    3 × Δ
//! dead       ×        ·        ×             seen alive in between: from zero again
//! ```
//! Only time that passed between two rounds which both saw the object dead is counted. How long that was is the
//! caller's to say, so no clock is asked here.

use std::collections::BTreeMap;

use esker_format::{Bulk, Dead};

/// The most objects that are remembered. What is beyond them begins to wait when there is room.
pub const WAITING_MAX: usize = 1 << 20;
/// Without being told, a round deletes no more than this many objects …
pub const BRAKE_OBJECTS: u64 = 1_000;
/// … unless they are at most this share of all that were listed.
pub const BRAKE_PERCENT: u64 = 50;

/// What a round makes of what it found dead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// May be deleted now.
    pub due: Vec<Dead>,
    /// Have to wait; ascending.
    pub waiting: Vec<Dead>,
}

/// Judges the dead objects of a round. `before` is what the last round left waiting, `elapsed_ms` the time since it.
pub fn judge(dead: &BTreeMap<Bulk, u64>, before: &[Dead], elapsed_ms: u64, grace_ms: u64) -> Verdict {
    let known: BTreeMap<Bulk, u64> = before.iter().map(|dead| (dead.object, dead.for_ms)).collect();
    let mut verdict = Verdict { due: Vec::new(), waiting: Vec::new() };
    for (object, bytes) in dead {
        let since = known.get(object).copied();
        let for_ms = since.map_or(0, |before| before.saturating_add(elapsed_ms));
        let dead = Dead { object: *object, for_ms, bytes: *bytes };
        // An object that is seen dead for the first time is never due, whatever the grace is.
        if since.is_some() && for_ms >= grace_ms {
            verdict.due.push(dead);
        } else if verdict.waiting.len() < WAITING_MAX {
            verdict.waiting.push(dead);
        }
    }
    verdict
}

/// Whether a person should look first: a round that wants to delete so much may be looking at the wrong pool, or past
/// roots that somebody else knows.
pub fn brakes(due: u64, listed: u64) -> bool {
    due > BRAKE_OBJECTS && due.saturating_mul(100) > listed.saturating_mul(BRAKE_PERCENT)
}

#[cfg(test)]
mod tests {
    use esker_format::ids::PackId;

    use super::*;

    fn dead(packs: &[u8]) -> BTreeMap<Bulk, u64> {
        packs.iter().map(|pack| (Bulk::Pack(PackId([*pack; 16])), 10)).collect()
    }

    fn times(dead: &[Dead]) -> Vec<u64> {
        dead.iter().map(|dead| dead.for_ms).collect()
    }

    #[test]
    fn an_object_is_due_once_it_was_dead_for_the_grace() {
        let first = judge(&dead(&[1, 2]), &[], 1_000_000, 100);
        assert_eq!((first.due.len(), times(&first.waiting)), (0, vec![0, 0]));
        let second = judge(&dead(&[1, 2, 3]), &first.waiting, 99, 100);
        assert_eq!((second.due.len(), times(&second.waiting)), (0, vec![99, 99, 0]));
        // 2 lives for a round, 1 is due, 3 waits on.
        let third = judge(&dead(&[1, 3]), &second.waiting, 1, 100);
        assert_eq!((times(&third.due), times(&third.waiting)), (vec![100], vec![1]));
        let fourth = judge(&dead(&[2, 3]), &third.waiting, 50, 100);
        assert_eq!((fourth.due.len(), times(&fourth.waiting)), (0, vec![0, 51]));
    }

    #[test]
    fn no_grace_still_takes_two_rounds() {
        let first = judge(&dead(&[1]), &[], 5, 0);
        assert_eq!((first.due.len(), first.waiting.len()), (0, 1));
        assert_eq!(judge(&dead(&[1]), &first.waiting, 0, 0).due.len(), 1);
    }

    #[test]
    fn much_at_once_needs_a_person() {
        assert!(!brakes(1_000, 1_000));
        assert!(brakes(1_001, 1_001));
        assert!(!brakes(1_001, 2_002));
        assert!(brakes(1_002, 2_002));
    }
}
