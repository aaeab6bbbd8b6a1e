//! Each command, with simple and with structured replies.

use std::sync::atomic::Ordering::SeqCst;

use esker_frontend::Failure;

use crate::{
    client::{Client, request},
    host::{Host, SIZE, pattern},
};

const FUA: u16 = 1;
const NO_HOLE: u16 = 2;
const DF: u16 = 4;
const REQ_ONE: u16 = 8;
const FAST_ZERO: u16 = 16;

const HOLE: u32 = 3;
const ZERO: u32 = 2;

/// Runs a test with both kinds of replies.
fn both(test: impl Fn(&Host, &mut Client)) {
    for structured in [false, true] {
        let host = Host::start();
        let mut client = if structured { host.structured() } else { host.simple() };
        test(&host, &mut client);
        client.goodbye();
    }
}

#[test]
fn reads_and_writes_of_any_alignment() {
    both(|host, client| {
        let last = SIZE - 100;
        for (i, (offset, length)) in
            [(0, 512), (1, 1), (4095, 2), (8192, 4096), (12_345, 67_890), (last - 3, 103), (1 << 20, 1 << 20)]
                .into_iter()
                .enumerate()
        {
            let data = pattern(i as u64, length);
            assert_eq!(client.put(0, offset, &data), 0);
            assert!(host.disk.bytes(offset as usize, length) == data, "{length} bytes at {offset}");
            assert!(client.ask(0, 0, offset, length as u32).bytes() == data, "{length} bytes at {offset}");
        }
    });
}

#[test]
fn large_reads_and_writes() {
    for structured in [false, true] {
        let host = Host::with(80 << 20, Default::default());
        let mut client = if structured { host.structured() } else { host.simple() };
        for (offset, length) in [(0u64, 32usize << 20), (4099, (32 << 20) - 1), (77, (1 << 20) + (64 << 10))]
        {
            let data = pattern(offset, length);
            assert_eq!(client.put(FUA, offset, &data), 0);
            let reply = client.ask(0, 0, offset, length as u32);
            assert!(reply.bytes() == data, "{length} bytes at {offset}");
            let mut next = if structured { offset } else { 0 };
            for (at, data) in reply.data {
                assert_eq!(at, next, "pieces follow each other");
                assert!(at == 0 || at == offset || at % (1 << 20) == 0, "cut at {at}");
                next += data.len() as u64;
            }
        }
        assert_eq!(host.disk.flushes.load(SeqCst), 3);
        client.goodbye();
    }
}

#[test]
fn a_large_write_beside_small_requests() {
    let host = Host::start();
    let mut client = host.simple();
    let large = pattern(5, 3 << 20);
    let mut bytes = request(1, 0, 1, 0, 5);
    bytes.extend(b"first");
    bytes.extend(request(1, 0, 2, 4096, 3 << 20));
    bytes.extend(&large);
    bytes.extend(request(0, 0, 3, 0, 5));
    client.send_raw(&bytes, &[(3, 5)]);
    for cookie in 1..=3 {
        let reply = client.reply();
        assert_eq!((reply.cookie, reply.errno), (cookie, 0));
    }
    assert_eq!(host.disk.bytes(0, 5), b"first");
    assert!(host.disk.bytes(4096, 3 << 20) == large);
}

#[test]
fn df_keeps_a_read_in_one_chunk() {
    let host = Host::start();
    let mut client = host.structured();
    host.disk.fill(1000, &pattern(1, 3 << 20));
    let reply = client.ask(0, DF, 1000, 1 << 20);
    assert_eq!(reply.data.len(), 1);
    assert_eq!(reply.data[0].0, 1000);
    assert_eq!(client.ask(0, DF, 0, (1 << 20) + 1).errno, 75, "EOVERFLOW");
    assert!(client.ask(0, 0, 1000, 3 << 20).data.len() > 1);
    client.goodbye();
    assert_eq!(host.simple().ask(0, DF, 0, 512).errno, 22, "DF was not offered");
}

#[test]
fn the_end_of_the_export() {
    both(|_, client| {
        assert_eq!(client.ask(0, 0, SIZE - 1, 1).errno, 0);
        assert_eq!(client.ask(0, 0, SIZE - 1, 2).errno, 22, "read");
        assert_eq!(client.ask(0, 0, u64::MAX, 512).errno, 22, "read");
        assert_eq!(client.put(0, SIZE - 1, b"xx"), 28, "write");
        assert_eq!(client.put(0, u64::MAX, b"xx"), 28, "write");
        assert_eq!(client.put(0, SIZE - 2, b"xx"), 0, "write");
        assert_eq!(client.ask(6, 0, SIZE - 1, 2).errno, 28, "write zeroes");
        assert_eq!(client.ask(4, 0, SIZE - 1, 2).errno, 22, "trim");
        assert_eq!(client.ask(5, 0, SIZE - 1, 2).errno, 22, "cache");
        assert_eq!(client.ask(7, 0, SIZE - 1, 2).errno, 22, "block status");
    });
}

#[test]
fn a_read_only_export_refuses_changes() {
    let host = Host::start();
    host.fixed.fill(0, b"fixed");
    let mut client = host.connect();
    client.greet();
    client.go("fixed");
    assert_eq!(client.put(0, 0, b"other"), 1);
    assert_eq!(client.put(0, 0, &vec![1; 2 << 20]), 1, "the data is drained");
    assert_eq!(client.ask(4, 0, 0, 4096).errno, 1);
    assert_eq!(client.ask(6, 0, 0, 4096).errno, 1);
    assert_eq!(client.ask(3, 0, 0, 0).errno, 0);
    assert_eq!(client.ask(0, 0, 0, 5).bytes(), b"fixed");
    client.goodbye();
}

#[test]
fn flush_and_fua_flush_the_device() {
    both(|host, client| {
        assert_eq!(client.put(0, 0, b"one"), 0);
        assert_eq!(host.disk.flushes.load(SeqCst), 0);
        assert_eq!(client.ask(3, 0, 0, 0).errno, 0);
        assert_eq!(client.put(FUA, 0, b"two"), 0);
        assert_eq!(client.ask(4, FUA, 0, 4096).errno, 0);
        assert_eq!(client.ask(6, FUA, 0, 4096).errno, 0);
        assert_eq!(client.ask(3, FUA, 0, 0).errno, 0);
        assert_eq!(host.disk.flushes.load(SeqCst), 5);
        assert_eq!(client.ask(0, FUA, 0, 512).errno, 0, "legal, without meaning");
        assert_eq!(client.ask(5, FUA, 0, 512).errno, 0, "legal, without meaning");
        assert_eq!(host.disk.flushes.load(SeqCst), 5);
    });
}

#[test]
fn one_batch_is_one_change_and_one_flush() {
    let host = Host::start();
    let mut client = host.simple();
    let mut bytes = Vec::new();
    for cookie in 0..32u64 {
        bytes.extend(request(1, u16::from(cookie % 2 == 0), cookie, cookie * 4096, 4096));
        bytes.extend(pattern(cookie, 4096));
    }
    bytes.extend(request(3, 0, 100, 0, 0));
    bytes.extend(request(3, 0, 101, 0, 0));
    // The server may receive it in several parts, but hardly in one for each request.
    client.send_raw(&bytes, &[]);
    let mut seen: Vec<u64> =
        (0..34).map(|_| client.reply()).map(|r| r.cookie * u64::from(r.errno == 0)).collect();
    seen.sort_unstable();
    assert_eq!(seen[33], 101);
    let batches = host.disk.batches.lock().unwrap().clone();
    assert_eq!(batches.iter().sum::<usize>(), 32);
    assert!(batches.len() <= 8, "{batches:?}");
    assert!(host.disk.flushes.load(SeqCst) <= 9);
    for cookie in 0..32usize {
        assert!(host.disk.bytes(cookie * 4096, 4096) == pattern(cookie as u64, 4096));
    }
}

#[test]
fn trim_and_zeroes() {
    both(|host, client| {
        host.disk.fill(0, &[7; 64 << 10]);
        assert_eq!(client.ask(4, 0, 4096, 8192).errno, 0);
        assert_eq!(client.ask(6, 0, 16_384, 4096).errno, 0);
        assert_eq!(client.ask(6, NO_HOLE, 24_576, 4096).errno, 0);
        assert_eq!(client.ask(6, FAST_ZERO | NO_HOLE, 28_672, 100).errno, 0);
        assert_eq!(host.disk.bytes(0, 4096), [7; 4096]);
        assert_eq!(host.disk.bytes(16_384, 4096), [0; 4096]);
        assert_eq!(host.disk.bytes(28_672, 101), [vec![0; 100], vec![7]].concat());
        assert_eq!(client.ask(6, 0, 0, SIZE as u32).errno, 0, "a whole disk at once");
        assert_eq!(client.ask(4, 0, 0, SIZE as u32).errno, 0, "a whole disk at once");
    });
}

#[test]
fn block_status() {
    let host = Host::start();
    let mut client = host.structured();
    host.disk.fill(4096, &[7; 12_288]);
    assert_eq!(client.ask(6, NO_HOLE, 8192, 4096).errno, 0);
    let reply = client.ask(7, 0, 0, 65_536);
    let all = [(4096, HOLE), (4096, 0), (4096, ZERO), (4096, 0), (49_152, HOLE)];
    assert_eq!(reply.extents, all);
    assert_eq!(client.ask(7, REQ_ONE, 0, 65_536).extents, [(4096, HOLE)]);
    assert_eq!(client.ask(7, REQ_ONE, 4096, 100).extents, [(100, 0)]);
    assert_eq!(client.ask(7, FUA, 4097, 5000).extents, [(4095, 0), (905, ZERO)]);
    assert_eq!(client.ask(7, REQ_ONE, 1 << 20, (15 << 20) + 100).extents, [((15 << 20) + 100, HOLE)]);
    assert_eq!(client.ask(7, 0, 0, 0).errno, 22);
    client.goodbye();
    assert_eq!(host.simple().ask(7, 0, 0, 4096).errno, 22, "no context was selected");
}

#[test]
fn block_status_of_a_torn_volume_is_bounded() {
    let host = Host::with(128 << 20, Default::default());
    let mut client = host.structured();
    for block in (0..32_768).step_by(2) {
        host.disk.fill(block * 4096, &[1]);
    }
    let extents = client.ask(7, 0, 0, 128 << 20).extents;
    assert_eq!(extents.len(), 8192);
    assert!(extents.iter().enumerate().all(|(i, e)| *e == (4096, if i % 2 == 0 { 0 } else { HOLE })));
    client.goodbye();
}

#[test]
fn extents_merge_over_the_device_steps() {
    let host = Host::with(200 << 20, Default::default());
    let mut client = host.structured();
    assert_eq!(client.ask(7, 0, 4096, (200 << 20) - 4096).extents, [((200 << 20) - 4096, HOLE)]);
    client.goodbye();
}

#[test]
fn block_status_waits_for_a_device_that_has_to_look() {
    let host = Host::with(200 << 20, Default::default());
    let mut client = host.structured();
    host.disk.fill(100 << 20, &[7; 4096]);
    let all = [(100 << 20, HOLE), (4096, 0), ((100 << 20) - 4096, HOLE)];
    host.disk.late_reads.store(true, SeqCst);
    assert_eq!(client.ask(7, 0, 0, 200 << 20).extents, all);
    assert_eq!(host.disk.late_calls.load(SeqCst), 4, "all steps of 64 MiB after the first that had to wait");
    host.disk.late_reads.store(true, SeqCst);
    host.disk.panics.store(true, SeqCst);
    assert_eq!(client.ask(7, 0, 0, 4096).errno, 5);
    host.disk.panics.store(false, SeqCst);
    *host.disk.failure.lock().unwrap() = Some(Failure::Io);
    assert_eq!(client.ask(7, 0, 0, 4096).errno, 5);
    client.goodbye();
}

#[test]
fn cache_reaches_the_device() {
    both(|host, client| {
        assert_eq!(client.ask(5, 0, 100, 5000).errno, 0);
        assert_eq!(client.ask(5, 0, 0, SIZE as u32).errno, 0);
        assert_eq!(*host.disk.cached.lock().unwrap(), [(100, 5000), (0, SIZE)]);
    });
}

#[test]
fn requests_of_no_bytes() {
    both(|_, client| {
        assert_eq!(client.ask(0, 0, 0, 0).errno, 0);
        assert_eq!(client.put(0, 0, b""), 0);
        for command in [4, 5, 6] {
            assert_eq!(client.ask(command, 0, SIZE, 0).errno, 0, "command {command}");
        }
    });
}

#[test]
fn illegal_requests_are_answered() {
    both(|_, client| {
        for command in [8, 9, 100, u16::MAX] {
            assert_eq!(client.ask(command, 0, 0, 0).errno, 22, "command {command}");
        }
        assert_eq!(client.ask(3, 0, 1, 0).errno, 22, "a flush of a place");
        assert_eq!(client.ask(0, 32, 0, 512).errno, 22, "an unknown flag");
        assert_eq!(client.put(NO_HOLE, 0, b"data"), 22, "a flag of another command");
        assert_eq!(client.ask(0, 0, 0, 512).errno, 0);
    });
}

#[test]
fn failures_of_the_device_reach_the_client() {
    both(|host, client| {
        let failures = [
            (Failure::Io, 5),
            (Failure::NoSpace, 28),
            (Failure::ReadOnly, 1),
            (Failure::Invalid, 22),
            (Failure::Shutdown, 108),
        ];
        for (failure, errno) in failures {
            *host.disk.failure.lock().unwrap() = Some(failure);
            assert_eq!(client.ask(0, 0, 0, 512).errno, errno);
            assert_eq!(client.put(FUA, 0, b"data"), errno);
            assert_eq!(client.put(0, 0, &vec![0; 2 << 20]), errno);
            assert_eq!(client.ask(4, 0, 0, 512).errno, errno);
            assert_eq!(client.ask(6, 0, 0, 512).errno, errno);
            assert_eq!(client.ask(3, 0, 0, 0).errno, errno);
        }
        *host.disk.failure.lock().unwrap() = None;
        assert_eq!(client.ask(0, 0, 0, 512).errno, 0);
    });
}

#[test]
fn a_read_that_fails_in_the_middle() {
    both(|host, client| {
        host.disk.bad_block.store(600, SeqCst);
        assert_eq!(client.ask(0, 0, 0, 8 << 20).errno, 5);
        assert_eq!(client.ask(0, 0, 601 * 4096, 4096).errno, 0, "the connection goes on");
    });
}

#[test]
fn a_connection_keeps_its_size() {
    let host = Host::start();
    let mut old = host.structured();
    host.disk.resize(SIZE + 4096);
    assert_eq!(old.ask(0, 0, SIZE, 1).errno, 22);
    assert_eq!(old.ask(0, 0, SIZE - 1, 1).errno, 0);
    let mut new = host.connect();
    new.greet();
    assert_eq!(new.go("disk").0, SIZE + 4096);
    assert_eq!(new.ask(0, 0, SIZE, 1).errno, 0);
    // What was cut off is not there for anybody.
    host.disk.resize(1 << 20);
    for (command, errno) in [(0, 22), (4, 22), (6, 28), (7, 22)] {
        assert_eq!(old.ask(command, 0, 1 << 20, 4096).errno, errno, "command {command}");
    }
    assert_eq!(old.ask(7, 0, 0, 1 << 20).errno, 0);
}
