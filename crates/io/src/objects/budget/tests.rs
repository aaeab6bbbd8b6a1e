use std::time::Duration;

use bytes::Bytes;

use super::{Budget, TRIES_SAVED_MAX};
use crate::{
    Objects, Random, Range, StoreErrorKind,
    objects::{
        Retry, RetryLimits, Turn,
        rehearsal::{Half, Stage, Virtual},
    },
    sync::Arc,
};

const MS: Duration = Duration::from_millis(1);

#[tokio::test(start_paused = true)]
async fn tries_are_a_tenth_of_the_requests_and_a_few_a_second() {
    let stage = Stage::new((MS, Err(StoreErrorKind::Transient)));
    let clock = Virtual::new();
    let budget = Arc::new(Budget::new(stage.clone(), clock.clone()));
    let random: Arc<dyn Random> = Arc::new(Half);
    let limits = RetryLimits { deadline: MS * 5_000, ..RetryLimits::default() };
    let retry = Arc::new(Retry::new(budget.clone(), clock, random).with_limits(limits));
    // A thousand reads at once, none of which succeeds.
    let reads: Vec<_> = (0..1_000)
        .map(|_| {
            let retry = retry.clone();
            tokio::spawn(async move { retry.get("a", Range::All).await.unwrap_err() })
        })
        .collect();
    let begun = tokio::time::Instant::now();
    for read in reads {
        read.await.unwrap();
    }
    assert!(begun.elapsed() <= MS * 5_100, "the deadline holds: {:?}", begun.elapsed());
    let tries = stage.requests() - 1_000;
    // What was saved, what the thousand earned, what five seconds brought, and a tenth of the tries themselves.
    assert!((150..=(100 + 100 + 50) * 10 / 9 + 1).contains(&tries), "{tries} tries");
    assert!(budget.waits() > 0 && budget.tries() as usize == tries);
}

#[tokio::test(start_paused = true)]
async fn a_quiet_daemon_goes_on() {
    let stage = Stage::new((MS, Ok(Bytes::new())));
    let budget = Budget::new(stage, Virtual::new());
    for _ in 0..TRIES_SAVED_MAX {
        assert_eq!(budget.turn(Duration::ZERO).await, Turn::Now);
    }
    assert_eq!(budget.turn(Duration::ZERO).await, Turn::Later);
    let begun = tokio::time::Instant::now();
    for _ in 0..20 {
        assert_eq!(budget.turn(MS * 1_000).await, Turn::Now);
    }
    assert!(begun.elapsed() <= MS * 2_100, "{:?}", begun.elapsed());
}
