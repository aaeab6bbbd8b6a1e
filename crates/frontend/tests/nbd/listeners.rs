//! Where a server listens, and who may connect.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        net::UnixListener,
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use esker_frontend::nbd::{Limits, Listeners, Server, ServerError};
use tokio::runtime::Handle;

use crate::{
    client::Client,
    host::{Host, SIZE, eventually, runtime},
    memory::{Memory, Table},
};

fn start(listeners: Listeners, handle: &Handle) -> Result<Server, ServerError> {
    let table = [("disk".to_owned(), Memory::new(1 << 20, false))];
    Server::start(listeners, Arc::new(Table(table.into())), handle.clone())
}

fn unix(path: &Path) -> Listeners {
    Listeners { unix: Some(path.to_owned()), ..Listeners::default() }
}

#[test]
fn only_the_owner_can_connect() {
    let host = Host::start();
    assert_eq!(fs::metadata(&host.socket).unwrap().permissions().mode() & 0o7777, 0o600);
}

#[test]
fn a_stale_socket_is_replaced_a_live_one_is_not() {
    let runtime = runtime();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "a socket without a server");
    let server = start(unix(&path), runtime.handle()).unwrap();
    let inode = fs::metadata(&path).unwrap().ino();
    let second = start(unix(&path), runtime.handle()).err().unwrap();
    assert!(matches!(&second, ServerError::InUse { path: found } if *found == path), "{second}");
    assert_eq!(fs::metadata(&path).unwrap().ino(), inode);
    let mut client = Client::connect(&path);
    client.greet();
    client.go("disk");
    drop(server);
    assert!(!path.exists());
}

#[test]
fn the_file_of_another_server_is_not_removed() {
    let runtime = runtime();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let server = start(unix(&path), runtime.handle()).unwrap();
    fs::remove_file(&path).unwrap();
    let other = UnixListener::bind(&path).unwrap();
    server.stop();
    assert!(path.exists());
    drop(other);
}

#[test]
fn what_is_not_a_socket_is_left_alone() {
    let runtime = runtime();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("precious");
    fs::write(&path, "data").unwrap();
    let error = start(unix(&path), runtime.handle()).err().unwrap();
    assert!(matches!(error, ServerError::NotASocket { .. }), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"data");
}

#[test]
fn errors_say_what_and_where() {
    let runtime = runtime();
    let nowhere = start(unix(Path::new("/nonexistent/s")), runtime.handle()).err().unwrap().to_string();
    assert!(nowhere.starts_with("cannot listen on /nonexistent/s: "), "{nowhere}");
    let long = PathBuf::from("/tmp").join("x".repeat(200));
    assert!(start(unix(&long), runtime.handle()).is_err());
    let none = start(Listeners::default(), runtime.handle()).err().unwrap();
    assert!(matches!(none, ServerError::NoAddress), "{none}");
}

#[test]
fn tcp_is_for_this_machine_unless_allowed() {
    let runtime = runtime();
    let any: SocketAddr = "0.0.0.0:0".parse().unwrap();
    let listeners = Listeners { tcp: Some(any), ..Listeners::default() };
    let error = start(listeners.clone(), runtime.handle()).err().unwrap();
    assert!(matches!(error, ServerError::Remote { address } if address == any), "{error}");
    assert!(start(Listeners { allow_remote: true, ..listeners }, runtime.handle()).is_ok());
}

#[test]
fn tcp_and_unix_serve_together() {
    let runtime = runtime();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let listeners = Listeners { tcp: Some("127.0.0.1:0".parse().unwrap()), ..unix(&path) };
    let server = start(listeners, runtime.handle()).unwrap();
    let address = server.tcp_address().unwrap();
    assert_ne!(address.port(), 0);
    let mut tcp = TcpStream::connect(address).unwrap();
    let mut hello = [0; 18];
    tcp.read_exact(&mut hello).unwrap();
    assert_eq!(&hello[..16], b"NBDMAGICIHAVEOPT");
    Client::connect(&path).greet();
    tcp.write_all(&[0, 0, 0, 3]).unwrap();
    server.stop();
    assert_eq!(tcp.read(&mut [0]).unwrap(), 0);
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn connections_are_limited() {
    let host = Host::with(SIZE, Limits { connections: 3, ..Limits::default() });
    let open: Vec<_> = (0..3).map(|_| host.simple()).collect();
    assert!(host.connect().closed(), "refused as it was accepted");
    for client in open {
        client.goodbye();
    }
    eventually("the end of all connections", || host.server.connections() == 0);
    host.assert_alive();
}

#[test]
fn two_hundred_connections() {
    let host = Host::start();
    let mut clients: Vec<_> = (0..200).map(|_| host.simple()).collect();
    assert_eq!(host.server.connections(), 200);
    for round in 0..3 {
        for (number, client) in clients.iter_mut().enumerate() {
            client.send_write(0, number as u64, number as u64 * 512, &[number as u8 + round; 512]);
        }
        for (number, client) in clients.iter_mut().enumerate() {
            let reply = client.reply();
            assert_eq!((reply.cookie, reply.errno), (number as u64, 0));
        }
    }
    let expected = |number: usize| vec![number as u8 + 2; 512];
    assert!(host.disk.bytes(0, 200 * 512) == (0..200).flat_map(expected).collect::<Vec<_>>());
    clients.into_iter().for_each(Client::goodbye);
    eventually("the end of all connections", || host.server.connections() == 0);
}

#[test]
fn a_handshake_has_a_time_limit() {
    let host = Host::with(SIZE, Limits { handshake: Duration::from_millis(300), ..Limits::default() });
    let mut silent = host.connect();
    silent.greet_with(3);
    let start = Instant::now();
    // A byte now and then does not help.
    for byte in b"IHAVEOPT" {
        if silent.stream.write_all(&[*byte]).is_err() {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(silent.closed());
    assert!(start.elapsed() < Duration::from_secs(3));
    let mut client = host.simple();
    std::thread::sleep(Duration::from_millis(600));
    assert_eq!(client.ask(0, 0, 0, 512).errno, 0, "the limit ends with the handshake");
    client.goodbye();
}
