use std::{sync::mpsc, thread, time::Duration};

use super::{
    super::{Cpu, run},
    CpuPool,
};
use crate::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

#[test]
fn a_drop_runs_what_is_queued() {
    let done = Arc::new(AtomicUsize::new(0));
    let pool = CpuPool::new(2).unwrap();
    assert_eq!(pool.threads(), 2);
    for _ in 0..500 {
        let done = done.clone();
        pool.submit(Box::new(move || {
            done.fetch_add(1, Ordering::Relaxed);
        }));
    }
    drop(pool);
    assert_eq!(done.load(Ordering::Relaxed), 500);
}

#[tokio::test]
async fn answers_come_back_and_a_panic_ends_one_job_only() {
    let pool = CpuPool::new(1).unwrap();
    let panicking = tokio::spawn(run(&pool, || -> u8 { panic!("planted") }));
    assert!(panicking.await.is_err());
    let name = run(&pool, || thread::current().name().map(str::to_owned)).await;
    assert_eq!(name.as_deref(), Some("esker-cpu-0"));
}

#[test]
fn the_depth_counts_queued_and_running_jobs() {
    let pool = CpuPool::new(1).unwrap();
    let (sender, receiver) = mpsc::channel::<()>();
    pool.submit(Box::new(move || receiver.recv().unwrap()));
    pool.submit(Box::new(|| {}));
    assert_eq!(pool.depth(), 2);
    sender.send(()).unwrap();
    for _ in 0..10_000 {
        if pool.depth() == 0 {
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
    panic!("{} jobs left", pool.depth());
}

#[test]
fn its_own_job_may_drop_the_pool() {
    let pool = Arc::new(CpuPool::new(2).unwrap());
    let (sender, receiver) = mpsc::channel::<()>();
    let held = pool.clone();
    let (gate, wait) = mpsc::channel::<()>();
    pool.submit(Box::new(move || {
        wait.recv().unwrap();
        drop(held);
        sender.send(()).unwrap();
    }));
    drop(pool);
    gate.send(()).unwrap();
    receiver.recv_timeout(Duration::from_secs(10)).expect("the job comes to its end");
}

#[test]
fn what_a_guest_waits_for_runs_before_what_can_wait() {
    let pool = CpuPool::new(1).unwrap();
    let (gate, opened) = std::sync::mpsc::channel::<()>();
    let (done, order) = std::sync::mpsc::channel();
    // The one thread is held until all jobs are queued.
    pool.submit(Box::new(move || opened.recv().unwrap()));
    for name in ["later 1", "later 2"] {
        let done = done.clone();
        pool.submit(Box::new(move || done.send(name).unwrap()));
    }
    for name in ["first 1", "first 2"] {
        let done = done.clone();
        pool.submit_first(Box::new(move || done.send(name).unwrap()));
    }
    gate.send(()).unwrap();
    drop((done, pool));
    assert_eq!(order.iter().collect::<Vec<_>>(), ["first 1", "first 2", "later 1", "later 2"]);
}
