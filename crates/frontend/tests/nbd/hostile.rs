//! Clients that break the protocol, stop in the middle, or do not read: nobody else notices.

use std::{
    fs,
    io::{Read, Write},
    net::Shutdown,
    sync::atomic::Ordering::SeqCst,
    thread,
    time::{Duration, Instant},
};

use esker_frontend::nbd::Limits;

use crate::{
    client::{Client, contexts, info, request},
    host::{Host, SIZE, eventually, pattern},
};

/// A whole session as a client sends it, without waiting for answers.
fn session() -> Vec<u8> {
    let mut bytes = 3u32.to_be_bytes().to_vec();
    let options: [(u32, Vec<u8>); 6] = [
        (3, vec![]),
        (8, vec![]),
        (10, contexts("disk", &["base:allocation"])),
        (6, info("disk", &[3])),
        (77, b"??".to_vec()),
        (7, info("disk", &[3, 1])),
    ];
    for (option, data) in options {
        bytes.extend(b"IHAVEOPT");
        bytes.extend(option.to_be_bytes());
        bytes.extend((data.len() as u32).to_be_bytes());
        bytes.extend(data);
    }
    bytes.extend(request(1, 1, 1, 100, 40));
    bytes.extend(pattern(1, 40));
    bytes.extend(request(0, 0, 2, 0, 512));
    bytes.extend(request(1, 0, 3, SIZE, 16));
    bytes.extend([0; 16]);
    bytes.extend(request(7, 0, 4, 0, 65_536));
    bytes.extend(request(6, 0, 5, 4096, 4096));
    bytes.extend(request(3, 0, 6, 0, 0));
    bytes.extend(request(2, 0, 0, 0, 0));
    bytes
}

fn all_gone(host: &Host) {
    eventually("the end of all connections", || host.server.connections() == 0);
}

#[test]
fn disconnect_at_every_byte() {
    let host = Host::start();
    let session = session();
    for end in 0..=session.len() {
        let mut client = host.connect();
        client.write(&session[..end]);
        match end % 3 {
            // Both directions at once, with and without having read.
            0 => drop(client),
            1 => {
                let _ = client.stream.read(&mut [0; 10]);
                drop(client);
            }
            _ => {
                client.stream.shutdown(Shutdown::Write).unwrap();
                let mut replies = Vec::new();
                client.stream.read_to_end(&mut replies).unwrap();
                assert!(replies.starts_with(b"NBDMAGIC"));
            }
        }
    }
    all_gone(&host);
    host.assert_alive();
}

#[test]
fn a_session_byte_by_byte() {
    let host = Host::start();
    let mut client = host.connect();
    let mut answers = client.stream.try_clone().unwrap();
    let reader = thread::spawn(move || {
        let mut replies = Vec::new();
        answers.read_to_end(&mut replies).map(|_| replies)
    });
    for byte in session() {
        client.write(&[byte]);
    }
    let slow = reader.join().unwrap().unwrap();
    let mut client = host.connect();
    client.write(&session());
    let mut quick = Vec::new();
    client.stream.read_to_end(&mut quick).unwrap();
    assert_eq!(slow.len(), quick.len());
    assert_eq!(host.disk.bytes(100, 40), pattern(1, 40));
}

#[test]
fn garbage_closes_the_connection() {
    let host = Host::start();
    let mut client = host.simple();
    client.write(&[0x55; 28]);
    assert!(client.closed());
    let mut client = host.simple();
    let mut bytes = request(1, 0, 1, 0, 4);
    bytes.extend(b"good");
    bytes.extend(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client.write(&bytes);
    let reply = client.reply();
    assert_eq!((reply.cookie, reply.errno), (1, 0), "what came before is answered");
    assert!(client.closed());
    let mut client = host.connect();
    client.greet();
    client.write(&[0x55; 16]);
    assert!(client.closed());
    all_gone(&host);
    host.assert_alive();
}

#[test]
fn random_bytes() {
    let host = Host::start();
    let session = session();
    for seed in 0..400u64 {
        let mut client = host.connect();
        let mut bytes = session.clone();
        // A few bytes of a good session changed, from the first option on or in the requests.
        let noise = pattern(seed.wrapping_mul(0x5851_f42d_4c95_7f2d), 24);
        for pair in noise.chunks(3).take(1 + (seed % 8) as usize) {
            let at = (usize::from(pair[0]) << 8 | usize::from(pair[1])) % bytes.len();
            bytes[at] = pair[2];
        }
        let _ = client.stream.write_all(&bytes);
        let _ = client.stream.shutdown(Shutdown::Write);
        let mut replies = Vec::new();
        let _ = client.stream.read_to_end(&mut replies);
    }
    all_gone(&host);
    host.assert_alive();
}

#[test]
fn oversize_requests() {
    let host = Host::with(128 << 20, Limits::default());
    let mut client = host.simple();
    assert_eq!(client.ask(0, 0, 0, (32 << 20) + 1).errno, 22);
    assert_eq!(client.ask(0, 0, 0, u32::MAX).errno, 22);
    assert_eq!(client.put(0, 0, &vec![1; (32 << 20) + 1]), 22, "drained and refused");
    assert_eq!(client.ask(0, 0, 0, 4).bytes(), [0; 4], "nothing was written");
    client.write(&request(1, 0, 1, 0, (256 << 20) + 1));
    assert!(client.closed(), "absurd");
    host.assert_alive();
}

fn data_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmData:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

#[test]
fn a_claim_takes_no_memory() {
    let host = Host::with(64 << 20, Limits::default());
    let mut clients: Vec<Client> = (0..50).map(|_| host.simple()).collect();
    // Every thread has taken its stack and its buffer by now.
    for client in &mut clients {
        assert_eq!(client.put(0, 0, b"here"), 0);
    }
    let before = data_bytes();
    for client in &mut clients {
        client.write(&request(1, 0, 1, 0, 32 << 20));
        client.write(&[1; 1000]);
    }
    thread::sleep(Duration::from_millis(300));
    let grown = data_bytes().saturating_sub(before);
    assert!(grown < 50 * (4 << 20), "{grown} bytes for 50 claims of 32 MiB");
    drop(clients);
    all_gone(&host);
    host.assert_alive();
}

#[test]
fn half_a_request_waits_alone() {
    let host = Host::start();
    let mut half = host.simple();
    half.write(&request(1, 0, 1, 0, 4096)[..20]);
    let mut half_data = host.simple();
    half_data.write(&request(1, 0, 1, 0, 4096));
    half_data.write(&[1; 100]);
    host.assert_alive();
    half.write(&request(1, 0, 1, 0, 4096)[20..]);
    half.write(&[2; 4096]);
    assert_eq!(half.reply().errno, 0);
    half_data.write(&[1; 3996]);
    assert_eq!(half_data.reply().errno, 0);
}

#[test]
fn late_replies_are_sent_inside_half_a_request() {
    let host = Host::start();
    let mut client = host.simple();
    host.disk.late_reads.store(true, SeqCst);
    host.disk.gated.store(true, SeqCst);
    client.send(0, 0, 1, 0, 512);
    client.write(&request(1, 0, 2, 0, 2 << 20));
    client.write(&[1; 100_000]);
    eventually("the late call", || host.disk.late_calls.load(SeqCst) == 1);
    host.disk.gate.add_permits(1);
    assert_eq!(client.reply().cookie, 1);
    client.write(&vec![1; (2 << 20) - 100_000]);
    assert_eq!(client.reply().cookie, 2);
    client.goodbye();
}

#[test]
fn replies_that_are_never_read() {
    for late in [false, true] {
        let host = Host::with(SIZE, Limits { send_timeout: Duration::from_secs(1), ..Limits::default() });
        let mut stuck = host.simple();
        let mut other = host.simple();
        host.disk.late_reads.store(late, SeqCst);
        for cookie in 0..20 {
            stuck.send(0, 0, cookie, 0, 1 << 20);
        }
        let start = Instant::now();
        let mut slowest = Duration::ZERO;
        let mut asked = 0;
        while host.server.connections() == 2 && start.elapsed() < Duration::from_secs(20) {
            let one = Instant::now();
            assert_eq!(other.ask(0, 0, 0, 4096).errno, 0);
            assert_eq!(other.put(1, 8192, b"other"), 0);
            slowest = slowest.max(one.elapsed());
            asked += 1;
        }
        let time = start.elapsed();
        assert!(time > Duration::from_millis(500) && time < Duration::from_secs(10), "closed after {time:?}");
        assert!(slowest < Duration::from_millis(900), "another connection waited {slowest:?}");
        assert!(asked > 20, "{asked}");
        other.goodbye();
    }
}
