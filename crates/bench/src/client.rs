//! A pipelined NBD client over a unix socket: requests are queued and sent together, replies are taken from
//! large receives. Fixed newstyle, simple replies.

use std::{
    io::{BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};

const MAGIC: u64 = 0x4e42_444d_4147_4943;
const OPTION_MAGIC: u64 = 0x4948_4156_454f_5054;
const OPTION_REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
const REQUEST_MAGIC: u32 = 0x2560_9513;
const REPLY_MAGIC: u32 = 0x6744_6698;
const OPTION_GO: u32 = 7;
const REPLY_ACK: u32 = 1;
const REPLY_INFO: u32 = 3;
const INFO_EXPORT: u16 = 0;
/// Bytes asked for in one receive.
const RECEIVE_BYTES: usize = 1 << 20;

/// A connection in transmission.
pub struct Client {
    reader: BufReader<UnixStream>,
    writer: UnixStream,
    out: Vec<u8>,
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
        let writer =
            UnixStream::connect(socket).with_context(|| format!("connect to {}", socket.display()))?;
        writer.set_read_timeout(Some(Duration::from_secs(120)))?;
        let mut reader = BufReader::with_capacity(RECEIVE_BYTES, writer.try_clone()?);
        let mut writer = writer;
        let mut greeting = [0; 18];
        reader.read_exact(&mut greeting)?;
        ensure!(greeting[..8] == MAGIC.to_be_bytes(), "the server does not speak NBD");
        ensure!(greeting[8..16] == OPTION_MAGIC.to_be_bytes(), "the server is not newstyle");
        let mut hello = 3_u32.to_be_bytes().to_vec();
        hello.extend(OPTION_MAGIC.to_be_bytes());
        hello.extend(OPTION_GO.to_be_bytes());
        hello.extend((export.len() as u32 + 6).to_be_bytes());
        hello.extend((export.len() as u32).to_be_bytes());
        hello.extend(export.as_bytes());
        hello.extend(0_u16.to_be_bytes());
        writer.write_all(&hello)?;
        let size_bytes = read_go(&mut reader, export)?;
        Ok(Self { reader, writer, out: Vec::new(), size_bytes })
    }

    /// Queues a request; [`Client::send`] sends all that are queued.
    pub fn queue(&mut self, cookie: u64, request: Request<'_>) {
        let (command, offset, length, data): (u16, u64, u32, &[u8]) = match request {
            Request::Read { offset, length } => (0, offset, length, &[]),
            Request::Write { offset, data } => (1, offset, data.len() as u32, data),
            Request::Flush => (3, 0, 0, &[]),
            Request::Trim { offset, length } => (4, offset, length, &[]),
        };
        self.out.extend(REQUEST_MAGIC.to_be_bytes());
        self.out.extend(0_u16.to_be_bytes());
        self.out.extend(command.to_be_bytes());
        self.out.extend(cookie.to_be_bytes());
        self.out.extend(offset.to_be_bytes());
        self.out.extend(length.to_be_bytes());
        self.out.extend(data);
    }

    /// Sends everything queued in one go.
    pub fn send(&mut self) -> Result<()> {
        self.writer.write_all(&self.out)?;
        self.out.clear();
        Ok(())
    }

    /// Takes the next reply; `data` is filled when it answers a read, as long as `length_of` says.
    pub fn receive(&mut self, data: &mut Vec<u8>, length_of: impl Fn(u64) -> usize) -> Result<Reply> {
        let mut header = [0; 16];
        self.reader.read_exact(&mut header)?;
        ensure!(header[..4] == REPLY_MAGIC.to_be_bytes(), "a reply without its magic");
        let error = u32::from_be_bytes(header[4..8].try_into()?);
        let cookie = u64::from_be_bytes(header[8..].try_into()?);
        data.clear();
        if error == 0 {
            data.resize(length_of(cookie), 0);
            self.reader.read_exact(data)?;
        }
        Ok(Reply { cookie, error })
    }

    /// Whether a reply is there already, without a further system call.
    pub fn has_reply(&self) -> bool {
        self.reader.buffer().len() >= 16
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
