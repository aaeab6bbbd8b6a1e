//! Control of a running daemon: HTTP/1.1 over a unix socket that only its owner may open.
//!
//! ```text
//! GET    /v1/status                  the daemon and what it serves; sends no request to the store
//! GET    /v1/requests                what was sent to the store since the start
//! GET    /v1/metrics                 everything that is measured
//! GET    /metrics                    the same as text, for Prometheus
//! GET    /v1/volumes                 every volume of the pool
//! POST   /v1/volumes                 create one, and serve it
//! GET    /v1/volumes/NAME            one volume
//! DELETE /v1/volumes/NAME            stop serving it and delete it
//! POST   /v1/volumes/NAME/resize     give it another size; answers when a head says so
//! POST   /v1/volumes/NAME/properties change its properties; answers when a head says so and they hold
//! GET    /v1/volumes/NAME/history    the states that it can go back to
//! POST   /v1/volumes/NAME/rewind     go back to one, in place or as a new volume
//! GET    /v1/snapshots               every snapshot of the pool
//! POST   /v1/volumes/NAME/snapshots  make a snapshot of one
//! POST   /v1/volumes/V@S/labels      change the labels of a snapshot; DELETE /v1/volumes/V@S deletes it
//! POST   /v1/volumes/NAME/fork       make a volume from one, or from a snapshot V@S
//! GET    /v1/groups                  every group of snapshots of the pool
//! POST   /v1/groups                  make snapshots of several volumes at one point
//! POST   /v1/reclaim                 make a round of reclaim
//! POST   /v1/volumes/NAME/open       serve it, read-only or after a damaged log was given up from a position on
//! ```
//!
//! Bodies are JSON, of the types in [`api`]. A failure is `{"error":{"kind":…,"message":…}}` with a status code
//! that goes with the kind ([`ErrorKind::status`]). What the requests do is a [`Daemon`]: nothing here knows the engine.

#![forbid(unsafe_code)]

pub mod api;
mod client;
mod error;
mod exposition;
mod routes;
mod server;
mod socket;

use std::{future::Future, pin::Pin, sync::Arc};

pub use client::Client;
pub use error::{ApiError, ErrorKind};
pub use exposition::exposition;
pub use server::{Limits, Server};
pub use socket::ListenError;

/// The result of a call.
pub type Result<T> = std::result::Result<T, ApiError>;

/// What a [`Daemon`] answers with.
pub type Answer<T> = Pin<Box<dyn Future<Output = Result<T>> + Send>>;

/// What the requests are asked of. A call runs to its end, also when the one who asked has gone.
pub trait Daemon: Send + Sync + 'static {
    /// The daemon and what it serves.
    fn status(self: Arc<Self>) -> Answer<api::Status>;
    /// What was sent to the store since the start.
    fn requests(self: Arc<Self>) -> Answer<api::Requests>;
    /// Everything that is measured.
    fn metrics(self: Arc<Self>) -> Answer<api::Metrics>;
    /// Every volume of the pool.
    fn volumes(self: Arc<Self>) -> Answer<api::Volumes>;
    /// One volume.
    fn volume(self: Arc<Self>, name: String) -> Answer<api::Volume>;
    /// Creates a volume and serves it.
    fn create(self: Arc<Self>, request: api::CreateVolume) -> Answer<api::Volume>;
    /// Deletes a volume.
    fn delete(self: Arc<Self>, name: String) -> Answer<api::Deleted>;
    /// Gives a volume that is served another size.
    fn resize(self: Arc<Self>, name: String, request: api::ResizeVolume) -> Answer<api::Volume>;
    /// Other properties.
    fn set(self: Arc<Self>, name: String, request: api::SetProperties) -> Answer<api::Volume>;
    /// The states that a volume can go back to.
    fn history(self: Arc<Self>, name: String) -> Answer<api::History>;
    /// Goes back to one.
    fn rewind(self: Arc<Self>, name: String, request: api::RewindVolume) -> Answer<api::Rewound>;
    /// Every snapshot of the pool.
    fn snapshots(self: Arc<Self>) -> Answer<api::Snapshots>;
    /// Makes a snapshot of a volume.
    fn snapshot(self: Arc<Self>, volume: String, request: api::CreateSnapshot) -> Answer<api::Snapshot>;
    /// Every group of snapshots of the pool.
    fn groups(self: Arc<Self>) -> Answer<api::Groups>;
    /// Makes snapshots of several volumes at one point.
    fn group(self: Arc<Self>, request: api::CreateGroup) -> Answer<api::Group>;
    /// Changes the labels of a snapshot.
    fn label(self: Arc<Self>, name: String, request: api::LabelSnapshot) -> Answer<api::Snapshot>;
    /// Makes a volume from another, or from a snapshot.
    fn fork(self: Arc<Self>, source: String, request: api::ForkVolume) -> Answer<api::Volume>;
    /// Makes a round of reclaim.
    fn reclaim(self: Arc<Self>, request: api::ReclaimPool) -> Answer<api::Reclaimed>;
    /// Says how much of the pool is whose.
    fn space(self: Arc<Self>) -> Answer<api::Space>;
    /// Serves a volume.
    fn open(self: Arc<Self>, name: String, request: api::OpenVolume) -> Answer<api::Opened>;
}
