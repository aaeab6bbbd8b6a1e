//! Stopping: what is in progress finishes, what comes later is refused, and it ends in time.

use std::{
    sync::atomic::Ordering::SeqCst,
    thread,
    time::{Duration, Instant},
};

use esker_frontend::nbd::Limits;

use crate::host::{Host, SIZE, eventually};

#[test]
fn idle_connections_are_closed_and_the_socket_file_is_gone() {
    let host = Host::start();
    let mut idle = host.simple();
    let mut greeting = host.connect();
    greeting.greet();
    assert!(host.socket.exists());
    let start = Instant::now();
    host.server.stop();
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert!(!host.socket.exists());
    assert_eq!(host.server.connections(), 0);
    assert!(idle.closed());
    assert!(greeting.closed());
    host.server.stop();
}

#[test]
fn requests_in_progress_finish_and_later_ones_are_refused() {
    let host = Host::start();
    let mut client = host.structured();
    host.disk.change_milliseconds.store(500, SeqCst);
    client.send_write(0, 1, 0, b"in progress");
    eventually("the change", || host.disk.batches.lock().unwrap().len() == 1);
    client.send(0, 0, 2, 0, 512);
    client.send_write(0, 3, 0, b"too late");
    client.send(3, 0, 4, 0, 0);
    host.server.stop();
    for (cookie, errno) in [(1, 0), (2, 108), (3, 108), (4, 108)] {
        let reply = client.reply();
        assert_eq!((reply.cookie, reply.errno), (cookie, errno));
    }
    assert!(client.closed());
    assert_eq!(host.disk.bytes(0, 11), b"in progress");
}

#[test]
fn late_requests_finish_too() {
    let host = Host::start();
    let mut client = host.structured();
    host.disk.late_changes.store(true, SeqCst);
    host.disk.gated.store(true, SeqCst);
    client.send_write(1, 1, 0, b"late");
    eventually("the late call", || host.disk.late_calls.load(SeqCst) == 1);
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(200));
            host.disk.gate.add_permits(1);
        });
        host.server.stop();
    });
    assert_eq!(client.reply().errno, 0);
    assert!(client.closed());
    assert_eq!(host.disk.bytes(0, 4), b"late");
}

#[test]
fn what_never_finishes_is_left_in_time() {
    let limits = Limits { stop: Duration::from_millis(300), ..Limits::default() };
    let host = Host::with(SIZE, limits);
    let mut waiting = host.structured();
    host.disk.late_reads.store(true, SeqCst);
    host.disk.gated.store(true, SeqCst);
    waiting.send(0, 0, 1, 0, 512);
    eventually("the late call", || host.disk.late_calls.load(SeqCst) == 1);
    let start = Instant::now();
    host.server.stop();
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert_eq!(host.server.connections(), 0);
    assert!(waiting.closed());
}

#[test]
fn a_client_that_does_not_read_cannot_hold_up_the_stop() {
    let limits = Limits { stop: Duration::from_millis(300), ..Limits::default() };
    let host = Host::with(SIZE, limits);
    let mut client = host.simple();
    client.send(0, 0, 1, 0, 8 << 20);
    thread::sleep(Duration::from_millis(100));
    let start = Instant::now();
    host.server.stop();
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert_eq!(host.server.connections(), 0);
}
