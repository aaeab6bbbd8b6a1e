//! The other end of the wire: a client for commands that copy whole disks.
//!
//! Requests are pipelined: up to [`OUT_MAX`] are out at a time. Replies come in any order and are handed out in the
//! order of the requests. Calls block. Who sends many large writes must not have large reads out as well: then each
//! side could wait for the other to receive.
//!
//! What a server says is checked before it is believed: no length is allocated that no request asked for.

mod hello;
mod waiting;

use std::{
    collections::VecDeque,
    io::{self, BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
};

use self::{hello::Hello, waiting::Waiting};
use super::{
    limits::{EXTENTS_MAX, PAYLOAD_BYTES_MAX},
    wire::{self, chunk, command, export_flag},
};
use crate::Extent;

/// Requests that may be out at a time.
pub const OUT_MAX: usize = 16;
/// Bytes that are received at once.
const RECEIVE_BYTES: usize = 256 << 10;
/// The longest message of an error in a chunk.
const ERROR_BYTES_MAX: usize = 8 << 10;

/// Why something could not be asked or was not answered.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody answers there.
    #[error("cannot connect to the NBD server at {}: {source}", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The connection is gone: the server has ended, or closed it.
    #[error("the connection to the NBD server was lost: {0}")]
    Lost(#[from] io::Error),
    /// The server does not keep to the protocol.
    #[error("the NBD server sent something else than {expected}: {found}")]
    Broken {
        /// What should have come.
        expected: &'static str,
        /// What came.
        found: String,
    },
    /// The export is not there, or cannot be used.
    #[error("export {export} cannot be used: {reason}")]
    Export {
        /// Its name.
        export: String,
        /// What the server said.
        reason: String,
    },
    /// A request failed.
    #[error("{what} at {offset} of {length} bytes failed: {}", io::Error::from_raw_os_error(*errno))]
    Failed {
        /// The kind of request.
        what: &'static str,
        /// Its first byte.
        offset: u64,
        /// Its bytes.
        length: u32,
        /// The error number of the protocol, which is that of Linux.
        errno: i32,
    },
}

/// A request.
#[derive(Clone, Copy, Debug)]
pub enum Ask<'a> {
    /// Read a range, 32 MiB at most.
    Read {
        /// First byte.
        offset: u64,
        /// Bytes.
        length: u32,
    },
    /// Write, 32 MiB at most.
    Write {
        /// First byte.
        offset: u64,
        /// The contents.
        data: &'a [u8],
    },
    /// Make a range zeros; it may become a hole.
    Zero {
        /// First byte.
        offset: u64,
        /// Bytes.
        length: u32,
    },
    /// Make durable what was acknowledged.
    Flush,
    /// What is known of a range without reading it.
    Status {
        /// First byte.
        offset: u64,
        /// Bytes.
        length: u32,
    },
}

impl Ask<'_> {
    /// Its number, its range, and how messages call it.
    fn parts(&self) -> (u16, u64, u32, &'static str) {
        match *self {
            Ask::Read { offset, length } => (command::READ, offset, length, "a read"),
            Ask::Write { offset, data } => (command::WRITE, offset, data.len() as u32, "a write"),
            Ask::Zero { offset, length } => (command::WRITE_ZEROES, offset, length, "zeroing"),
            Ask::Flush => (command::FLUSH, 0, 0, "a flush"),
            Ask::Status { offset, length } => (command::BLOCK_STATUS, offset, length, "asking for extents"),
        }
    }
}

/// A reply.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is done.
    Done,
    /// What was read, from this byte on.
    Data(u64, Vec<u8>),
    /// Extents in order, from this byte on; they may end before the range that was asked for.
    Extents(u64, Vec<Extent>),
}

/// A connection that serves one export.
pub struct Client {
    stream: BufReader<UnixStream>,
    size_bytes: u64,
    read_only: bool,
    /// The number of the oldest request that is out; the others follow.
    first: u64,
    waiting: VecDeque<Waiting>,
}

impl Client {
    /// Connects to the server at `socket` and asks for an export.
    ///
    /// # Errors
    /// Nobody answers, or there is no such export.
    pub fn connect(socket: &Path, export: &str) -> Result<Client, ClientError> {
        let stream = UnixStream::connect(socket)
            .map_err(|source| ClientError::Connect { path: socket.to_owned(), source })?;
        Client::over(stream, export)
    }

    /// Asks for an export over a connection that stands.
    ///
    /// # Errors
    /// There is no such export, or the server is none that gives structured replies and block status.
    pub fn over(stream: UnixStream, export: &str) -> Result<Client, ClientError> {
        let stream = BufReader::with_capacity(RECEIVE_BYTES, stream);
        let agreed = Hello::new(stream, export).run()?;
        Ok(Client {
            stream: agreed.stream,
            size_bytes: agreed.size_bytes,
            read_only: agreed.flags & export_flag::READ_ONLY != 0,
            first: 0,
            waiting: VecDeque::with_capacity(OUT_MAX),
        })
    }

    /// The export's size when the connection began.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Whether changes are refused.
    pub fn read_only(&self) -> bool {
        self.read_only
    }

    /// Whether a reply must be taken before the next request.
    pub fn is_full(&self) -> bool {
        self.waiting.len() >= OUT_MAX
    }

    /// Whether nothing is out.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Sends a request.
    ///
    /// # Panics
    /// When [`Client::is_full`], or the request carries more than 32 MiB.
    ///
    /// # Errors
    /// The connection is lost.
    pub fn submit(&mut self, ask: &Ask<'_>) -> Result<(), ClientError> {
        assert!(!self.is_full(), "{OUT_MAX} requests are out");
        let (command, offset, length, what) = ask.parts();
        let carries = matches!(command, command::READ | command::WRITE);
        assert!(!carries || length <= PAYLOAD_BYTES_MAX, "{what} of {length} bytes");
        let cookie = self.first + self.waiting.len() as u64;
        let mut header = Vec::with_capacity(wire::REQUEST_BYTES);
        header.extend(wire::REQUEST_MAGIC.to_be_bytes());
        header.extend(0u16.to_be_bytes());
        header.extend(command.to_be_bytes());
        header.extend(cookie.to_be_bytes());
        header.extend(offset.to_be_bytes());
        header.extend(length.to_be_bytes());
        let mut stream = self.stream.get_ref();
        stream.write_all(&header)?;
        if let Ask::Write { data, .. } = ask {
            stream.write_all(data)?;
        }
        let data = if command == command::READ { vec![0; length as usize] } else { Vec::new() };
        let extents = Vec::new();
        let out = Waiting { offset, length, command, what, data, filled: 0, extents, errno: 0, done: false };
        self.waiting.push_back(out);
        Ok(())
    }

    /// Waits for the reply to the oldest request that is out.
    ///
    /// # Panics
    /// When [`Client::is_idle`].
    ///
    /// # Errors
    /// The request failed, or the connection is of no use any more.
    pub fn receive(&mut self) -> Result<Answer, ClientError> {
        loop {
            if self.waiting.front().expect("a request is out").done {
                self.first += 1;
                let done = self.waiting.pop_front().expect("it was seen above");
                return done.answer();
            }
            self.reply()?;
        }
    }

    /// One request and its reply.
    ///
    /// # Errors
    /// As [`Client::receive`].
    pub fn call(&mut self, ask: &Ask<'_>) -> Result<Answer, ClientError> {
        assert!(self.is_idle(), "a call is made alone");
        self.submit(ask)?;
        self.receive()
    }

    /// Takes one message in.
    fn reply(&mut self) -> Result<(), ClientError> {
        match u32::from_be_bytes(self.array()?) {
            wire::SIMPLE_REPLY_MAGIC => {
                let errno = u32::from_be_bytes(self.array()?);
                let cookie = u64::from_be_bytes(self.array()?);
                let waiting = self.waiting(cookie)?;
                if errno == 0 && matches!(waiting.command, command::READ | command::BLOCK_STATUS) {
                    return Err(broken("a structured reply", "a simple one"));
                }
                waiting.errno = errno;
                waiting.done = true;
                Ok(())
            }
            wire::CHUNK_MAGIC => self.chunk(),
            other => Err(broken("a reply", format!("magic {other:#x}"))),
        }
    }

    fn chunk(&mut self) -> Result<(), ClientError> {
        let flags = u16::from_be_bytes(self.array()?);
        let kind = u16::from_be_bytes(self.array()?);
        let cookie = u64::from_be_bytes(self.array()?);
        let length = u32::from_be_bytes(self.array()?) as usize;
        match kind {
            chunk::NONE if length == 0 => {}
            chunk::OFFSET_DATA if length >= 8 => {
                let offset = u64::from_be_bytes(self.array()?);
                let (index, range) = self.room(cookie, offset, length - 8)?;
                self.stream.read_exact(&mut self.waiting[index].data[range])?;
                self.waiting[index].filled += length - 8;
            }
            chunk::BLOCK_STATUS if (12..=4 + 8 * EXTENTS_MAX).contains(&length) => {
                let mut payload = vec![0; length];
                self.stream.read_exact(&mut payload)?;
                self.waiting(cookie)?.learn(&payload[4..])?;
            }
            kind if kind & 1 << 15 != 0 && (6..=ERROR_BYTES_MAX).contains(&length) => {
                let mut payload = vec![0; length];
                self.stream.read_exact(&mut payload)?;
                self.waiting(cookie)?.errno = wire::u32_at(&payload, 0).max(1);
            }
            kind => return Err(broken("a chunk", format!("kind {kind:#x} of {length} bytes"))),
        }
        self.waiting(cookie)?.done |= flags & chunk::FLAG_DONE != 0;
        Ok(())
    }

    /// Where in the buffer of a read these bytes belong.
    fn room(
        &mut self,
        cookie: u64,
        offset: u64,
        length: usize,
    ) -> Result<(usize, std::ops::Range<usize>), ClientError> {
        let waiting = self.waiting(cookie)?;
        let start = offset.checked_sub(waiting.offset).and_then(|start| usize::try_from(start).ok());
        let range = start.and_then(|start| Some(start..start.checked_add(length)?));
        match range.filter(|range| range.end <= waiting.data.len()) {
            Some(range) => Ok(((cookie - self.first) as usize, range)),
            None => Err(broken("bytes that were asked for", format!("{length} bytes at {offset}"))),
        }
    }

    fn waiting(&mut self, cookie: u64) -> Result<&mut Waiting, ClientError> {
        let index = cookie.checked_sub(self.first).and_then(|index| usize::try_from(index).ok());
        let waiting = index.and_then(|index| self.waiting.get_mut(index)).filter(|waiting| !waiting.done);
        waiting.ok_or_else(|| broken("a reply to a request that is out", format!("cookie {cookie}")))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ClientError> {
        let mut bytes = [0; N];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

fn broken(expected: &'static str, found: impl Into<String>) -> ClientError {
    ClientError::Broken { expected, found: found.into() }
}
