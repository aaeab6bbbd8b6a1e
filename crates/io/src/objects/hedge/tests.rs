use std::time::Duration;

use bytes::Bytes;

use super::Hedge;
use crate::{
    Objects, Range, StoreErrorKind,
    objects::{
        Breaker,
        rehearsal::{Half, Stage, Virtual},
    },
    sync::Arc,
};

const MS: Duration = Duration::from_millis(1);
const RANGE: Range = Range::Bytes { start: 4096, end: 8192 };

fn good() -> Bytes {
    Bytes::from_static(b"good")
}

struct Bench {
    hedge: Hedge,
    breaker: Arc<Breaker>,
    stage: Arc<Stage>,
}

/// A store that answers in 20 ms, and a hedge that knows it.
async fn bench() -> Bench {
    let stage = Stage::new((MS * 20, Ok(good())));
    let clock = Virtual::new();
    let breaker = Arc::new(Breaker::new(stage.clone(), clock.clone(), Arc::new(Half)));
    let hedge = Hedge::new(breaker.clone(), clock);
    for _ in 0..100 {
        hedge.get("a", RANGE).await.unwrap();
    }
    assert_eq!((stage.requests(), hedge.sent()), (100, 0));
    Bench { hedge, breaker, stage }
}

#[tokio::test(start_paused = true)]
async fn a_slow_get_is_sent_again_and_the_first_answer_wins() {
    let Bench { hedge, stage, .. } = bench().await;
    stage.plan((MS * 5_000, Ok(good())));
    let begun = tokio::time::Instant::now();
    assert_eq!(hedge.get("a", RANGE).await.unwrap(), good());
    assert!(begun.elapsed() < MS * 50, "{:?}", begun.elapsed());
    assert_eq!((hedge.sent(), hedge.won()), (1, 1));
    assert_eq!(stage.asked()[100..], [RANGE, RANGE], "both ask for the same");
}

#[tokio::test(start_paused = true)]
async fn one_that_fails_leaves_the_other() {
    let Bench { hedge, stage, .. } = bench().await;
    stage.plan((MS * 60, Ok(good())));
    stage.plan((MS, Err(StoreErrorKind::Transient)));
    assert_eq!(hedge.get("a", RANGE).await.unwrap(), good());
    stage.plan((MS * 40, Err(StoreErrorKind::Transient)));
    stage.plan((MS * 100, Ok(good())));
    assert_eq!(hedge.get("a", RANGE).await.unwrap(), good());
    assert_eq!((hedge.sent(), hedge.won()), (2, 1));
    for _ in 0..2 {
        stage.plan((MS * 50, Err(StoreErrorKind::Transient)));
    }
    hedge.get("a", RANGE).await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn a_missing_object_is_an_answer() {
    let Bench { hedge, stage, .. } = bench().await;
    stage.plan((MS * 30, Err(StoreErrorKind::NotFound)));
    assert_eq!(hedge.get("a", RANGE).await.unwrap_err().kind, StoreErrorKind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn extra_requests_have_a_bound() {
    let Bench { hedge, stage, .. } = bench().await;
    // The store becomes a hundred times slower: all GETs are slow now.
    stage.set_usual((MS * 2_000, Ok(good())));
    futures_util::future::join_all((0..400).map(|_| hedge.get("a", RANGE))).await;
    assert_eq!((hedge.sent(), stage.requests()), (10, 510), "what was saved up, and no more");
    // It is slow for everybody: that is no reason to ask twice.
    for _ in 0..400 {
        hedge.get("a", RANGE).await.unwrap();
    }
    assert_eq!(hedge.sent(), 10);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_twice_to_a_store_in_trouble() {
    let Bench { hedge, breaker, stage } = bench().await;
    let before = stage.requests();
    // Most requests have begun to fail while this one was on its way.
    stage.plan((MS * 500, Ok(good())));
    (0..200).for_each(|_| stage.plan((Duration::ZERO, Err(StoreErrorKind::Transient))));
    let storm = async {
        tokio::time::sleep(MS).await;
        for number in 0..200 {
            let _ = breaker.list(if number % 2 == 0 { "a/" } else { "b/" }).await;
        }
    };
    let (answer, ()) = futures_util::future::join(hedge.get("a", RANGE), storm).await;
    answer.unwrap();
    assert_eq!(hedge.sent(), 0);
    assert!(stage.requests() > before + 1);
}

/// What it is for: one request in a hundred stalls for two seconds.
#[tokio::test(start_paused = true)]
async fn rare_stalls_are_cut_short() {
    let measure = async |hedged: bool| {
        let Bench { hedge, breaker, stage } = bench().await;
        let mut latencies = Vec::new();
        for number in 0_u64..10_000 {
            let busy = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33;
            if busy.is_multiple_of(100) {
                stage.plan((MS * 2_000, Ok(good())));
            } else {
                stage.plan((MS * (15 + (busy % 20) as u32), Ok(good())));
            }
            let begun = tokio::time::Instant::now();
            if hedged { hedge.get("a", RANGE).await } else { breaker.get("a", RANGE).await }.unwrap();
            latencies.push(begun.elapsed());
        }
        latencies.sort();
        let at = |of_ten_thousand: usize| latencies[of_ten_thousand].as_millis() as u64;
        ([at(5_000), at(9_900), at(9_990)], stage.requests() - 10_100)
    };
    let (without, _) = measure(false).await;
    let (with, extra) = measure(true).await;
    eprintln!("p50, p99, p99.9 in ms: {without:?} without, {with:?} with {extra} second GETs of 10,000");
    assert_eq!(without[2], 2_000);
    assert!(with[2] < 200 && extra <= 500, "{with:?} with {extra}");
}
