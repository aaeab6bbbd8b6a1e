//! Accepting connections, counting them, and stopping.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    net::SocketAddr,
    os::{fd::OwnedFd, unix::net::UnixStream},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags};
use tokio::runtime::Handle;

use super::{
    bell::Bell,
    handshake::{Handshake, NoSession},
    limits::Limits,
    listen::{Listener, Listeners, ServerError},
    socket::{self, Socket},
    traffic::{Meter, Traffic},
    transmission::{End, Orders, Transmission},
};
use crate::Exports;

/// A running server. Dropping it stops it.
pub struct Server {
    shared: Arc<Shared>,
    accepting: Mutex<Option<thread::JoinHandle<()>>>,
    tcp: Option<SocketAddr>,
}

struct Shared {
    exports: Arc<dyn Exports>,
    runtime: Handle,
    limits: Limits,
    orders: Orders,
    /// Rings for the accepting thread to end.
    bell: Bell,
    open: Mutex<Open>,
    closed: Condvar,
}

#[derive(Default)]
struct Open {
    next: u64,
    sockets: HashMap<u64, Arc<Socket>>,
    /// What the connections serve, with their volumes' names.
    meters: HashMap<u64, (String, Arc<Meter>)>,
    /// What closed connections have served, by volume.
    closed: BTreeMap<String, Traffic>,
}

impl Server {
    /// Listens and serves. Requests that have to wait for the store run on `runtime`.
    ///
    /// # Errors
    /// An address cannot be listened on, or is refused; see [`ServerError`].
    pub fn start(
        listeners: Listeners,
        exports: Arc<dyn Exports>,
        runtime: Handle,
    ) -> Result<Server, ServerError> {
        Server::start_with(listeners, exports, runtime, Limits::default())
    }

    /// As [`Server::start`], with other limits.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn start_with(
        listeners: Listeners,
        exports: Arc<dyn Exports>,
        runtime: Handle,
        limits: Limits,
    ) -> Result<Server, ServerError> {
        Server::run(Listener::open(&listeners)?, exports, runtime, limits)
    }

    /// A server that listens nowhere: only [`Server::connect`] leads to it.
    ///
    /// # Errors
    /// The system has no thread or no descriptor left.
    pub fn private(exports: Arc<dyn Exports>, runtime: Handle) -> Result<Server, ServerError> {
        Server::run(Vec::new(), exports, runtime, Limits::default())
    }

    fn run(
        listeners: Vec<Listener>,
        exports: Arc<dyn Exports>,
        runtime: Handle,
        limits: Limits,
    ) -> Result<Server, ServerError> {
        let failed =
            |source| ServerError::System { action: "start", place: "the NBD server".to_owned(), source };
        let tcp = listeners.iter().find_map(Listener::tcp_address);
        let shared = Arc::new(Shared {
            exports,
            runtime,
            limits,
            orders: Orders::default(),
            bell: Bell::new().map_err(failed)?,
            open: Mutex::default(),
            closed: Condvar::new(),
        });
        let accepting = shared.clone();
        let thread = thread::Builder::new()
            .name("nbd-accept".to_owned())
            .spawn(move || accepting.accept(&listeners))
            .map_err(failed)?;
        Ok(Server { shared, accepting: Mutex::new(Some(thread)), tcp })
    }

    /// A connection from within this process, before its handshake.
    ///
    /// # Errors
    /// The system has no thread or no descriptor left.
    pub fn connect(&self) -> io::Result<UnixStream> {
        let (ours, theirs) = UnixStream::pair()?;
        self.shared.clone().take(theirs.into())?;
        Ok(ours)
    }

    /// The TCP address that is listened on, with its true port.
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        self.tcp
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        self.shared.open().sockets.len()
    }

    /// What was served since the start, by volume.
    pub fn traffic(&self) -> BTreeMap<String, Traffic> {
        let open = self.shared.open();
        let mut traffic = open.closed.clone();
        for (volume, meter) in open.meters.values() {
            let sum = traffic.entry(volume.clone()).or_default();
            sum.add(&meter.traffic());
            sum.connections += 1;
        }
        traffic
    }

    /// Stops accepting and removes the socket file, lets requests in progress finish, refuses later ones with
    /// ESHUTDOWN and closes all connections. Blocks, at most a little longer than [`Limits::stop`].
    pub fn stop(&self) {
        let thread = self.accepting.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = thread else { return };
        let shared = &self.shared;
        shared.orders.stopping.store(true, Ordering::Release);
        shared.bell.ring();
        if thread.join().is_err() {
            tracing::error!("the thread that accepts connections had panicked");
        }
        // Nobody is added any more. What has arrived is still read and refused.
        shared.open().sockets.values().for_each(|socket| socket.close_receiving());
        if shared.wait_until_closed(shared.limits.stop) {
            return;
        }
        shared.orders.abandon.store(true, Ordering::Release);
        shared.open().sockets.values().for_each(|socket| socket.close());
        if !shared.wait_until_closed(Duration::from_secs(2)) {
            tracing::warn!(
                connections = self.connections(),
                "connections are still busy and were left behind"
            );
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn open(&self) -> MutexGuard<'_, Open> {
        // No change of the table can be left half done.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// False when the time was over first.
    fn wait_until_closed(&self, time: Duration) -> bool {
        let wait = self.closed.wait_timeout_while(self.open(), time, |open| !open.sockets.is_empty());
        let (open, _) = wait.unwrap_or_else(PoisonError::into_inner);
        open.sockets.is_empty()
    }

    fn accept(self: Arc<Shared>, listeners: &[Listener]) {
        while !self.orders.stopping.load(Ordering::Acquire) {
            let mut fds: Vec<PollFd<'_>> =
                listeners.iter().map(|listener| PollFd::new(listener, PollFlags::IN)).collect();
            fds.push(PollFd::new(&self.bell, PollFlags::IN));
            let polled = socket::poll_some(&mut fds, None);
            let accepted = polled.and_then(|_| {
                for (listener, fd) in listeners.iter().zip(&fds) {
                    if !fd.revents().is_empty() {
                        self.clone().accept_one(listener)?;
                    }
                }
                Ok(())
            });
            if let Err(error) = accepted {
                tracing::warn!(%error, "cannot accept a connection");
                // Most likely there are no file descriptors left: it does not help to try at once.
                thread::sleep(Duration::from_millis(100));
            }
        }
    }

    fn accept_one(self: Arc<Shared>, listener: &Listener) -> io::Result<()> {
        match listener.accept() {
            Ok(fd) => self.take(fd),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Serves a connection on a thread of its own.
    fn take(self: Arc<Shared>, fd: OwnedFd) -> io::Result<()> {
        let socket = Arc::new(Socket::new(fd));
        let number = {
            let mut open = self.open();
            if open.sockets.len() >= self.limits.connections {
                tracing::warn!(connections = open.sockets.len(), "too many connections: one was refused");
                return Ok(());
            }
            open.next += 1;
            let number = open.next;
            open.sockets.insert(number, socket.clone());
            number
        };
        // From here on the guard takes the connection off the table, whatever happens.
        let guard = Guard { shared: self, number };
        thread::Builder::new().name(format!("nbd-{number}")).spawn(move || guard.serve(&socket))?;
        Ok(())
    }
}

/// A connection's place in the table.
struct Guard {
    shared: Arc<Shared>,
    number: u64,
}

impl Guard {
    fn serve(&self, socket: &Socket) {
        let connection = self.number;
        match self.session(socket) {
            Ok((name, End::Left)) => tracing::debug!(connection, name, "the client left"),
            Ok((name, end)) => tracing::info!(connection, name, reason = %end, "connection closed"),
            Err(NoSession::Left) => tracing::debug!(connection, "the client left in the handshake"),
            Err(why) => tracing::info!(connection, reason = %why, "handshake failed"),
        }
    }

    fn session(&self, socket: &Socket) -> Result<(String, End), NoSession> {
        let shared = &*self.shared;
        socket.send_timeout(shared.limits.handshake)?;
        let session = Handshake {
            socket,
            exports: &*shared.exports,
            runtime: &shared.runtime,
            stopping: &shared.orders.stopping,
            deadline: Instant::now() + shared.limits.handshake,
        }
        .run()?;
        socket.receive_timeout(None)?;
        socket.send_timeout(shared.limits.send_timeout)?;
        let patience = shared.limits.send_timeout;
        let runtime = shared.runtime.clone();
        let meter = Arc::<Meter>::default();
        let volume = metered_as(session.device.name());
        shared.open().meters.insert(self.number, (volume, meter.clone()));
        let mut transmission = Transmission::new(socket, &shared.orders, &session, meter, runtime, patience)?;
        Ok((session.name.clone(), transmission.run()))
    }
}

/// Under which name it is counted what a device serves: the snapshots of a volume, of which there may be any number, are
/// counted together.
fn metered_as(name: &str) -> String {
    match name.split_once('@') {
        Some((volume, _)) => format!("{volume}@*"),
        None => name.to_owned(),
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Also ends the connection for the client where the socket is still held for a moment elsewhere.
        let mut open = self.shared.open();
        if let Some(socket) = open.sockets.remove(&self.number) {
            socket.close();
        }
        if let Some((volume, meter)) = open.meters.remove(&self.number) {
            open.closed.entry(volume).or_default().add(&meter.traffic());
        }
        drop(open);
        self.shared.closed.notify_all();
    }
}
