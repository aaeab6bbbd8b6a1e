//! Accepting connections; one request each.

use std::{convert::Infallible, path::Path, sync::Arc, time::Duration};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{UnixListener, UnixStream},
    sync::Semaphore,
    task::JoinHandle,
};

use crate::{Daemon, ListenError, routes, socket};

/// Every bound of the server.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections served at once; further ones wait to be accepted.
    pub connections: usize,
    /// The longest body of a request.
    pub body_bytes: usize,
    /// The longest line and headers of a request.
    pub head_bytes: usize,
    /// How long a client may take for line and headers, and for the body.
    pub receive: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 64, body_bytes: 64 << 10, head_bytes: 16 << 10, receive: Duration::from_secs(10) }
    }
}

/// A running server. Dropping it stops it and removes the socket; requests in progress run to their end.
pub struct Server {
    accepting: JoinHandle<()>,
    _file: socket::SocketFile,
}

impl Server {
    /// Listens on the unix socket `path` and serves on the present tokio runtime.
    ///
    /// # Errors
    /// The socket cannot be listened on; see [`ListenError`].
    pub fn start(path: &Path, daemon: Arc<dyn Daemon>, limits: Limits) -> Result<Server, ListenError> {
        let (listener, file) = socket::listen(path)?;
        let listener = UnixListener::from_std(listener).map_err(|source| ListenError::System {
            action: "listen on",
            path: path.to_owned(),
            source,
        })?;
        Ok(Server { accepting: tokio::spawn(accept(listener, daemon, limits)), _file: file })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: UnixListener, daemon: Arc<dyn Daemon>, limits: Limits) {
    let places = Arc::new(Semaphore::new(limits.connections));
    loop {
        let place = places.clone().acquire_owned().await.expect("the semaphore is never closed");
        match listener.accept().await {
            Ok((stream, _)) => {
                let daemon = daemon.clone();
                tokio::spawn(async move {
                    serve(stream, daemon, limits).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a control connection");
                // Most likely there are no file descriptors left: it does not help to try at once.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(stream: UnixStream, daemon: Arc<dyn Daemon>, limits: Limits) {
    let service = service_fn(move |request| {
        let daemon = daemon.clone();
        async move { Ok::<_, Infallible>(routes::answer(daemon, request, limits).await) }
    });
    let mut builder = http1::Builder::new();
    builder
        .keep_alive(false)
        .timer(TokioTimer::new())
        .header_read_timeout(limits.receive)
        .max_buf_size(limits.head_bytes);
    if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "a control connection broke");
    }
}
