//! Which heads of a volume may be deleted.
//!
//! ```text
//! oldest                                                                                                newest
//! | nothing: older than   | first head of | first head of | … | first head of | first head of | every head        |
//! | the property history  | each 10 s × 2^n               |   | each 20 s     | each 10 s     |                   |
//!                           a share of 230 in each tier, as few tiers as reach back for the history   at most 200
//! ```
//! 1. A head is as old as the time since another took its place: until then it was the state, however long ago it was
//!    written. One that is older than the property `history` goes. The newest never is.
//! 2. Of the others the newest stay, then the first of each interval, and each tier's intervals are twice as long as
//!    those of the tier before. A tier has as many as fit: 76 where three tiers reach back for an hour, 25 in each of
//!    nine for a day, 10 in each of 22 for ten years. So the last head before an instant is away from it by about 1 %
//!    of its age, 4 %, 10 %, and the nearest one by half of that; or by the distance of two heads that need no other's
//!    piece, which is about the age at which a volume seals (two minutes), where that is more.
//! 3. Beyond the newest, heads that need another's piece go: else one of them would keep dozens.
//! 4. Besides there are the heads that rule H1 keeps, and those whose pieces the newest ones need (rule H7), at most 64:
//!    by default no more than 500 in all (rule H8).
//!
//! The times are those of clocks, the writers' and that of who asks. They choose which heads stay as history; how many
//! these are is a matter of counting, and what the rules keep they cannot touch.

use std::collections::BTreeSet;

use esker_format::{
    head::{Head, HeadKind},
    ids::DirectoryId,
    property::History,
};

/// The default number of newest heads that are kept.
pub const HEADS_KEPT: usize = 200;
/// The intervals of the first tier.
const INTERVAL_MS: u64 = 10_000;

/// What stays besides the heads that a rule keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// How many of the newest heads; the measure of all other counts.
    pub heads: usize,
    /// How long a head stays when another has taken its place.
    pub history: History,
}

/// What deciding needs to know of a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadFacts {
    /// The head's number.
    pub number: u64,
    /// Why it was written.
    pub kind: HeadKind,
    /// The local directory of the run that wrote it.
    pub directory: DirectoryId,
    /// The number of the head before it.
    pub previous: Option<u64>,
    /// When it was written, in milliseconds, by its writer's clock.
    pub written_ms: u64,
    /// Whether it carries a piece.
    pub carries: bool,
    /// The lowest number of another head whose piece it names; those between them that carry one are named too. Of a
    /// volume that was deleted nobody needs them.
    pub oldest_piece: Option<u64>,
}

impl HeadFacts {
    /// The facts of `head`.
    pub fn of(head: &Head) -> Self {
        Self {
            number: head.number,
            kind: head.kind,
            directory: head.directory,
            previous: head.previous.map(|previous| previous.number),
            written_ms: head.written_ms,
            carries: head.pieces.last().is_some_and(|piece| piece.head == head.number),
            oldest_piece: head
                .pieces
                .first()
                .map(|piece| piece.head)
                .filter(|carrier| *carrier < head.number && head.kind != HeadKind::Deleted),
        }
    }
}

/// The heads that may go, oldest first. `heads` are all that exist, in ascending order; `now_ms` is wall time.
///
/// Rule H1: a claim and the head before it stay, so that the only number which the previous writer can
/// still try is taken for ever — unless that writer is known to have ended: its last head is a release,
/// or the claim was made by a run that holds the lock of the same local directory.
pub fn deletable(heads: &[HeadFacts], keep: Keep, now_ms: u64) -> Vec<u64> {
    let kept = keep.heads.max(1);
    let young = young(heads, keep.history, now_ms);
    let (older, newest) = young.split_at(young.len().saturating_sub(kept));
    let mut stay = thinned(older, kept, keep.history);
    stay.extend(newest.iter().map(|head| head.number));
    // Rule H7. What stays for the sake of history needs no pieces of others.
    let needed = newest.iter().filter_map(|head| head.oldest_piece).min().unwrap_or(u64::MAX);
    let is_needed = |head: &HeadFacts| head.carries && head.number >= needed;
    let goes = |head: &&HeadFacts| !stay.contains(&head.number) && !is_needed(head) && !is_kept(head, heads);
    heads.iter().filter(goes).map(|head| head.number).collect()
}

/// The next time, after `now_ms`, at which a head becomes older than the history.
pub fn next_expiry(heads: &[HeadFacts], history: History, now_ms: u64) -> Option<u64> {
    let replaced = heads.iter().skip(1).map(|head| head.written_ms.saturating_add(history.ms()));
    replaced.filter(|at| *at > now_ms).min()
}

/// The heads that are not older than the history.
fn young(heads: &[HeadFacts], history: History, now_ms: u64) -> Vec<&HeadFacts> {
    let is_young = |replaced_ms: u64| replaced_ms.saturating_add(history.ms()) > now_ms;
    let followed = heads.iter().zip(heads.iter().skip(1));
    let mut young: Vec<&HeadFacts> =
        followed.filter(|(_, next)| is_young(next.written_ms)).map(|(head, _)| head).collect();
    // The newest one is the state, whatever clocks say.
    young.extend(heads.last());
    young
}

/// The heads that stay as history: the first of each interval. The first, so that what stays once stays while others
/// come; and every interval is two of the tier before.
fn thinned(older: &[&HeadFacts], kept: usize, history: History) -> BTreeSet<u64> {
    let (tiers, most) = shape(kept * 23 / 20, history);
    let mut stay = BTreeSet::new();
    let mut closed: Vec<&HeadFacts> =
        older.iter().copied().filter(|head| head.oldest_piece.is_none()).collect();
    for tier in 0..tiers {
        let interval_ms = INTERVAL_MS << tier;
        let mut groups = 0;
        while groups < most
            && let Some(last) = closed.pop()
        {
            let interval = last.written_ms / interval_ms;
            let mut first = last;
            while let Some(before) = closed.pop_if(|before| before.written_ms / interval_ms == interval) {
                first = before;
            }
            stay.insert(first.number);
            groups += 1;
        }
    }
    stay
}

/// How many tiers there are, and how many heads stay in each: as few tiers as reach back for the history, so that each
/// has many.
fn shape(heads: usize, history: History) -> (u32, usize) {
    let reach_ms = |tiers: u32| (heads as u64 / u64::from(tiers)) * INTERVAL_MS * ((1 << tiers) - 1);
    // Where fewer heads are kept than by default, even the most tiers may not reach back for all of it.
    let tiers = (1..24).find(|tiers| reach_ms(*tiers) >= history.ms()).unwrap_or(24);
    (tiers, heads / tiers as usize)
}

fn is_kept(head: &HeadFacts, heads: &[HeadFacts]) -> bool {
    let keeps = |claim: &HeadFacts| {
        claim.kind != HeadKind::Data
            && claim.kind != HeadKind::Released
            && !previous_owner_ended(claim, heads)
    };
    keeps(head) || heads.iter().any(|claim| claim.previous == Some(head.number) && keeps(claim))
}

/// Whether the writer before `claim` cannot have a request on the way any more.
fn previous_owner_ended(claim: &HeadFacts, heads: &[HeadFacts]) -> bool {
    let before = claim.previous.and_then(|number| heads.iter().find(|head| head.number == number));
    // What is gone already was judged when it went; a claim whose predecessor is gone is not needed either.
    before.is_none_or(|before| before.kind == HeadKind::Released || before.directory == claim.directory)
}

#[cfg(test)]
mod tests;
