use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use super::{super::Mutex, Event};

#[test]
fn a_notification_between_look_and_wait_is_not_lost() {
    let event = Event::new();
    let seen = event.generation();
    event.notify();
    let mut context = Context::from_waker(Waker::noop());
    assert_eq!(pin!(event.wait_past(seen)).poll(&mut context), Poll::Ready(1));
    assert_eq!(pin!(event.wait_past(1)).poll(&mut context), Poll::Pending);
    assert_eq!(event.blocking_wait_past(seen, Duration::ZERO), 1);
}

#[test]
fn a_blocking_wait_ends_with_its_time() {
    let event = Event::new();
    assert_eq!(event.blocking_wait_past(0, Duration::from_millis(5)), 0);
    assert_eq!(event.waiting.lock().threads, 0);
}

#[test]
fn a_blocking_wait_ends_with_a_notification() {
    let event = Arc::new(Event::new());
    let other = event.clone();
    let waiter = thread::spawn(move || other.blocking_wait_past(0, Duration::MAX));
    while event.waiting.lock().threads == 0 {
        thread::yield_now();
    }
    event.notify();
    assert_eq!(waiter.join().unwrap(), 1);
}

#[test]
fn a_wait_is_remembered_once_and_forgotten_when_dropped() {
    let event = Event::new();
    let mut context = Context::from_waker(Waker::noop());
    let mut first = Box::pin(event.wait_past(0));
    let mut second = Box::pin(event.wait_past(0));
    for _ in 0..100 {
        assert!(first.as_mut().poll(&mut context).is_pending());
        assert!(second.as_mut().poll(&mut context).is_pending());
    }
    assert_eq!(event.waiting.lock().wakers.len(), 2);
    drop(first);
    assert_eq!(event.waiting.lock().wakers.len(), 1);
    event.notify();
    assert_eq!(second.as_mut().poll(&mut context), Poll::Ready(1));
    drop(second);
    assert_eq!(event.waiting.lock().wakers.len(), 0);
}

/// Producer and consumers on several threads of tokio: every consumer sees the last value.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tasks_see_the_last_of_many_changes() {
    const LAST: u64 = 5_000;
    let state = Arc::new((Mutex::new(0_u64), Event::new()));
    let consumers: Vec<_> = (0..8)
        .map(|_| {
            let state = state.clone();
            tokio::spawn(async move {
                loop {
                    let seen = state.1.generation();
                    if *state.0.lock() == LAST {
                        return;
                    }
                    state.1.wait_past(seen).await;
                }
            })
        })
        .collect();
    for _ in 0..LAST {
        *state.0.lock() += 1;
        state.1.notify();
        tokio::task::yield_now().await;
    }
    for consumer in consumers {
        tokio::time::timeout(Duration::from_secs(30), consumer).await.expect("no wake-up is lost").unwrap();
    }
}
