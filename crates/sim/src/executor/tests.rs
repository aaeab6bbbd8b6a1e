use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use esker_io::{Clock, Cpu};

use super::{Executor, Group, Halt};
use crate::{Prng, SimClock, SimCpu, Trace};

fn executor(seed: u64) -> Executor {
    Executor::new(Prng::new(seed), Trace::new(0), 10_000)
}

/// Ten tasks that each log three times, with waits between; the order in which the lines came.
fn schedule(seed: u64) -> (Vec<u32>, String) {
    let executor = executor(seed);
    let clock = SimClock::new(executor.clone(), 0);
    let log = Arc::new(Mutex::new(Vec::new()));
    let tasks: Vec<_> = (0..10)
        .map(|number| {
            let (clock, log) = (clock.clone(), log.clone());
            executor.spawn(Group::NONE, "worker", async move {
                for _ in 0..3 {
                    log.lock().unwrap().push(number);
                    clock.sleep(Duration::from_millis(5)).await;
                }
            })
        })
        .collect();
    executor
        .run_until(async {
            for task in tasks {
                task.await.unwrap();
            }
        })
        .unwrap();
    assert_eq!(executor.now(), Duration::from_millis(15));
    let lines = log.lock().unwrap().clone();
    (lines, executor.trace().digest())
}

#[test]
fn a_seed_is_one_schedule() {
    assert_eq!(schedule(1), schedule(1));
    let digests: std::collections::BTreeSet<String> = (0..20).map(|seed| schedule(seed).1).collect();
    assert_eq!(digests.len(), 20, "different seeds give different schedules");
}

#[test]
fn time_moves_only_when_nothing_is_ready() {
    let executor = executor(1);
    let clock = SimClock::new(executor.clone(), 1_000);
    executor
        .run_until(async {
            assert_eq!(clock.monotonic(), Duration::ZERO);
            clock.sleep(Duration::from_secs(86_400)).await;
            assert_eq!(clock.monotonic(), Duration::from_secs(86_400));
        })
        .unwrap();
    assert_eq!(clock.wall_ms(), 86_401_000);
}

#[test]
fn run_for_ends_exactly_there() {
    let executor = executor(1);
    let clock = SimClock::new(executor.clone(), 0);
    let ticks = Arc::new(Mutex::new(0));
    let counted = ticks.clone();
    executor.spawn(Group::NONE, "ticker", async move {
        loop {
            clock.sleep(Duration::from_secs(1)).await;
            *counted.lock().unwrap() += 1;
        }
    });
    executor.run_for(Duration::from_millis(3_500)).unwrap();
    assert_eq!((*ticks.lock().unwrap(), executor.now()), (3, Duration::from_millis(3_500)));
    executor.run_for(Duration::from_millis(500)).unwrap();
    assert_eq!(*ticks.lock().unwrap(), 4);
    executor.close();
}

#[test]
fn a_wait_for_nothing_is_reported_with_names() {
    let executor = executor(1);
    for _ in 0..2 {
        executor.spawn(Group::NONE, "upload", std::future::pending::<()>());
    }
    let halt = executor.run_until(std::future::pending::<()>()).unwrap_err();
    assert_eq!(halt, Halt::Stuck { now: Duration::ZERO, waiting: "main ×1, upload ×2".into() });
    executor.close();
}

#[test]
fn a_dropped_sleep_leaves_no_timer() {
    let executor = executor(1);
    let clock = SimClock::new(executor.clone(), 0);
    let halt = executor.run_until(async {
        let mut sleep = clock.sleep(Duration::from_secs(1));
        assert!(futures_util::poll!(&mut sleep).is_pending());
        drop(sleep);
        std::future::pending::<()>().await;
    });
    assert!(matches!(halt, Err(Halt::Stuck { now: Duration::ZERO, .. })));
}

#[test]
fn a_loop_that_never_waits_spends_the_budget() {
    let executor = executor(1);
    let halt = executor.run_until(std::future::poll_fn(|context| {
        context.waker().wake_by_ref();
        std::task::Poll::<()>::Pending
    }));
    assert!(matches!(halt, Err(Halt::Budget { steps: 10_000, .. })));
}

#[test]
fn a_cancelled_group_is_dropped_and_takes_no_more() {
    let executor = executor(1);
    let group = executor.group();
    let task = executor.spawn(group, "victim", std::future::pending::<()>());
    let other = executor.spawn(Group::NONE, "other", async { 7 });
    executor.cancel(group);
    assert_eq!(executor.run_until(task).unwrap(), Err(crate::Cancelled));
    assert_eq!(executor.run_until(other).unwrap(), Ok(7));
    let late = executor.spawn(group, "late", async { panic!("a dead group runs nothing") });
    executor.run_for(Duration::from_secs(1)).unwrap();
    assert!(!late.is_done());
    executor.close();
}

#[test]
fn a_task_may_cancel_its_own_group() {
    let executor = executor(1);
    let group = executor.group();
    let own = executor.clone();
    let task = executor.spawn(group, "suicide", async move {
        own.cancel(group);
        std::future::pending::<()>().await;
    });
    assert_eq!(executor.run_until(task).unwrap(), Err(crate::Cancelled));
}

#[test]
fn a_paused_group_waits_while_time_goes_on() {
    let executor = executor(1);
    let clock = SimClock::new(executor.clone(), 0);
    let group = executor.group();
    let task = executor.spawn(group, "sleeper", async move {
        clock.sleep(Duration::from_secs(1)).await;
        clock.monotonic()
    });
    executor.run_for(Duration::from_millis(1)).unwrap();
    executor.pause(group, true);
    executor.run_for(Duration::from_secs(600)).unwrap();
    assert!(!task.is_done());
    executor.pause(group, false);
    assert_eq!(executor.run_until(task).unwrap(), Ok(Duration::from_millis(600_001)));
}

#[test]
fn wall_time_jumps_and_freezes_and_monotonic_time_does_not() {
    let executor = executor(1);
    let clock = SimClock::new(executor.clone(), 10_000);
    clock.jump_wall(-4_000);
    assert_eq!(clock.wall_ms(), 6_000);
    clock.jump_wall(-60_000);
    assert_eq!(clock.wall_ms(), 0);
    clock.set_wall(5_000);
    executor.run_for(Duration::from_secs(1)).unwrap();
    assert_eq!(clock.wall_ms(), 6_000);
    clock.freeze_wall();
    executor.run_for(Duration::from_secs(1)).unwrap();
    assert_eq!((clock.wall_ms(), clock.monotonic()), (6_000, Duration::from_secs(2)));
}

#[test]
fn processor_jobs_run_later_as_steps_of_their_own() {
    let executor = executor(1);
    let cpu = SimCpu::new(executor.clone(), executor.group(), Prng::new(2), Duration::from_millis(3));
    let ran = Arc::new(Mutex::new(false));
    let flag = ran.clone();
    cpu.submit(Box::new(move || *flag.lock().unwrap() = true));
    assert!(!*ran.lock().unwrap());
    let answers = executor.run_until(async {
        let jobs = (0..8).map(|number| esker_io::run(&cpu, move || number * 2));
        futures_util::future::join_all(jobs).await
    });
    assert_eq!(answers.unwrap(), (0..8).map(|number| number * 2).collect::<Vec<_>>());
    executor.run_for(Duration::from_millis(3)).unwrap();
    assert!(*ran.lock().unwrap());
}
