//! One HTTP request as it came, made the last of its connection.

use std::io::{Error, ErrorKind, Read, Result};

const HEAD_BYTES_MAX: usize = 64 << 10;
/// More than a segment has, even where nothing can be compressed.
const BODY_BYTES_MAX: usize = 300 << 20;

/// A request.
pub(super) struct Request {
    bytes: Vec<u8>,
}

impl Request {
    /// Reads one whole request.
    pub(super) fn read(from: &mut impl Read) -> Result<Self> {
        let mut bytes = Vec::new();
        let mut part = [0; 16 << 10];
        let head = loop {
            if let Some(at) = find(&bytes, b"\r\n\r\n") {
                break at + 4;
            }
            let count = from.read(&mut part)?;
            if count == 0 || bytes.len() > HEAD_BYTES_MAX {
                return Err(Error::new(ErrorKind::InvalidData, "no head of a request"));
            }
            bytes.extend_from_slice(&part[..count]);
        };
        let wanted = head + body_bytes(&bytes[..head])?;
        while bytes.len() < wanted {
            let count = from.read(&mut part)?;
            if count == 0 {
                return Err(Error::new(ErrorKind::UnexpectedEof, "a body that ends too soon"));
            }
            bytes.extend_from_slice(&part[..count]);
        }
        // The server closes the connection behind its answer: so the answer's end is known. No signature covers this.
        let line = find(&bytes, b"\r\n").map_or(0, |at| at + 2);
        bytes.splice(line..line, *b"Connection: close\r\n");
        Ok(Self { bytes })
    }

    pub(super) fn is_put(&self) -> bool {
        self.bytes.starts_with(b"PUT ")
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

fn body_bytes(head: &[u8]) -> Result<usize> {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let Some(length) = head.lines().find_map(|line| line.strip_prefix("content-length:")) else {
        return Ok(0);
    };
    match length.trim().parse() {
        Ok(bytes) if bytes <= BODY_BYTES_MAX => Ok(bytes),
        _ => Err(Error::new(ErrorKind::InvalidData, format!("a content length of {length}"))),
    }
}
