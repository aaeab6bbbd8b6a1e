//! Credentials that expire and are renewed, as a store shows it: for a while it refuses every request with that reason.

use std::{
    path::Path,
    thread::{sleep, spawn},
    time::{Duration, Instant},
};

use esker_bench::{
    client::{Client, Request},
    control,
    daemon::Daemon,
    proxy::{Proxy, Sky},
    seaweed::Seaweed,
};

use crate::program::esker;

const MIB: usize = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(120);

struct Site {
    server: Seaweed,
    proxy: Proxy,
    directory: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        let server = Seaweed::start(&Seaweed::program().unwrap()).unwrap();
        let proxy = Proxy::start(server.address(), 1).unwrap();
        Self { server, proxy, directory: tempfile::tempdir().unwrap() }
    }

    /// A daemon with a data directory of that name.
    fn start(&self, name: &str) -> Daemon {
        let data = self.directory.path().join(name);
        std::fs::create_dir_all(&data).unwrap();
        let environment = self.proxy.environment(self.server.environment());
        let args = ["--pool", &self.server.url("credentials"), "--disk-cache", "0"];
        let daemon = Daemon::start(&esker(), &data, &args, &environment).unwrap();
        wait_until("the volumes open", || {
            control::running(&daemon.data).unwrap() == control::volumes(&daemon.data).unwrap()
        });
        daemon
    }
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        sleep(Duration::from_millis(100));
    }
}

fn write(socket: &Path, volume: &str, value: u8) {
    let mut client = Client::connect(socket, volume).unwrap();
    for offset in [0, MIB as u64] {
        client.call(Request::Write { offset, data: &vec![value; MIB] }).unwrap();
    }
    client.call(Request::Flush).unwrap();
}

fn read(socket: &Path, volume: &str, value: u8) {
    let mut client = Client::connect(socket, volume).unwrap();
    let found = client.call(Request::Read { offset: 0, length: 2 * MIB as u32 }).unwrap();
    assert!(found.iter().all(|byte| *byte == value), "{volume} is {value} everywhere");
}

#[test]
fn everything_drains_once_credentials_are_renewed() {
    let site = Site::new();
    let daemon = site.start("first");
    for (volume, durability) in [("usual", "bounded(1s)"), ("exact", "sync")] {
        control::create(&daemon.data, volume, 16 * MIB as u64, durability).unwrap();
        write(&daemon.socket(), volume, 1);
    }
    let lacks = |volume: &str| {
        let figures = control::figures(&daemon.data, volume).unwrap();
        figures.sequence - figures.committed
    };
    wait_until("the store has everything", || lacks("usual") == 0);
    site.proxy.set_sky(Sky::Expired);
    write(&daemon.socket(), "usual", 2);
    read(&daemon.socket(), "usual", 2);
    let socket = daemon.socket();
    let flush = spawn(move || write(&socket, "exact", 3));
    sleep(Duration::from_secs(5));
    assert!(lacks("usual") > 0 && !flush.is_finished(), "the store has what it refuses");
    site.proxy.set_sky(Sky::Clear);
    flush.join().unwrap();
    wait_until("the store has everything", || lacks("usual") == 0 && lacks("exact") == 0);
    assert_eq!(daemon.terminate().unwrap(), 0);
    let elsewhere = site.start("second");
    read(&elsewhere.socket(), "usual", 2);
    read(&elsewhere.socket(), "exact", 3);
    assert_eq!(elsewhere.terminate().unwrap(), 0);
}

#[test]
fn a_read_waits_for_credentials_to_be_renewed() {
    let site = Site::new();
    let daemon = site.start("first");
    control::create(&daemon.data, "usual", 16 * MIB as u64, "bounded(1s)").unwrap();
    write(&daemon.socket(), "usual", 1);
    assert_eq!(daemon.terminate().unwrap(), 0);
    // Nothing of it is in memory.
    let daemon = site.start("first");
    site.proxy.set_sky(Sky::Expired);
    let socket = daemon.socket();
    let reading = spawn(move || read(&socket, "usual", 1));
    sleep(Duration::from_secs(3));
    assert!(!reading.is_finished(), "a read that has to wait");
    site.proxy.set_sky(Sky::Clear);
    reading.join().unwrap();
    assert_eq!(daemon.terminate().unwrap(), 0);
}
