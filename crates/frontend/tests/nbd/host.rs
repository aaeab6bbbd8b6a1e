//! A server on a socket of its own, with a volume `disk` of 16 MiB + 100 bytes and a read-only one, `fixed`.

use std::{
    path::PathBuf,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use esker_frontend::nbd::{Limits, Listeners, Server};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::{
    client::Client,
    memory::{Memory, Table},
};

pub(crate) const SIZE: u64 = (16 << 20) + 100;

pub(crate) struct Host {
    pub(crate) server: Server,
    pub(crate) disk: Arc<Memory>,
    pub(crate) fixed: Arc<Memory>,
    pub(crate) socket: PathBuf,
    pub(crate) directory: TempDir,
    _runtime: Runtime,
}

pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

impl Host {
    pub(crate) fn start() -> Host {
        Host::with(SIZE, Limits::default())
    }

    pub(crate) fn with(size_bytes: u64, limits: Limits) -> Host {
        let runtime = runtime();
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("nbd.sock");
        let (disk, fixed) = (Memory::new(size_bytes, false), Memory::new(1 << 20, true));
        let table = [("disk".to_owned(), disk.clone()), ("fixed".to_owned(), fixed.clone())];
        let listeners = Listeners { unix: Some(socket.clone()), ..Listeners::default() };
        let exports = Arc::new(Table(table.into()));
        let server = Server::start_with(listeners, exports, runtime.handle().clone(), limits).unwrap();
        Host { server, disk, fixed, socket, directory, _runtime: runtime }
    }

    /// A client before its handshake.
    pub(crate) fn connect(&self) -> Client {
        Client::connect(&self.socket)
    }

    /// A client in transmission on `disk`, with simple replies only.
    pub(crate) fn simple(&self) -> Client {
        let mut client = self.connect();
        client.greet();
        client.go("disk");
        client
    }

    /// A client in transmission on `disk`, with structured replies and `base:allocation`.
    pub(crate) fn structured(&self) -> Client {
        let mut client = self.connect();
        client.greet();
        client.structured();
        client.allocation("disk");
        client.go("disk");
        client
    }

    /// The server still serves.
    pub(crate) fn assert_alive(&self) {
        let mut client = self.simple();
        client.send(0, 0, 1, 0, 512);
        assert_eq!(client.reply().errno, 0);
        client.goodbye();
    }
}

/// Waits for something that happens on another thread.
pub(crate) fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !check() {
        assert!(Instant::now() < deadline, "{what} did not happen in 20 s");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Bytes that differ from place to place.
pub(crate) fn pattern(seed: u64, length: usize) -> Vec<u8> {
    (0..length as u64).map(|i| ((i ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}
