//! A server of the NBD protocol: fixed newstyle handshake, simple and structured replies; and a client for whole disks.
//!
//! ```text
//!   accept (one thread) ──► a thread for each connection
//!
//!   connection: recv ─► parse all complete requests ─► one batch of changes ─► reads ─► flush ─► one send
//!                ▲                                          │ Later            │ Later
//!                └── bell: replies that became ready ◄── tasks on the tokio runtime
//! ```
//!
//! Only the connection's own thread touches its socket. While requests are out as tasks it waits for its socket
//! and for the bell that a finished task rings, so that a client that does not read its replies can hold up
//! nobody but itself (rule W9): every byte it was promised is a copy in that connection's memory, inside the
//! bounds of [`Limits`], and after [`Limits::send_timeout`] it is disconnected.
//!
//! A batch is what one receive brought. Requests that are in flight together have no order in NBD, so the
//! batch's changes are made first, in order and a few at a time, then it is read, then one flush serves every FLUSH and
//! FUA in it. While the device asks for a pause, it is read first and the changes wait. A FLUSH covers every write acknowledged before it was sent, on any connection, because a write is
//! acknowledged only after the device has done it.

mod batch;
mod bell;
pub mod client;
mod context;
mod handshake;
mod later;
mod limits;
mod listen;
mod option;
mod receive;
mod replies;
mod request;
mod server;
mod socket;
mod spin;
mod status;
mod traffic;
mod transmission;
mod wire;

pub use client::Client;
pub use limits::Limits;
pub use listen::{Listeners, ServerError};
pub use server::Server;
pub use traffic::{Kind, Latency, Timed, Traffic};
