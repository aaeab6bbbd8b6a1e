use std::{
    future::{pending, ready},
    time::Duration,
};

use super::{Either, either, timeout};
use crate::SystemClock;

#[tokio::test]
async fn the_first_of_two_that_are_ready_counts() {
    assert_eq!(either(ready(1), ready(2)).await, Either::Left(1));
    assert_eq!(either(pending::<u8>(), ready(2)).await, Either::Right(2));
}

#[tokio::test]
async fn a_timeout_gives_up_or_passes_the_answer() {
    let clock = SystemClock::new();
    assert_eq!(timeout(&clock, Duration::from_secs(60), ready(3)).await, Some(3));
    assert_eq!(timeout(&clock, Duration::from_millis(2), pending::<u8>()).await, None);
}
