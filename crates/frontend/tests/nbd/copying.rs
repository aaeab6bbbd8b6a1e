//! The client for whole disks, against the server and against servers that lie.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    sync::atomic::Ordering::SeqCst,
    thread,
};

use esker_frontend::{
    Extent, ExtentState, Failure,
    nbd::{
        Client, Server,
        client::{Answer, Ask, ClientError, OUT_MAX},
    },
};

use crate::{
    host::{Host, SIZE, pattern, runtime},
    memory::{Memory, Table},
};

const MIB: usize = 1 << 20;

fn read(client: &mut Client, offset: u64, length: u32) -> Result<Answer, ClientError> {
    client.call(&Ask::Read { offset, length })
}

#[test]
fn what_is_written_comes_back_in_the_order_of_the_requests() {
    let host = Host::start();
    // Some of the replies come late, so that they overtake each other.
    host.disk.late_reads.store(true, SeqCst);
    let mut client = Client::connect(&host.socket, "disk").unwrap();
    assert_eq!((client.size_bytes(), client.read_only()), (SIZE, false));
    let data: Vec<Vec<u8>> = (0..OUT_MAX as u64).map(|seed| pattern(seed, MIB)).collect();
    for (index, data) in data.iter().enumerate() {
        client.submit(&Ask::Write { offset: (index * MIB) as u64, data }).unwrap();
    }
    assert!(client.is_full());
    while !client.is_idle() {
        assert_eq!(client.receive().unwrap(), Answer::Done);
    }
    assert_eq!(client.call(&Ask::Flush).unwrap(), Answer::Done);
    assert_eq!(host.disk.flushes.load(SeqCst), 1);
    for index in 0..OUT_MAX as u64 {
        host.disk.late_reads.store(index % 2 == 0, SeqCst);
        client.submit(&Ask::Read { offset: index * MIB as u64 + 1, length: MIB as u32 - 1 }).unwrap();
    }
    for (index, data) in data.into_iter().enumerate() {
        assert_eq!(client.receive().unwrap(), Answer::Data((index * MIB) as u64 + 1, data[1..].to_vec()));
    }
}

#[test]
fn extents_and_zeros() {
    let host = Host::start();
    let mut client = Client::connect(&host.socket, "disk").unwrap();
    client.call(&Ask::Write { offset: 8192, data: &[1; 12288] }).unwrap();
    client.call(&Ask::Zero { offset: 12288, length: 4096 }).unwrap();
    let extent = |length, state| Extent { length, state };
    let wanted = vec![
        extent(8192, ExtentState::Hole),
        extent(4096, ExtentState::Data),
        extent(4096, ExtentState::Hole),
        extent(4096, ExtentState::Data),
        extent(SIZE - 20480, ExtentState::Hole),
    ];
    let found = client.call(&Ask::Status { offset: 0, length: SIZE as u32 }).unwrap();
    assert_eq!(found, Answer::Extents(0, wanted));
}

#[test]
fn failures_say_what_failed_and_the_next_request_goes_on() {
    let host = Host::start();
    let mut client = Client::connect(&host.socket, "disk").unwrap();
    *host.disk.failure.lock().unwrap() = Some(Failure::NoSpace);
    let error = client.call(&Ask::Write { offset: 4096, data: &[1; 4096] }).unwrap_err().to_string();
    assert!(error.contains("a write at 4096 of 4096 bytes") && error.contains("No space left"), "{error}");
    *host.disk.failure.lock().unwrap() = None;
    assert_eq!(read(&mut client, 0, 2).unwrap(), Answer::Data(0, vec![0; 2]));
    let error = read(&mut client, SIZE, 1).unwrap_err().to_string();
    assert!(error.contains("a read at"), "{error}");
    let error = Client::connect(&host.socket, "gone").err().unwrap().to_string();
    assert!(error.contains("gone"), "{error}");
    let mut fixed = Client::connect(&host.socket, "fixed").unwrap();
    assert!(fixed.read_only());
    assert!(fixed.call(&Ask::Zero { offset: 0, length: 4096 }).is_err());
}

#[test]
fn a_private_server_has_no_address() {
    let runtime = runtime();
    let table = [("disk".to_owned(), Memory::new(1 << 20, false))];
    let server = Server::private(std::sync::Arc::new(Table(table.into())), runtime.handle().clone()).unwrap();
    let mut client = Client::over(server.connect().unwrap(), "disk").unwrap();
    assert_eq!(read(&mut client, 0, 1).unwrap(), Answer::Data(0, vec![0]));
    assert_eq!(server.connections(), 1);
    server.stop();
    assert!(matches!(read(&mut client, 0, 1), Err(ClientError::Lost(_) | ClientError::Failed { .. })));
}

/// A server that follows the handshake up to GO, answers one request with these bytes, and closes.
fn liar(answer: Vec<u8>) -> Client {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    thread::spawn(move || {
        theirs.write_all(b"NBDMAGICIHAVEOPT\0\x03").unwrap();
        theirs.read_exact(&mut [0; 4]).unwrap();
        let mut info = vec![0; 2];
        info.extend((1u64 << 20).to_be_bytes());
        info.extend([0, 1]);
        let context = b"\0\0\0\x01base:allocation".to_vec();
        for (number, told) in [(8u32, None), (10, Some((4u32, context))), (7, Some((3, info)))] {
            let mut header = [0; 16];
            theirs.read_exact(&mut header).unwrap();
            let length = u32::from_be_bytes(header[12..].try_into().unwrap());
            theirs.read_exact(&mut vec![0; length as usize]).unwrap();
            for (kind, data) in told.into_iter().chain([(1, Vec::new())]) {
                theirs.write_all(&0x0003_e889_0455_65a9u64.to_be_bytes()).unwrap();
                theirs.write_all(&number.to_be_bytes()).unwrap();
                theirs.write_all(&kind.to_be_bytes()).unwrap();
                theirs.write_all(&(data.len() as u32).to_be_bytes()).unwrap();
                theirs.write_all(&data).unwrap();
            }
        }
        theirs.read_exact(&mut [0; 28]).unwrap();
        theirs.write_all(&answer).unwrap();
    });
    Client::over(ours, "x").unwrap()
}

/// A chunk of a structured reply.
fn chunk(flags: u16, kind: u16, cookie: u64, length: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = 0x668e_33efu32.to_be_bytes().to_vec();
    bytes.extend(flags.to_be_bytes());
    bytes.extend(kind.to_be_bytes());
    bytes.extend(cookie.to_be_bytes());
    bytes.extend(length.to_be_bytes());
    bytes.extend(payload);
    bytes
}

#[test]
fn servers_that_lie_get_an_error() {
    let at = |offset: u64| offset.to_be_bytes();
    let lies = [
        Vec::new(),
        b"nonsense".to_vec(),
        // A length that nobody asked for.
        chunk(1, 1, 0, u32::MAX, &at(0)),
        // Bytes from elsewhere, of another request, or too few of them.
        chunk(1, 1, 0, 12, &[&at(4096)[..], &[1; 4]].concat()),
        chunk(1, 1, 0, 12, &[&at(u64::MAX)[..], &[1; 4]].concat()),
        chunk(1, 1, 7, 12, &[&at(0)[..], &[1; 4]].concat()),
        chunk(1, 1, 0, 12, &[&at(0)[..], &[1; 4]].concat()),
        chunk(1, 0, 0, 0, &[]),
        chunk(1, 1, 0, 7, &[0; 7]),
        chunk(1, 99, 0, 4, &[0; 4]),
        chunk(1, 0x8001, 0, 6, &[0; 6]),
        // A simple reply to a read.
        [&0x6744_6698u32.to_be_bytes()[..], &[0; 12]].concat(),
    ];
    for lie in lies {
        let error = read(&mut liar(lie.clone()), 0, 4096).expect_err("a lie");
        assert!(!matches!(error, ClientError::Connect { .. }), "{lie:02x?}: {error}");
    }
    let empty = chunk(1, 5, 0, 12, &[&[0, 0, 0, 1][..], &[0; 8]].concat());
    assert!(liar(empty).call(&Ask::Status { offset: 0, length: 4096 }).is_err());
    let mut more = chunk(1, 5, 0, 12, &[0, 0, 0, 1]);
    more.extend(u32::MAX.to_be_bytes());
    more.extend(3u32.to_be_bytes());
    let hole = vec![Extent { length: 4096, state: ExtentState::Hole }];
    let found = liar(more).call(&Ask::Status { offset: 0, length: 4096 }).unwrap();
    assert_eq!(found, Answer::Extents(0, hole), "what lies beyond is cut");
}
