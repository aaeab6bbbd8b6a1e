//! Requests that have to wait: they hold up nothing else, and each is answered once.

use std::{
    net::Shutdown,
    sync::atomic::Ordering::SeqCst,
    time::{Duration, Instant},
};

use esker_frontend::nbd::Limits;

use crate::{
    client::request,
    host::{Host, SIZE, eventually, pattern},
};

#[test]
fn late_requests_are_answered() {
    for structured in [false, true] {
        let host = Host::with(64 << 20, Default::default());
        let mut client = if structured { host.structured() } else { host.simple() };
        host.disk.late_reads.store(true, SeqCst);
        host.disk.late_changes.store(true, SeqCst);
        for length in [1, 5000, 1 << 20, 3 << 20, 32 << 20] {
            let data = pattern(length as u64, length);
            assert_eq!(client.put(0, 1, &data), 0);
            let reply = client.ask(0, 0, 1, length as u32);
            assert!(reply.bytes() == data, "{length} bytes");
        }
        assert_eq!(client.ask(4, 0, 0, 4096).errno, 0);
        assert_eq!(client.ask(6, 0, 8192, 4096).errno, 0);
        assert_eq!(host.disk.late_calls.load(SeqCst), 12);
        client.goodbye();
    }
}

#[test]
fn a_late_change_with_fua_is_flushed_before_its_reply() {
    let host = Host::start();
    let mut client = host.simple();
    host.disk.late_changes.store(true, SeqCst);
    host.disk.gated.store(true, SeqCst);
    client.send_write(1, 1, 0, b"late");
    eventually("the late call", || host.disk.late_calls.load(SeqCst) == 1);
    // A flush does not wait for what was not acknowledged.
    client.send(3, 0, 2, 0, 0);
    assert_eq!(client.reply().cookie, 2);
    assert_eq!(host.disk.flushes.load(SeqCst), 1);
    host.disk.gate.add_permits(1);
    let reply = client.reply();
    assert_eq!((reply.cookie, reply.errno), (1, 0));
    assert_eq!(host.disk.flushes.load(SeqCst), 2);
}

#[test]
fn others_overtake_a_late_request() {
    let host = Host::start();
    let mut client = host.structured();
    host.disk.late_reads.store(true, SeqCst);
    host.disk.gated.store(true, SeqCst);
    client.send(0, 0, 1, 0, 4096);
    eventually("the late call", || host.disk.late_calls.load(SeqCst) == 1);
    host.disk.late_reads.store(false, SeqCst);
    for _ in 0..100 {
        assert_eq!(client.ask(0, 0, 4096, 4096).errno, 0);
        assert_eq!(client.put(0, 8192, b"quick"), 0);
    }
    host.disk.gate.add_permits(1);
    assert_eq!(client.reply().cookie, 1);
    client.goodbye();
}

#[test]
fn the_number_of_late_requests_is_bounded() {
    let host = Host::start();
    let mut client = host.simple();
    host.disk.late_reads.store(true, SeqCst);
    host.disk.gated.store(true, SeqCst);
    let mut bytes = Vec::new();
    for cookie in 0..300 {
        bytes.extend(request(0, 0, cookie, cookie * 512, 512));
    }
    client.send_raw(&bytes, &(0..300).map(|cookie| (cookie, 512)).collect::<Vec<_>>());
    eventually("128 late calls", || host.disk.late_calls.load(SeqCst) == 128);
    std::thread::sleep(std::time::Duration::from_millis(100));
    assert_eq!(host.disk.late_calls.load(SeqCst), 128);
    host.disk.gate.add_permits(300);
    let mut seen: Vec<u64> = (0..300).map(|_| client.reply().cookie).collect();
    seen.sort_unstable();
    assert!(seen.into_iter().eq(0..300));
    client.goodbye();
}

#[test]
fn the_bytes_of_late_requests_are_bounded() {
    let host = Host::with(32 << 20, Default::default());
    let mut client = host.simple();
    host.disk.late_reads.store(true, SeqCst);
    host.disk.gated.store(true, SeqCst);
    for cookie in 0..10 {
        client.send(0, 0, cookie, 0, 20 << 20);
    }
    eventually("3 late calls", || host.disk.late_calls.load(SeqCst) == 3);
    std::thread::sleep(std::time::Duration::from_millis(100));
    assert_eq!(host.disk.late_calls.load(SeqCst), 3, "a fourth would hold 80 MiB");
    host.disk.gate.add_permits(10);
    for _ in 0..10 {
        assert_eq!(client.reply().bytes().len(), 20 << 20);
    }
    client.goodbye();
}

#[test]
fn a_task_that_panics_is_an_input_output_error() {
    let host = Host::start();
    let mut client = host.structured();
    host.disk.late_reads.store(true, SeqCst);
    host.disk.late_changes.store(true, SeqCst);
    host.disk.panics.store(true, SeqCst);
    assert_eq!(client.ask(0, 0, 0, 512).errno, 5);
    assert_eq!(client.put(1, 0, b"data"), 5);
    assert_eq!(client.ask(5, 0, 0, 512).errno, 5);
    host.disk.panics.store(false, SeqCst);
    assert_eq!(client.ask(0, 0, 0, 512).errno, 0);
    client.goodbye();
}

#[test]
fn a_client_that_sends_no_more_still_gets_its_replies() {
    let host = Host::start();
    for polite in [false, true] {
        let mut client = host.simple();
        host.disk.late_reads.store(true, SeqCst);
        host.disk.gated.store(true, SeqCst);
        let before = host.disk.late_calls.load(SeqCst);
        client.send(0, 0, 1, 0, 512);
        if polite {
            client.send(2, 0, 0, 0, 0);
        } else {
            client.stream.shutdown(Shutdown::Write).unwrap();
        }
        eventually("the late call", || host.disk.late_calls.load(SeqCst) > before);
        host.disk.gate.add_permits(1);
        assert_eq!(client.reply().bytes(), [0; 512]);
        assert!(client.closed());
    }
}

#[test]
fn a_client_that_leaves_loses_only_its_replies() {
    let host = Host::start();
    let mut client = host.simple();
    host.disk.late_changes.store(true, SeqCst);
    host.disk.gated.store(true, SeqCst);
    client.send_write(0, 1, 0, b"late");
    eventually("the late call", || host.disk.late_calls.load(SeqCst) == 1);
    drop(client);
    host.assert_alive();
    host.disk.gate.add_permits(1);
    eventually("the late write", || host.disk.bytes(0, 4) == b"late");
    eventually("the end of all connections", || host.server.connections() == 0);
}

#[test]
fn changes_wait_for_the_device_and_reads_do_not() {
    let host = Host::with(SIZE, Limits { stop: Duration::from_millis(300), ..Limits::default() });
    let mut client = host.simple();
    host.disk.pause_milliseconds.store(100, SeqCst);
    let begun = Instant::now();
    assert_eq!(client.put(0, 0, &[1; 8192]), 0);
    let mut bytes = request(1, 0, 7, 0, 4096);
    bytes.extend([2; 4096]);
    bytes.extend(request(0, 0, 8, 4096, 4096));
    client.send_raw(&bytes, &[(8, 4096)]);
    let (first, second) = (client.reply(), client.reply());
    assert_eq!((first.cookie, second.cookie), (8, 7), "the read is answered before the write that waits");
    assert!(first.bytes() == [1; 4096]);
    assert!(begun.elapsed() >= Duration::from_millis(100), "the second write waited");
    assert_eq!(client.ask(4, 0, 0, 4096).errno, 0);
    assert!(begun.elapsed() >= Duration::from_millis(200), "a trim waits too");
    // The pause is asked for behind the reply; the next request of the same connection comes behind that.
    assert!(client.ask(0, 0, 0, 4096).bytes() == [0; 4096]);
    assert_eq!(host.disk.paused_for.load(SeqCst), 8192 + 4096 + 4096);
    host.disk.pause_milliseconds.store(60_000, SeqCst);
    assert_eq!(client.put(0, 0, &[3; 4096]), 0);
    assert!(client.ask(0, 0, 0, 4096).bytes() == [3; 4096], "reads go on");
    bytes = request(1, 0, 7, 0, 4096);
    bytes.extend([4; 4096]);
    bytes.extend(request(0, 0, 8, 0, 4096));
    client.send_raw(&bytes, &[(8, 4096)]);
    assert!(client.reply().bytes() == [3; 4096], "also when they come with a write that waits");
    // Nobody waits for that write's minute: the server gives up what is out when it is stopped.
}
