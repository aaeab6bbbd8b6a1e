//! Which heads of a volume may be deleted.
//!
//! ```text
//! oldest                                                                        newest
//! | nothing | first head of each minute | first head of each 10 s | every head       |
//!             at most 11/20 as many       at most 3/5 as many       as many as wanted
//! ```
//! Older heads are kept only where they need no other head's piece: else one of them would keep dozens. Besides there
//! are the heads that rule H1 keeps, and those whose pieces the newest ones need (rule H7), at most 64: by default no
//! more than 500 in all (rule H8). The times are those of the writers' clocks. They choose which heads stay; how many is
//! a matter of counting.

use esker_format::{
    head::{Head, HeadKind},
    ids::DirectoryId,
};

/// The default number of newest heads that are kept.
pub const HEADS_KEPT: usize = 200;

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

/// The heads that may go, oldest first. `heads` are all that exist, in ascending order.
///
/// Rule H1: a claim and the head before it stay, so that the only number which the previous writer can
/// still try is taken for ever — unless that writer is known to have ended: its last head is a release,
/// or the claim was made by a run that holds the lock of the same local directory.
pub fn deletable(heads: &[HeadFacts], kept: usize) -> Vec<u64> {
    let kept = kept.max(1);
    let (older, newest) = heads.split_at(heads.len().saturating_sub(kept));
    let history = thinned(older, kept * 3 / 5, kept * 11 / 20);
    // Rule H7. What stays for the sake of history needs no pieces of others.
    let needed = newest.iter().filter_map(|head| head.oldest_piece).min().unwrap_or(u64::MAX);
    let is_needed = |head: &HeadFacts| head.carries && head.number >= needed;
    let goes =
        |head: &&HeadFacts| !history.contains(&head.number) && !is_needed(head) && !is_kept(head, heads);
    older.iter().filter(goes).map(|head| head.number).collect()
}

/// The heads that stay as history, newest first: the first of each ten seconds, then the first of each minute. The
/// first, so that what stays once stays while others come.
fn thinned(older: &[HeadFacts], by_ten_seconds: usize, by_minute: usize) -> Vec<u64> {
    let mut stay = Vec::new();
    let mut closed: Vec<&HeadFacts> = older.iter().filter(|head| head.oldest_piece.is_none()).collect();
    for (interval_ms, most) in [(10_000, by_ten_seconds), (60_000, by_minute)] {
        let mut groups = 0;
        while groups < most
            && let Some(last) = closed.pop()
        {
            let interval = last.written_ms / interval_ms;
            let mut first = last;
            while let Some(before) = closed.pop_if(|before| before.written_ms / interval_ms == interval) {
                first = before;
            }
            stay.push(first.number);
            groups += 1;
        }
    }
    stay
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
mod tests {
    use super::*;

    fn head(number: u64, kind: HeadKind, directory: u8) -> HeadFacts {
        let previous = (number > 1).then(|| number - 1);
        HeadFacts {
            number,
            kind,
            directory: DirectoryId([directory; 16]),
            previous,
            // One instant: what is not among the newest is one head of history.
            written_ms: 5_000,
            carries: false,
            oldest_piece: None,
        }
    }

    /// 1 released, 2 claim by 1, data …, a claim at `at` by `directory`, data up to `last`.
    fn history(at: u64, directory: u8, last: u64) -> Vec<HeadFacts> {
        (1..=last)
            .map(|number| match number {
                1 => head(1, HeadKind::Released, 0),
                2 => head(2, HeadKind::Claim, 1),
                n if n == at => head(n, HeadKind::Claim, directory),
                n if n > at => head(n, HeadKind::Data, directory),
                n => head(n, HeadKind::Data, 1),
            })
            .collect()
    }

    #[test]
    fn the_newest_stay() {
        assert_eq!(deletable(&history(50, 1, 200), HEADS_KEPT), Vec::<u64>::new());
        // The first stays as history.
        assert_eq!(deletable(&history(50, 1, 203), HEADS_KEPT), vec![2, 3]);
    }

    #[test]
    fn a_takeover_by_another_directory_keeps_its_claim_and_the_head_before() {
        let gone = deletable(&history(50, 2, 400), HEADS_KEPT);
        assert!(!gone.contains(&49) && !gone.contains(&50));
        assert_eq!(gone.len(), 197);
    }

    #[test]
    fn a_takeover_by_the_same_directory_keeps_nothing() {
        assert_eq!(deletable(&history(50, 1, 400), HEADS_KEPT).len(), 199);
    }

    #[test]
    fn a_takeover_after_a_release_keeps_nothing() {
        let mut heads = history(50, 2, 400);
        heads[48].kind = HeadKind::Released;
        assert_eq!(deletable(&heads, HEADS_KEPT).len(), 199);
    }

    /// Heads written one after the other, each `interval_ms` after the one before, thinned after each.
    fn left_of(
        count: u64,
        written_ms: impl Fn(u64) -> u64,
        oldest_piece: impl Fn(u64) -> Option<u64>,
    ) -> Vec<HeadFacts> {
        let mut heads = Vec::new();
        for number in 1..=count {
            let written_ms = written_ms(number);
            let oldest_piece = oldest_piece(number);
            let facts = head(number, HeadKind::Data, 1);
            heads.push(HeadFacts { written_ms, oldest_piece, carries: true, ..facts });
            let gone = deletable(&heads, HEADS_KEPT);
            heads.retain(|head| !gone.contains(&head.number));
            assert!(heads.len() <= 500, "{} heads", heads.len());
        }
        heads
    }

    #[test]
    fn history_thins_out_with_age() {
        let heads = left_of(40_000, |number| number * 1_000, |_| None);
        assert_eq!(heads.len(), 200 + 120 + 110);
        let ages: Vec<u64> = heads.iter().rev().map(|head| 40_000 - head.number).collect();
        assert_eq!(ages[199], 199);
        assert!(ages[200..319].windows(2).all(|pair| pair[1] - pair[0] == 10), "{ages:?}");
        assert!(ages[321..].windows(2).all(|pair| pair[1] - pair[0] == 60), "{ages:?}");
        assert!(*ages.last().unwrap() > 7_000, "two hours");
    }

    #[test]
    fn clocks_that_jump_change_no_bound() {
        left_of(3_000, |number| if number % 2 == 0 { 0 } else { number << 40 }, |_| None);
        left_of(3_000, |number| 1_000_000_000 - number * 20_000, |_| None);
        assert_eq!(left_of(3_000, |_| 7, |_| None).len(), 201);
    }

    #[test]
    fn heads_whose_pieces_are_needed_stay() {
        // Each names the pieces since the last multiple of 60.
        let from = |number: u64| {
            Some(number / 60 * 60 + 1).filter(|from| *from < number && !number.is_multiple_of(60))
        };
        let heads = left_of(3_000, |number| number * 5_000, from);
        for head in &heads[heads.len() - 200..] {
            let needed = head.oldest_piece.unwrap_or(head.number)..head.number;
            assert!(needed.into_iter().all(|number| heads.iter().any(|head| head.number == number)));
        }
    }
}
