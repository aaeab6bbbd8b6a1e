//! Asking a daemon.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, client::conn::http1, header::CONTENT_TYPE, header::HOST};
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use tokio::net::UnixStream;

use crate::{ApiError, ErrorKind, Result, api, error::ErrorBody};

/// The longest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// How long a question may take.
const ASK: Duration = Duration::from_secs(60);
/// How long measuring a pool may take: every map is walked.
const MEASURE: Duration = Duration::from_secs(3_600);
/// How long a request may take that changes something: it waits for the store. What takes longer goes on in the daemon.
const CHANGE: Duration = Duration::from_secs(600);

/// Speaks with the daemon behind a socket. Each call is a connection of its own.
#[derive(Debug, Clone)]
pub struct Client {
    path: PathBuf,
}

impl Client {
    /// A client of the daemon at `path`; `None` when no daemon answers there.
    ///
    /// # Errors
    /// There is something, but this user may not speak with it.
    pub async fn find(path: &Path) -> Result<Option<Client>> {
        match UnixStream::connect(path).await {
            Ok(_) => Ok(Some(Client { path: path.to_owned() })),
            Err(error) if nobody(&error) => Ok(None),
            Err(error) => Err(unavailable(path, &error)),
        }
    }

    /// The daemon and what it serves.
    pub async fn status(&self) -> Result<api::Status> {
        self.get("/v1/status").await
    }

    /// What was sent to the store since the daemon's start.
    pub async fn requests(&self) -> Result<api::Requests> {
        self.get("/v1/requests").await
    }

    /// Everything that the daemon measures.
    pub async fn metrics(&self) -> Result<api::Metrics> {
        self.get("/v1/metrics").await
    }

    /// Every volume of the pool.
    pub async fn volumes(&self) -> Result<api::Volumes> {
        self.get("/v1/volumes").await
    }

    /// One volume.
    pub async fn volume(&self, name: &str) -> Result<api::Volume> {
        self.get(&of_volume(name, "")?).await
    }

    /// Creates a volume; the daemon serves it.
    pub async fn create(&self, request: &api::CreateVolume) -> Result<api::Volume> {
        self.send(Method::POST, "/v1/volumes", Some(request)).await
    }

    /// Deletes a volume.
    pub async fn delete(&self, name: &str) -> Result<api::Deleted> {
        self.send(Method::DELETE, &of_volume(name, "")?, None::<&()>).await
    }

    /// Gives a volume another size.
    pub async fn resize(&self, name: &str, request: &api::ResizeVolume) -> Result<api::Volume> {
        self.send(Method::POST, &of_volume(name, "/resize")?, Some(request)).await
    }

    /// Changes a volume's properties.
    pub async fn set(&self, name: &str, request: &api::SetProperties) -> Result<api::Volume> {
        self.send(Method::POST, &of_volume(name, "/properties")?, Some(request)).await
    }

    /// The states that a volume can go back to.
    pub async fn history(&self, name: &str) -> Result<api::History> {
        self.get(&of_volume(name, "/history")?).await
    }

    /// Takes a volume back, or makes a new one of a state from before.
    pub async fn rewind(&self, name: &str, request: &api::RewindVolume) -> Result<api::Rewound> {
        self.send(Method::POST, &of_volume(name, "/rewind")?, Some(request)).await
    }

    /// Has the daemon make a round of reclaim.
    pub async fn reclaim(&self, request: &api::ReclaimPool) -> Result<api::Reclaimed> {
        self.send(Method::POST, "/v1/reclaim", Some(request)).await
    }

    /// How much of the pool is whose.
    pub async fn space(&self) -> Result<api::Space> {
        self.send_within(MEASURE, Method::GET, "/v1/space", None::<&()>).await
    }

    /// Has the daemon serve a volume.
    pub async fn open(&self, name: &str, request: &api::OpenVolume) -> Result<api::Opened> {
        self.send(Method::POST, &of_volume(name, "/open")?, Some(request)).await
    }

    /// Every snapshot of the pool.
    pub async fn snapshots(&self) -> Result<api::Snapshots> {
        self.get("/v1/snapshots").await
    }

    /// Makes a snapshot of a volume.
    pub async fn snapshot(&self, volume: &str, request: &api::CreateSnapshot) -> Result<api::Snapshot> {
        self.send(Method::POST, &of_volume(volume, "/snapshots")?, Some(request)).await
    }

    /// Every group of snapshots of the pool.
    pub async fn groups(&self) -> Result<api::Groups> {
        self.get("/v1/groups").await
    }

    /// Makes a snapshot of each of several volumes, all at one point.
    pub async fn group(&self, request: &api::CreateGroup) -> Result<api::Group> {
        self.send(Method::POST, "/v1/groups", Some(request)).await
    }

    /// Changes the labels of a snapshot.
    pub async fn label(&self, name: &str, request: &api::LabelSnapshot) -> Result<api::Snapshot> {
        self.send(Method::POST, &of_volume(name, "/labels")?, Some(request)).await
    }

    /// Makes a volume from another one or from a snapshot.
    pub async fn fork(&self, source: &str, request: &api::ForkVolume) -> Result<api::Volume> {
        self.send(Method::POST, &of_volume(source, "/fork")?, Some(request)).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.send(Method::GET, path, None::<&()>).await
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T> {
        let time = if method == Method::GET { ASK } else { CHANGE };
        self.send_within(time, method, path, body).await
    }

    async fn send_within<T: DeserializeOwned>(
        &self,
        time: Duration,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T> {
        let body = match body {
            Some(body) => serde_json::to_vec(body).map_err(|error| self.broken(&error))?,
            None => Vec::new(),
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "localhost")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| self.broken(&error))?;
        match tokio::time::timeout(time, self.exchange(request)).await {
            Ok(answer) => answer,
            Err(_) => {
                let message = format!(
                    "the daemon at {} did not answer within {} s",
                    self.path.display(),
                    time.as_secs()
                );
                Err(ApiError::new(ErrorKind::Timeout, message))
            }
        }
    }

    async fn exchange<T: DeserializeOwned>(&self, request: Request<Full<Bytes>>) -> Result<T> {
        let stream =
            UnixStream::connect(&self.path).await.map_err(|error| unavailable(&self.path, &error))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.broken(&error))?;
        let connection = tokio::spawn(connection);
        let answer = async {
            let response = sender.send_request(request).await.map_err(|error| self.broken(&error))?;
            let good = response.status().is_success();
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| self.broken(&error))?.to_bytes();
            if good {
                return serde_json::from_slice(&body).map_err(|error| self.broken(&error));
            }
            match serde_json::from_slice::<ErrorBody>(&body) {
                Ok(body) => Err(body.error),
                Err(_) => Err(self.broken(&format_args!("status {status} without a reason"))),
            }
        };
        let answer = answer.await;
        connection.abort();
        answer
    }

    fn broken(&self, why: &dyn std::fmt::Display) -> ApiError {
        let message = format!(
            "the exchange with the daemon at {} failed: {why}; what was asked for may be done or not",
            self.path.display()
        );
        ApiError::new(ErrorKind::Internal, message)
    }
}

/// The path of a volume. A name that no volume can have never leaves: it could mean another path.
fn of_volume(name: &str, rest: &str) -> Result<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'@');
    if !name.is_empty() && name.bytes().all(plain) {
        return Ok(format!("/v1/volumes/{name}{rest}"));
    }
    let message = format!("{name:?} is no name of a volume: expected a-z, 0-9, '.', '_' and '-'");
    Err(ApiError::new(ErrorKind::Invalid, message))
}

fn nobody(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::NotADirectory
    )
}

fn unavailable(path: &Path, error: &io::Error) -> ApiError {
    ApiError::new(ErrorKind::Unavailable, format!("cannot reach the daemon at {}: {error}", path.display()))
}
