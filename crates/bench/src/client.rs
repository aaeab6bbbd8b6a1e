//! A pipelined NBD client over a unix socket: requests are queued and sent together, replies are taken from
//! large receives, without a copy. Fixed newstyle, simple replies.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{SendFlags, send},
};

const MAGIC: u64 = 0x4e42_444d_4147_4943;
const OPTION_MAGIC: u64 = 0x4948_4156_454f_5054;
const OPTION_REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
const REQUEST_MAGIC: u32 = 0x2560_9513;
const REPLY_MAGIC: u32 = 0x6744_6698;
const OPTION_GO: u32 = 7;
const REPLY_ACK: u32 = 1;
const REPLY_INFO: u32 = 3;
const INFO_EXPORT: u16 = 0;
/// Header of a simple reply.
const REPLY_BYTES: usize = 16;
/// Bytes asked for in one receive.
const RECEIVE_BYTES: usize = 1 << 20;

/// A connection in transmission.
pub struct Client {
    socket: UnixStream,
    out: Vec<u8>,
    inbox: Inbox,
    /// The export's size in bytes.
    pub size_bytes: u64,
}

/// What a request asks for.
#[derive(Debug, Clone, Copy)]
pub enum Request<'a> {
    /// Read so many bytes.
    Read {
        /// First byte.
        offset: u64,
        /// Bytes.
        length: u32,
    },
    /// Write.
    Write {
        /// First byte.
        offset: u64,
        /// The contents.
        data: &'a [u8],
    },
    /// Make durable what was acknowledged.
    Flush,
    /// Forget a range.
    Trim {
        /// First byte.
        offset: u64,
        /// Bytes.
        length: u32,
    },
}

/// The commands, with their numbers in the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Read.
    Read = 0,
    /// Write.
    Write = 1,
    /// Make durable.
    Flush = 3,
    /// Forget.
    Trim = 4,
}

/// An answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply {
    /// The number given with the request.
    pub cookie: u64,
    /// 0, or the NBD error.
    pub error: u32,
}

impl Client {
    /// Connects and asks for an export.
    pub fn connect(socket: &Path, export: &str) -> Result<Self> {
        let mut socket =
            UnixStream::connect(socket).with_context(|| format!("connect to {}", socket.display()))?;
        socket.set_read_timeout(Some(Duration::from_secs(120)))?;
        let mut greeting = [0; 18];
        socket.read_exact(&mut greeting)?;
        ensure!(greeting[..8] == MAGIC.to_be_bytes(), "the server does not speak NBD");
        ensure!(greeting[8..16] == OPTION_MAGIC.to_be_bytes(), "the server is not newstyle");
        let mut hello = 3_u32.to_be_bytes().to_vec();
        hello.extend(OPTION_MAGIC.to_be_bytes());
        hello.extend(OPTION_GO.to_be_bytes());
        hello.extend((export.len() as u32 + 6).to_be_bytes());
        hello.extend((export.len() as u32).to_be_bytes());
        hello.extend(export.as_bytes());
        hello.extend(0_u16.to_be_bytes());
        socket.write_all(&hello)?;
        let size_bytes = read_go(&mut socket, export)?;
        Ok(Self { socket, out: Vec::new(), inbox: Inbox::default(), size_bytes })
    }

    /// Queues a request; [`Client::send`] sends all that are queued.
    pub fn queue(&mut self, cookie: u64, request: Request<'_>) {
        let (command, range, data): (Command, (u64, u32), &[u8]) = match request {
            Request::Read { offset, length } => (Command::Read, (offset, length), &[]),
            Request::Write { offset, data } => (Command::Write, (offset, data.len() as u32), data),
            Request::Flush => (Command::Flush, (0, 0), &[]),
            Request::Trim { offset, length } => (Command::Trim, (offset, length), &[]),
        };
        self.queue_with(cookie, command, range, |out| out.extend_from_slice(data));
    }

    /// Queues a request of a range (offset, length); a write's contents are appended by `contents`.
    pub fn queue_with(
        &mut self,
        cookie: u64,
        command: Command,
        (offset, length): (u64, u32),
        contents: impl FnOnce(&mut Vec<u8>),
    ) {
        let mut header = [0; 28];
        header[..4].copy_from_slice(&REQUEST_MAGIC.to_be_bytes());
        header[6..8].copy_from_slice(&(command as u16).to_be_bytes());
        header[8..16].copy_from_slice(&cookie.to_be_bytes());
        header[16..24].copy_from_slice(&offset.to_be_bytes());
        header[24..].copy_from_slice(&length.to_be_bytes());
        self.out.extend_from_slice(&header);
        if command == Command::Write {
            let before = self.out.len();
            contents(&mut self.out);
            assert_eq!(self.out.len() - before, length as usize, "a write carries what it announces");
        }
    }

    /// Sends everything queued in one go. Replies that come while the socket is full are received, so that
    /// two full directions do not wait for each other.
    pub fn send(&mut self) -> Result<()> {
        let mut sent = 0;
        while sent < self.out.len() {
            match send(&self.socket, &self.out[sent..], SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(bytes) => sent += bytes,
                Err(Errno::AGAIN) => {
                    if self.ready(PollFlags::IN | PollFlags::OUT, None)?.contains(PollFlags::IN) {
                        self.fill()?;
                    }
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error).context("send requests"),
            }
        }
        self.out.clear();
        Ok(())
    }

    /// Waits for any replies, and takes all that are there with one system call.
    pub fn fill(&mut self) -> Result<()> {
        self.inbox.fill(&mut self.socket)
    }

    /// Waits until there is something to receive; false when the time is over before.
    pub fn wait(&self, patience: Duration) -> Result<bool> {
        Ok(!self.ready(PollFlags::IN, Some(patience))?.is_empty())
    }

    /// The next reply that is whole, with what it carries: so many bytes as `length_of` its cookie says.
    pub fn next(&mut self, length_of: impl FnOnce(u64) -> usize) -> Result<Option<(Reply, &[u8])>> {
        self.inbox.next(length_of)
    }

    /// Takes the next reply; `data` is filled when it answers a read, as long as `length_of` says.
    pub fn receive(&mut self, data: &mut Vec<u8>, length_of: impl Fn(u64) -> usize) -> Result<Reply> {
        data.clear();
        loop {
            if let Some((reply, body)) = self.inbox.next(&length_of)? {
                data.extend_from_slice(body);
                return Ok(reply);
            }
            self.fill()?;
        }
    }

    /// Whether a reply is there already, without a further system call.
    pub fn has_reply(&self) -> bool {
        self.inbox.end - self.inbox.start >= REPLY_BYTES
    }

    fn ready(&self, wanted: PollFlags, patience: Option<Duration>) -> Result<PollFlags> {
        let patience = patience.map(Timespec::try_from).transpose()?;
        let mut poll_fds = [PollFd::new(&self.socket, wanted)];
        match poll(&mut poll_fds, patience.as_ref()) {
            Ok(_) => Ok(poll_fds[0].revents()),
            Err(Errno::INTR) => Ok(PollFlags::empty()),
            Err(error) => Err(error).context("wait for the server"),
        }
    }

    /// One request, waited for. Returns what was read.
    pub fn call(&mut self, request: Request<'_>) -> Result<Vec<u8>> {
        self.queue(0, request);
        self.send()?;
        let length = if let Request::Read { length, .. } = request { length as usize } else { 0 };
        let mut data = Vec::new();
        let reply = self.receive(&mut data, |_| length)?;
        ensure!(reply.error == 0, "the server answered error {}", reply.error);
        Ok(data)
    }
}

/// Bytes that arrived and were not looked at yet.
#[derive(Default)]
struct Inbox {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Inbox {
    fn fill(&mut self, socket: &mut UnixStream) -> Result<()> {
        if self.bytes.len() - self.end < RECEIVE_BYTES / 2 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            let wanted = self.end + RECEIVE_BYTES;
            if self.bytes.len() < wanted {
                self.bytes.resize(wanted, 0);
            }
        }
        let bytes = socket.read(&mut self.bytes[self.end..]).context("receive replies")?;
        ensure!(bytes > 0, "the server closed the connection");
        self.end += bytes;
        Ok(())
    }

    fn next(&mut self, length_of: impl FnOnce(u64) -> usize) -> Result<Option<(Reply, &[u8])>> {
        let arrived = &self.bytes[self.start..self.end];
        let Some((header, body)) = arrived.split_at_checked(REPLY_BYTES) else { return Ok(None) };
        ensure!(header[..4] == REPLY_MAGIC.to_be_bytes(), "a reply without its magic");
        let error = u32::from_be_bytes(header[4..8].try_into()?);
        let cookie = u64::from_be_bytes(header[8..].try_into()?);
        let length = if error == 0 { length_of(cookie) } else { 0 };
        if body.len() < length {
            return Ok(None);
        }
        self.start += REPLY_BYTES + length;
        Ok(Some((Reply { cookie, error }, &body[..length])))
    }
}

fn read_go(reader: &mut impl Read, export: &str) -> Result<u64> {
    let mut size = None;
    loop {
        let mut header = [0; 20];
        reader.read_exact(&mut header)?;
        ensure!(header[..8] == OPTION_REPLY_MAGIC.to_be_bytes(), "an option reply without its magic");
        let kind = u32::from_be_bytes(header[12..16].try_into()?);
        let mut body = vec![0; u32::from_be_bytes(header[16..].try_into()?) as usize];
        reader.read_exact(&mut body)?;
        match kind {
            REPLY_INFO if body.len() >= 12 && body[..2] == INFO_EXPORT.to_be_bytes() => {
                size = Some(u64::from_be_bytes(body[2..10].try_into()?));
            }
            REPLY_INFO => {}
            REPLY_ACK => return size.context("the server did not say the export's size"),
            error => bail!("export {export}: error {error:#x}: {}", String::from_utf8_lossy(&body)),
        }
    }
}
