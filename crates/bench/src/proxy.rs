//! A store with weather: a proxy before an S3 server on loopback that breaks requests as a schedule says.
//!
//! ```text
//!   esker ──▶ proxy ──▶ server        what may happen to a request, by the sky of the moment:
//!                                     before: refused, 500 / 503 / 429 / 403, delayed
//!                                     after:  the answer is lost, cut, dripped, stands still
//!                                     later:  the client hears nothing, the PUT is applied up to 20 s later
//! ```
//!
//! A request is forwarded byte for byte, so its signature stays good; one connection carries one request. Everything that
//! is drawn comes from the seed, in the order in which requests come.

mod request;
mod sky;

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::Sender,
    },
    time::Duration,
};

use anyhow::Result;

use crate::torture::writer::Random;
use request::Request;
use sky::Fault;
pub use sky::Sky;

/// Nothing waits longer for the server.
const SERVER_TIME: Duration = Duration::from_secs(60);

/// A proxy; its port closes when it is dropped.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    server: SocketAddr,
    state: Mutex<State>,
    closed: AtomicBool,
}

struct State {
    sky: Sky,
    random: Random,
    counts: Counts,
    /// Who gets a copy of each request.
    watcher: Option<Sender<Vec<u8>>>,
}

/// What has passed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    /// Requests.
    pub requests: u64,
    /// Requests to which something was done.
    pub broken: u64,
}

impl Proxy {
    /// A proxy on a free port, under a clear sky.
    pub fn start(server: SocketAddr, seed: u64) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let state =
            State { sky: Sky::Clear, random: Random(seed | 1), counts: Counts::default(), watcher: None };
        let shared = Arc::new(Shared { server, state: Mutex::new(state), closed: AtomicBool::new(false) });
        let accepting = shared.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if accepting.closed.load(Ordering::Acquire) {
                    return;
                }
                let shared = accepting.clone();
                // Who breaks off a connection learns it from the connection.
                std::thread::spawn(move || drop(shared.serve(client)));
            }
        });
        Ok(Self { address, shared })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The environment of a client of the server, by way of the proxy.
    pub fn environment(&self, of_server: Vec<(String, String)>) -> Vec<(String, String)> {
        let endpoint = |(name, value): (String, String)| match name.as_str() {
            "AWS_ENDPOINT" => (name, format!("http://{}", self.address)),
            _ => (name, value),
        };
        of_server.into_iter().map(endpoint).collect()
    }

    /// From now on `watcher` gets each request as it came, in the order of coming.
    pub fn watch(&self, watcher: Sender<Vec<u8>>) {
        self.shared.lock().watcher = Some(watcher);
    }

    /// Changes the weather for requests that come from now on.
    pub fn set_sky(&self, sky: Sky) {
        self.shared.lock().sky = sky;
    }

    /// What has passed so far.
    pub fn counts(&self) -> Counts {
        self.shared.lock().counts
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
        // The last connection wakes the one who accepts.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn draw(&self, request: &Request) -> Fault {
        let mut state = self.lock();
        let State { sky, random, counts, watcher } = &mut *state;
        let fault = sky.draw(request.is_put(), random);
        counts.requests += 1;
        if let Some(watcher) = watcher {
            // Who does not listen any more misses nothing.
            let _ = watcher.send(request.bytes().to_vec());
        }
        counts.broken += u64::from(fault != Fault::None);
        fault
    }

    fn serve(&self, mut client: TcpStream) -> std::io::Result<()> {
        client.set_read_timeout(Some(SERVER_TIME))?;
        if self.lock().sky == Sky::Away {
            return client.shutdown(Shutdown::Both);
        }
        let request = Request::read(&mut client)?;
        match self.draw(&request) {
            Fault::None => client.write_all(&self.forward(&request)?),
            Fault::Refuse => client.shutdown(Shutdown::Both),
            Fault::Status(status) => client.write_all(sky::refusal(status).as_bytes()),
            Fault::Delay(pause) => {
                std::thread::sleep(pause);
                client.write_all(&self.forward(&request)?)
            }
            Fault::LoseAnswer => {
                self.forward(&request)?;
                client.shutdown(Shutdown::Both)
            }
            Fault::Late(pause) => {
                client.shutdown(Shutdown::Both)?;
                std::thread::sleep(pause);
                self.forward(&request).map(drop)
            }
            Fault::Cut => {
                let answer = self.forward(&request)?;
                client.write_all(&answer[..answer.len() / 2])?;
                client.shutdown(Shutdown::Both)
            }
            Fault::StandStill(pause) => {
                let answer = self.forward(&request)?;
                let (begin, rest) = answer.split_at(answer.len() * 3 / 4);
                client.write_all(begin)?;
                std::thread::sleep(pause);
                client.write_all(rest)
            }
            Fault::Drip => {
                let answer = self.forward(&request)?;
                for part in answer.chunks(answer.len().div_ceil(20).max(1)) {
                    client.write_all(part)?;
                    std::thread::sleep(Duration::from_millis(50));
                }
                Ok(())
            }
        }
    }

    /// Sends a request to the server; its whole answer.
    fn forward(&self, request: &Request) -> std::io::Result<Vec<u8>> {
        let mut server = TcpStream::connect(self.server)?;
        server.set_read_timeout(Some(SERVER_TIME))?;
        server.set_nodelay(true)?;
        server.write_all(request.bytes())?;
        let mut answer = Vec::new();
        server.read_to_end(&mut answer)?;
        Ok(answer)
    }
}

#[cfg(test)]
mod tests;
