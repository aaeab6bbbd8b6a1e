//! What a server says of what it served.

use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use esker_frontend::nbd::{Kind, Timed, Traffic};

use crate::host::{Host, eventually};

const FUA: u16 = 1;

/// The counts of each kind, and the bytes.
fn of(traffic: &Traffic, kind: Kind) -> (u64, u64) {
    (traffic.requests[kind as usize], traffic.bytes[kind as usize])
}

/// How many were timed, and for how long together.
fn timed(traffic: &Traffic, timed: Timed) -> (u64, Duration) {
    let latency = &traffic.latency[timed as usize];
    (latency.buckets.iter().sum(), latency.sum)
}

#[test]
fn every_request_is_counted_once() {
    let host = Host::start();
    assert!(host.server.traffic().is_empty());
    let mut client = host.structured();
    eventually("the session", || host.server.traffic().get("memory").is_some_and(|sum| sum.connections == 1));
    assert_eq!(client.put(0, 0, &[1; 4096]), 0);
    assert_eq!(client.put(FUA, 4096, &[2; 512]), 0);
    // Larger than the receive buffer.
    assert_eq!(client.put(0, 0, &[3; 3 << 20]), 0);
    assert_eq!(client.ask(0, 0, 0, 2 << 20).errno, 0);
    assert_eq!(client.ask(0, 0, 0, 512).errno, 0);
    assert_eq!(client.ask(4, 0, 0, 8192).errno, 0);
    assert_eq!(client.ask(6, FUA, 0, 4096).errno, 0);
    assert_eq!(client.ask(3, 0, 0, 0).errno, 0);
    assert_eq!(client.ask(5, 0, 0, 4096).errno, 0);
    assert_eq!(client.ask(7, 0, 0, 4096).errno, 0);
    // Beyond the end: answered, and nothing else.
    assert_ne!(client.ask(0, 0, 1 << 40, 512).errno, 0);
    host.disk.late_reads.store(true, SeqCst);
    assert_eq!(client.ask(0, 0, 0, 1024).errno, 0);
    client.goodbye();
    eventually("the end", || host.server.traffic()["memory"].connections == 0);
    let traffic = host.server.traffic()["memory"].clone();
    assert_eq!(of(&traffic, Kind::Write), (3, 4096 + 512 + (3 << 20)));
    assert_eq!(of(&traffic, Kind::Read), (3, (2 << 20) + 512 + 1024));
    assert_eq!(of(&traffic, Kind::Trim), (1, 8192));
    assert_eq!(of(&traffic, Kind::Zero), (1, 4096));
    assert_eq!(of(&traffic, Kind::Flush), (1, 0));
    assert_eq!((of(&traffic, Kind::Cache).0, of(&traffic, Kind::Status).0, traffic.errors), (1, 1, 1));
    let counts = Timed::ALL.map(|kind| timed(&traffic, kind).0);
    assert_eq!(counts, [3, 3, 3], "of reads, of changes without FUA, of what was flushed");
    assert!(Timed::ALL.iter().all(|kind| timed(&traffic, *kind).1 > Duration::ZERO));
}

#[test]
fn connections_of_a_volume_add_up_and_slow_requests_take_long() {
    let host = Host::start();
    host.disk.change_milliseconds.store(200, SeqCst);
    let mut clients = [host.simple(), host.structured()];
    for client in &mut clients {
        assert_eq!(client.put(0, 0, &[1; 4096]), 0);
        assert_eq!(client.ask(0, 0, 0, 512).errno, 0);
        assert_eq!(client.ask(3, 0, 0, 0).errno, 0);
    }
    let now = || host.server.traffic()["memory"].clone();
    // A connection tells of a batch when it waits for the next.
    eventually("two flushes", || timed(&now(), Timed::Flush).0 == 2);
    let traffic = now();
    assert_eq!((traffic.connections, of(&traffic, Kind::Write)), (2, (2, 8192)));
    let (writes, time) = timed(&traffic, Timed::Write);
    assert!(writes == 2 && time >= Duration::from_millis(400), "{time:?}");
    let (reads, time) = timed(&traffic, Timed::Read);
    assert!(reads == 2 && time < Duration::from_millis(400), "{time:?}");
}
