//! Every bound of the server, in one place.

use std::time::Duration;

/// The most data one READ or WRITE may carry; advertised as the maximum payload.
pub(crate) const PAYLOAD_BYTES_MAX: u32 = 32 << 20;

/// A WRITE that claims more than this is not drained and answered: its connection is closed.
pub(crate) const PAYLOAD_BYTES_ABSURD: u32 = 256 << 20;

/// The receive buffer: a WRITE of 1 MiB and its neighbours fit.
pub(crate) const RECEIVE_BYTES: usize = (1 << 20) + (64 << 10);

/// Replies are sent at the latest when so many bytes are waiting.
pub(crate) const REPLY_BYTES_FULL: usize = 1 << 20;

/// A reply buffer that one large read made grow beyond this is given back after it was sent.
pub(crate) const REPLY_BYTES_KEPT: usize = 3 << 20;

/// A structured READ is answered in pieces of at most so many bytes, cut at multiples of it.
pub(crate) const READ_PIECE_BYTES: u64 = 1 << 20;

/// A READ with the flag DF ("don't fragment") may be so long; more is EOVERFLOW.
pub(crate) const UNFRAGMENTED_BYTES_MAX: u32 = 1 << 20;

/// The most changes in one call of the device. Their replies leave before the next are made: the client works on them
/// meanwhile, instead of the two taking turns.
pub(crate) const BATCH_CHANGES_MAX: usize = 16;

/// The most extents in a reply to BLOCK_STATUS.
pub(crate) const EXTENTS_MAX: usize = 8192;

/// The most states that one connection compares the device with.
pub(crate) const STATES_MAX: usize = 8;

/// The device is asked for the extents of so many bytes at a time.
pub(crate) const EXTENT_STEP_BYTES: u64 = 64 << 20;

/// The most tasks of one connection that are out or whose reply was not sent yet. Above it the socket is not
/// read.
pub(crate) const LATER_REQUESTS_MAX: usize = 128;

/// The most bytes that those tasks may hold. One alone may always run.
pub(crate) const LATER_BYTES_MAX: usize = 64 << 20;

/// The longest option that is read; a longer one is refused.
pub(crate) const OPTION_BYTES_MAX: u32 = 64 << 10;

/// An option that claims more than this is not drained and refused: its connection is closed.
pub(crate) const OPTION_BYTES_ABSURD: u32 = 16 << 20;

/// The longest name of an export (and any other string), as the protocol has it.
pub(crate) const STRING_BYTES_MAX: usize = 4096;

/// The bounds that a caller may set.
///
/// A connection holds at most one receive buffer (1 MiB), one WRITE larger than that (32 MiB), 64 MiB for
/// requests that had to wait, and the replies of one batch (1 MiB, or one simple READ of 32 MiB).
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections served at once; more are refused as they are accepted.
    pub connections: usize,
    /// How long a client may take for the whole handshake.
    pub handshake: Duration,
    /// How long a client may leave its replies unread, and how long a reply that is still being made is kept
    /// for a client that has sent its last request.
    pub send_timeout: Duration,
    /// How long [`stop`](super::Server::stop) lets requests in progress finish.
    pub stop: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 1024,
            handshake: Duration::from_secs(30),
            send_timeout: Duration::from_secs(60),
            stop: Duration::from_secs(10),
        }
    }
}
