//! A client that says exactly what a test wants.

use std::{
    collections::HashMap,
    io::{ErrorKind, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

pub(crate) struct Client {
    pub(crate) stream: UnixStream,
    /// Reads that are out, for a simple reply does not say how long it is.
    reads: HashMap<u64, usize>,
    pub(crate) structured: bool,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) cookie: u64,
    pub(crate) errno: u32,
    /// The chunks of data of a read.
    pub(crate) data: Vec<(u64, Vec<u8>)>,
    pub(crate) extents: Vec<(u32, u32)>,
}

impl Reply {
    /// The data of a read of this offset, put together.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.data.iter().flat_map(|(_, data)| data.iter().copied()).collect()
    }
}

pub(crate) const ACK: u32 = 1;

impl Client {
    pub(crate) fn connect(path: &Path) -> Client {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Client { stream, reads: HashMap::new(), structured: false }
    }

    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.bytes())
    }

    pub(crate) fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.bytes())
    }

    pub(crate) fn u64(&mut self) -> u64 {
        u64::from_be_bytes(self.bytes())
    }

    fn vec(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// One chunk of a structured reply: its flags, its kind, its cookie, and what it holds.
    pub(crate) fn raw_chunk(&mut self) -> (u16, u16, u64, Vec<u8>) {
        assert_eq!(self.u32(), 0x668e_33ef);
        let (flags, kind, cookie, length) = (self.u16(), self.u16(), self.u64(), self.u32());
        (flags, kind, cookie, self.vec(length as usize))
    }

    /// True if the server has closed the connection and sent nothing before.
    pub(crate) fn closed(&mut self) -> bool {
        match self.stream.read(&mut [0]) {
            Ok(bytes) => bytes == 0,
            // What the server had not read when it closed.
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        }
    }

    pub(crate) fn greet(&mut self) {
        self.greet_with(3);
    }

    pub(crate) fn greet_with(&mut self, flags: u32) {
        assert_eq!(&self.bytes::<8>(), b"NBDMAGIC");
        assert_eq!(&self.bytes::<8>(), b"IHAVEOPT");
        assert_eq!(self.u16(), 3, "fixed newstyle and no zeroes are offered");
        self.write(&flags.to_be_bytes());
    }

    pub(crate) fn send_option(&mut self, option: u32, data: &[u8]) {
        let mut bytes = b"IHAVEOPT".to_vec();
        bytes.extend(option.to_be_bytes());
        bytes.extend((data.len() as u32).to_be_bytes());
        bytes.extend(data);
        self.write(&bytes);
    }

    /// Sends an option; all replies up to the acknowledgement or an error.
    pub(crate) fn option(&mut self, option: u32, data: &[u8]) -> Vec<(u32, Vec<u8>)> {
        self.send_option(option, data);
        self.answers(option)
    }

    pub(crate) fn answers(&mut self, option: u32) -> Vec<(u32, Vec<u8>)> {
        let mut replies = Vec::new();
        loop {
            assert_eq!(self.u64(), 0x0003_e889_0455_65a9);
            assert_eq!(self.u32(), option);
            let kind = self.u32();
            let length = self.u32() as usize;
            replies.push((kind, self.vec(length)));
            if kind == ACK || kind >> 31 == 1 {
                return replies;
            }
        }
    }

    pub(crate) fn structured(&mut self) {
        assert_eq!(self.option(8, &[]), [(ACK, vec![])]);
        self.structured = true;
    }

    pub(crate) fn allocation(&mut self, name: &str) {
        let replies = self.option(10, &contexts(name, &["base:allocation"]));
        assert_eq!(replies[0], (4, b"\0\0\0\x01base:allocation".to_vec()));
        assert_eq!(replies[1].0, ACK);
    }

    /// Begins the transmission; the export's size and flags.
    pub(crate) fn go(&mut self, name: &str) -> (u64, u16) {
        let replies = self.option(7, &info(name, &[]));
        assert_eq!(replies.len(), 2, "{replies:?}");
        let export = &replies[0].1;
        assert_eq!(export[..2], [0, 0]);
        assert_eq!(export.len(), 12);
        let size = u64::from_be_bytes(export[2..10].try_into().unwrap());
        (size, u16::from_be_bytes(export[10..].try_into().unwrap()))
    }

    /// Sends a request without data.
    pub(crate) fn send(&mut self, command: u16, flags: u16, cookie: u64, offset: u64, length: u32) {
        if command == 0 {
            self.reads.insert(cookie, length as usize);
        }
        self.write(&request(command, flags, cookie, offset, length));
    }

    pub(crate) fn send_write(&mut self, flags: u16, cookie: u64, offset: u64, data: &[u8]) {
        let mut bytes = request(1, flags, cookie, offset, data.len() as u32);
        bytes.extend(data);
        self.write(&bytes);
    }

    /// Many requests with one system call. Reads must be announced.
    pub(crate) fn send_raw(&mut self, bytes: &[u8], reads: &[(u64, usize)]) {
        self.reads.extend(reads.iter().copied());
        self.write(bytes);
    }

    /// The next reply, whosever it is.
    pub(crate) fn reply(&mut self) -> Reply {
        let mut reply = Reply::default();
        loop {
            let magic = self.u32();
            if magic == 0x6744_6698 {
                reply.errno = self.u32();
                reply.cookie = self.u64();
                let length = self.reads.remove(&reply.cookie).filter(|_| reply.errno == 0).unwrap_or(0);
                if length > 0 {
                    assert!(
                        !self.structured,
                        "a simple reply to a read where structured ones were agreed on"
                    );
                    reply.data.push((0, self.vec(length)));
                }
                return reply;
            }
            assert_eq!(magic, 0x668e_33ef, "neither a simple nor a structured reply");
            assert!(self.structured, "a structured reply that nobody asked for");
            let (flags, kind) = (self.u16(), self.u16());
            reply.cookie = self.u64();
            let length = self.u32() as usize;
            let payload = self.vec(length);
            self.chunk(kind, &payload, &mut reply);
            if flags & 1 == 1 {
                self.reads.remove(&reply.cookie);
                return reply;
            }
        }
    }

    fn chunk(&mut self, kind: u16, payload: &[u8], reply: &mut Reply) {
        match kind {
            0 => assert!(payload.is_empty()),
            1 => {
                let (offset, data) = payload.split_at(8);
                reply.data.push((u64::from_be_bytes(offset.try_into().unwrap()), data.to_vec()));
            }
            5 => {
                assert_eq!(payload[..4], [0, 0, 0, 1]);
                for extent in payload[4..].chunks(8) {
                    let number = |at: usize| u32::from_be_bytes(extent[at..at + 4].try_into().unwrap());
                    reply.extents.push((number(0), number(4)));
                }
            }
            0x8001 => reply.errno = u32::from_be_bytes(payload[..4].try_into().unwrap()),
            other => panic!("a chunk of kind {other}"),
        }
    }

    /// One request and its reply.
    pub(crate) fn ask(&mut self, command: u16, flags: u16, offset: u64, length: u32) -> Reply {
        self.send(command, flags, 99, offset, length);
        let reply = self.reply();
        assert_eq!(reply.cookie, 99);
        reply
    }

    /// One write and its error number.
    pub(crate) fn put(&mut self, flags: u16, offset: u64, data: &[u8]) -> u32 {
        self.send_write(flags, 98, offset, data);
        let reply = self.reply();
        assert_eq!(reply.cookie, 98);
        reply.errno
    }

    /// Leaves politely and sees the connection closed.
    pub(crate) fn goodbye(mut self) {
        self.write(&request(2, 0, 0, 0, 0));
        assert!(self.closed());
    }
}

pub(crate) fn request(command: u16, flags: u16, cookie: u64, offset: u64, length: u32) -> Vec<u8> {
    let mut bytes = 0x2560_9513u32.to_be_bytes().to_vec();
    bytes.extend(flags.to_be_bytes());
    bytes.extend(command.to_be_bytes());
    bytes.extend(cookie.to_be_bytes());
    bytes.extend(offset.to_be_bytes());
    bytes.extend(length.to_be_bytes());
    bytes
}

pub(crate) fn info(name: &str, wanted: &[u16]) -> Vec<u8> {
    let mut data = (name.len() as u32).to_be_bytes().to_vec();
    data.extend(name.bytes());
    data.extend((wanted.len() as u16).to_be_bytes());
    data.extend(wanted.iter().flat_map(|kind| kind.to_be_bytes()));
    data
}

pub(crate) fn contexts(name: &str, queries: &[&str]) -> Vec<u8> {
    let mut data = (name.len() as u32).to_be_bytes().to_vec();
    data.extend(name.bytes());
    data.extend((queries.len() as u32).to_be_bytes());
    for query in queries {
        data.extend((query.len() as u32).to_be_bytes());
        data.extend(query.bytes());
    }
    data
}
