use std::{
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use super::{
    super::atomic::{AtomicBool, Ordering},
    Sharded,
};

/// Two numbers that are equal whenever nobody holds the lock exclusively.
#[derive(Default)]
struct Pair {
    left: u64,
    right: u64,
}

#[test]
fn readers_never_see_half_a_change_and_no_change_is_lost() {
    const READERS: usize = 10;
    const WRITERS: usize = 4;
    const CHANGES: u64 = 2_000;
    let pair = Arc::new(Sharded::new(Pair::default()));
    let stop = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..READERS)
        .map(|_| {
            let (pair, stop) = (pair.clone(), stop.clone());
            thread::spawn(move || {
                let mut newest = 0;
                while !stop.load(Ordering::Relaxed) {
                    let pair = pair.read();
                    assert_eq!(pair.left, pair.right);
                    assert!(pair.left >= newest, "a later read sees an earlier state");
                    newest = pair.left;
                }
            })
        })
        .collect();
    let writers: Vec<_> = (0..WRITERS)
        .map(|_| {
            let pair = pair.clone();
            thread::spawn(move || {
                for _ in 0..CHANGES {
                    let mut pair = pair.write();
                    pair.left += 1;
                    std::hint::spin_loop();
                    pair.right += 1;
                }
            })
        })
        .collect();
    for writer in writers {
        writer.join().unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.join().unwrap();
    }
    let pair = Arc::into_inner(pair).unwrap().into_inner();
    assert_eq!((pair.left, pair.right), (WRITERS as u64 * CHANGES, WRITERS as u64 * CHANGES));
}

#[test]
fn readers_share_and_writers_do_not() {
    let lock = Arc::new(Sharded::new(7));
    let held = lock.read();
    let (sender, receiver) = mpsc::channel();
    let other = lock.clone();
    let reader = thread::spawn(move || assert_eq!(*other.read(), 7));
    reader.join().unwrap();
    let other = lock.clone();
    let writer = thread::spawn(move || {
        *other.write() = 8;
        sender.send(()).unwrap();
    });
    assert!(receiver.recv_timeout(Duration::from_millis(50)).is_err(), "a writer got in beside a reader");
    assert_eq!(*held, 7);
    drop(held);
    receiver.recv_timeout(Duration::from_secs(10)).expect("the writer gets in");
    writer.join().unwrap();
    assert_eq!(*lock.read(), 8);
}

#[test]
fn a_writer_is_not_starved_by_a_stream_of_readers() {
    let lock = Arc::new(Sharded::new(0_u64));
    let stop = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..16)
        .map(|_| {
            let (lock, stop) = (lock.clone(), stop.clone());
            thread::spawn(move || {
                let mut sum = 0_u64;
                while !stop.load(Ordering::Relaxed) {
                    sum = sum.wrapping_add(*lock.read());
                }
                sum
            })
        })
        .collect();
    let (sender, receiver) = mpsc::channel();
    let other = lock.clone();
    let writer = thread::spawn(move || {
        for _ in 0..100 {
            *other.write() += 1;
        }
        sender.send(()).unwrap();
    });
    let written = receiver.recv_timeout(Duration::from_secs(30));
    stop.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.join().unwrap();
    }
    written.expect("a hundred writes get through");
    writer.join().unwrap();
    assert_eq!(*lock.read(), 100);
}

#[test]
fn a_panicking_writer_poisons_for_everybody() {
    let lock = Arc::new(Sharded::new(0));
    let other = lock.clone();
    let writer = thread::spawn(move || {
        let _held = other.write();
        panic!("planted");
    });
    assert!(writer.join().is_err());
    for _ in 0..9 {
        let other = lock.clone();
        assert!(thread::spawn(move || *other.read()).join().is_err());
    }
}
