//! Which heads of a volume may be deleted.

use esker_format::{
    head::{Head, HeadKind},
    ids::DirectoryId,
};

/// The default number of heads that are kept besides those that a rule keeps.
pub const HEADS_KEPT: usize = 100;

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
}

impl HeadFacts {
    /// The facts of `head`.
    pub fn of(head: &Head) -> Self {
        Self {
            number: head.number,
            kind: head.kind,
            directory: head.directory,
            previous: head.previous.map(|previous| previous.number),
        }
    }
}

/// The heads that may go, oldest first. `heads` are all that exist, in ascending order.
///
/// Rule H1: a claim and the head before it stay, so that the only number which the previous writer can
/// still try is taken for ever — unless that writer is known to have ended: its last head is a release,
/// or the claim was made by a run that holds the lock of the same local directory.
pub fn deletable(heads: &[HeadFacts], kept: usize) -> Vec<u64> {
    let candidates = &heads[..heads.len().saturating_sub(kept.max(1))];
    candidates.iter().filter(|head| !is_kept(head, heads)).map(|head| head.number).collect()
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
        HeadFacts { number, kind, directory: DirectoryId([directory; 16]), previous }
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
    fn the_newest_hundred_stay() {
        assert_eq!(deletable(&history(50, 1, 100), HEADS_KEPT), Vec::<u64>::new());
        assert_eq!(deletable(&history(50, 1, 103), HEADS_KEPT), vec![1, 2, 3]);
    }

    #[test]
    fn a_takeover_by_another_directory_keeps_its_claim_and_the_head_before() {
        let gone = deletable(&history(50, 2, 300), HEADS_KEPT);
        assert!(!gone.contains(&49) && !gone.contains(&50));
        assert_eq!(gone.len(), 198);
    }

    #[test]
    fn a_takeover_by_the_same_directory_keeps_nothing() {
        assert_eq!(deletable(&history(50, 1, 300), HEADS_KEPT).len(), 200);
    }

    #[test]
    fn a_takeover_after_a_release_keeps_nothing() {
        let mut heads = history(50, 2, 300);
        heads[48].kind = HeadKind::Released;
        assert_eq!(deletable(&heads, HEADS_KEPT).len(), 200);
    }
}
