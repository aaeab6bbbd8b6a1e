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

/// Which go while all are young.
fn gone(heads: &[HeadFacts]) -> Vec<u64> {
    deletable(heads, of_seconds(3_600), 5_000)
}

#[test]
fn the_newest_stay() {
    assert_eq!(gone(&history(50, 1, 200)), Vec::<u64>::new());
    // The first stays as history.
    assert_eq!(gone(&history(50, 1, 203)), vec![2, 3]);
}

#[test]
fn a_takeover_by_another_directory_keeps_its_claim_and_the_head_before() {
    let gone = gone(&history(50, 2, 400));
    assert!(!gone.contains(&49) && !gone.contains(&50));
    assert_eq!(gone.len(), 197);
}

#[test]
fn a_takeover_by_the_same_directory_keeps_nothing() {
    assert_eq!(gone(&history(50, 1, 400)).len(), 199);
}

#[test]
fn a_takeover_after_a_release_keeps_nothing() {
    let mut heads = history(50, 2, 400);
    heads[48].kind = HeadKind::Released;
    assert_eq!(gone(&heads).len(), 199);
}

/// Heads written one after the other, thinned after each.
fn left_of(
    count: u64,
    keep: Keep,
    written_ms: impl Fn(u64) -> u64,
    oldest_piece: impl Fn(u64) -> Option<u64>,
) -> Vec<HeadFacts> {
    let mut heads = Vec::new();
    for number in 1..=count {
        let (written_ms, oldest_piece) = (written_ms(number), oldest_piece(number));
        let facts = head(number, HeadKind::Data, 1);
        heads.push(HeadFacts { written_ms, oldest_piece, carries: true, ..facts });
        let gone = deletable(&heads, keep, written_ms);
        assert!(!gone.contains(&number), "the newest");
        heads.retain(|head| !gone.contains(&head.number));
        assert!(heads.len() <= 500, "{} heads", heads.len());
    }
    heads
}

fn of_seconds(seconds: u32) -> Keep {
    Keep { heads: HEADS_KEPT, history: History::of_seconds(seconds).unwrap() }
}

/// The last head before each instant of the history is away from it by no more than so much of its age, in thousandths.
fn expect_near(heads: &[HeadFacts], (now_ms, interval_ms): (u64, u64), keep: Keep, thousandths: u64) {
    for age_ms in (0..keep.history.ms()).step_by(7_000) {
        let instant = now_ms - age_ms;
        let before = heads.iter().rev().find(|head| head.written_ms <= instant);
        let away = instant - before.unwrap_or_else(|| panic!("nothing is {age_ms} ms old")).written_ms;
        // Nothing is nearer than the heads were, or than the first tier is wide.
        let least = interval_ms.max(INTERVAL_MS);
        assert!(away <= (age_ms * thousandths / 1_000).max(least), "{away} at an age of {age_ms} ms");
    }
}

#[test]
fn every_instant_of_the_history_has_a_head_near_it() {
    for (seconds, interval_ms, thousandths) in
        [(3_600, 1_000, 27), (86_400, 5_000, 50), (86_400 * 7, 60_000, 60)]
    {
        let (keep, count) = (of_seconds(seconds), u64::from(seconds) * 1_200 / interval_ms);
        let heads = left_of(count, keep, |number| number * interval_ms, |_| None);
        expect_near(&heads, (count * interval_ms, interval_ms), keep, thousandths);
        let oldest = heads[0].written_ms;
        assert!(oldest >= count * interval_ms - keep.history.ms() * 11 / 10, "older than the history");
    }
}

#[test]
fn the_shape_reaches_back_for_the_history() {
    for (seconds, tiers, heads) in [(0, 1, 230), (3_600, 3, 76), (86_400, 9, 25), (3_650 * 86_400, 22, 10)] {
        assert_eq!(shape(230, History::of_seconds(seconds).unwrap()), (tiers, heads));
    }
}

#[test]
fn heads_older_than_the_history_go() {
    let written = |count: u64| -> Vec<HeadFacts> {
        let at = |number: u64| HeadFacts { written_ms: number * 60_000, ..head(number, HeadKind::Data, 1) };
        (1..=count).map(at).collect()
    };
    let (heads, keep) = (written(10), of_seconds(180));
    assert_eq!(deletable(&heads, keep, 600_000), (1..=6).collect::<Vec<_>>());
    // What was the state three minutes ago stays, however long before that it was written.
    assert_eq!(deletable(&heads, keep, 779_999), (1..=8).collect::<Vec<_>>());
    assert_eq!(next_expiry(&heads, keep.history, 779_999), Some(780_000));
    assert_eq!(deletable(&heads, keep, 780_000), (1..=9).collect::<Vec<_>>());
    assert_eq!(deletable(&heads, of_seconds(0), 600_000), (1..=9).collect::<Vec<_>>());
    assert_eq!(next_expiry(&heads, keep.history, 780_000), None);
    // The newest stays for ever, and what a rule keeps.
    assert_eq!(deletable(&heads, keep, u64::MAX), (1..=9).collect::<Vec<_>>());
    let mut taken_over = heads.clone();
    taken_over[4] = HeadFacts { written_ms: 300_000, ..head(5, HeadKind::Claim, 2) };
    assert_eq!(deletable(&taken_over, keep, u64::MAX), [1, 2, 3, 6, 7, 8, 9]);
    let mut pieces = heads;
    pieces.iter_mut().for_each(|head| head.carries = true);
    pieces[9].oldest_piece = Some(7);
    assert_eq!(deletable(&pieces, keep, u64::MAX), (1..=6).collect::<Vec<_>>());
}

#[test]
fn clocks_that_jump_change_no_bound() {
    for keep in [of_seconds(0), of_seconds(3_600), of_seconds(3_650 * 86_400)] {
        left_of(3_000, keep, |number| if number % 2 == 0 { 0 } else { number << 40 }, |_| None);
        left_of(3_000, keep, |number| 1_000_000_000 - number * 20_000, |_| None);
    }
    assert_eq!(left_of(3_000, of_seconds(3_600), |_| 7, |_| None).len(), 201);
}

#[test]
fn heads_whose_pieces_are_needed_stay() {
    // Each names the pieces since the last multiple of 60.
    let from =
        |number: u64| Some(number / 60 * 60 + 1).filter(|from| *from < number && !number.is_multiple_of(60));
    for keep in [of_seconds(0), of_seconds(60), of_seconds(3_600)] {
        let heads = left_of(3_000, keep, |number| number * 5_000, from);
        for head in &heads[heads.len().saturating_sub(200)..] {
            // Expired carriers may themselves name some that are gone.
            let young = (3_000 - head.number) * 5_000 < keep.history.ms();
            let oldest = head.oldest_piece.filter(|_| young || head.number == 3_000);
            let needed = oldest.unwrap_or(head.number)..head.number;
            assert!(needed.into_iter().all(|number| heads.iter().any(|head| head.number == number)));
        }
    }
}
