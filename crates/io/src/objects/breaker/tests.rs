use std::time::Duration;

use bytes::Bytes;

use super::{Breaker, BreakerState};
use crate::{
    Objects, Range, StoreErrorKind,
    objects::{
        Turn,
        rehearsal::{Half, Stage, Virtual},
    },
    sync::Arc,
};

const MS: Duration = Duration::from_millis(1);

fn away() -> Arc<Stage> {
    Stage::new((MS, Err(StoreErrorKind::Transient)))
}

fn breaker(stage: &Arc<Stage>) -> Breaker {
    Breaker::new(stage.clone(), Virtual::new(), Arc::new(Half))
}

async fn fail(breaker: &Breaker, times: usize) {
    for time in 0..times {
        let name = if time % 2 == 0 { "a" } else { "b" };
        breaker.get(name, Range::All).await.unwrap_err();
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_is_asked_no_more_than_a_probe_now_and_then() {
    let stage = away();
    let breaker = breaker(&stage);
    // An hour of somebody who asks ten times a second.
    for _ in 0..18_000 {
        fail(&breaker, 2).await;
        tokio::time::sleep(MS * 200).await;
    }
    assert_eq!(breaker.state(), BreakerState::Open);
    // A pause is 6 s on average.
    assert!((450..700).contains(&stage.requests()), "{} requests", stage.requests());
    assert_eq!(breaker.refused() as usize + stage.requests(), 36_000);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_turn_goes_on_soon_after_the_store_is_back() {
    let stage = away();
    let breaker = Arc::new(breaker(&stage));
    fail(&breaker, 8).await;
    let waiting: Vec<_> = (0..100)
        .map(|_| {
            let breaker = breaker.clone();
            tokio::spawn(async move {
                loop {
                    // As long as its own pause, in which it lets others go first.
                    tokio::time::sleep(MS * 10).await;
                    let turn = breaker.turn(MS * 1_000).await;
                    if turn != Turn::Later && breaker.put_new("a", Bytes::new()).await.is_ok() {
                        return turn;
                    }
                }
            })
        })
        .collect();
    tokio::time::sleep(MS * 600_000).await;
    let while_away = stage.requests();
    assert!(while_away < 8 + 120, "{while_away} requests in ten minutes");
    stage.set_usual((MS, Ok(Bytes::new())));
    let back = tokio::time::Instant::now();
    for waiting in waiting {
        waiting.await.unwrap();
    }
    assert!(back.elapsed() < MS * 10_000, "{:?}", back.elapsed());
    assert_eq!(stage.requests(), while_away + 100);
}

#[tokio::test(start_paused = true)]
async fn a_turn_is_not_waited_for_longer_than_asked() {
    let stage = away();
    let breaker = breaker(&stage);
    fail(&breaker, 8).await;
    let begun = tokio::time::Instant::now();
    assert_eq!(breaker.turn(MS * 100).await, Turn::Later);
    assert_eq!(begun.elapsed(), MS * 100);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_nobody_waits_for_blocks_nothing() {
    let stage = away();
    let breaker = breaker(&stage);
    fail(&breaker, 8).await;
    stage.set_usual((MS * 3_600_000, Ok(Bytes::new())));
    tokio::time::sleep(MS * 1_000).await;
    let probe = tokio::time::timeout(MS, breaker.get("a", Range::All)).await;
    probe.unwrap_err();
    stage.set_usual((MS, Ok(Bytes::new())));
    breaker.get("a", Range::All).await.unwrap();
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn refusals_and_missing_objects_are_answers() {
    for kind in [StoreErrorKind::Permanent, StoreErrorKind::NotFound, StoreErrorKind::Exists] {
        let stage = Stage::new((MS, Err(kind)));
        let breaker = breaker(&stage);
        fail(&breaker, 50).await;
        assert_eq!(breaker.state(), BreakerState::Closed, "{kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_throttled_try_waits_as_long_as_the_store_wants() {
    let stage = Stage::new((MS, Err(StoreErrorKind::Throttled(MS * 7_000))));
    let breaker = breaker(&stage);
    fail(&breaker, 1).await;
    let begun = tokio::time::Instant::now();
    assert_eq!(breaker.turn(MS * 30_000).await, Turn::Now, "it was sent, so it costs a token");
    assert!(begun.elapsed() >= MS * 6_990, "{:?}", begun.elapsed());
}
