//! The numbers and the fixed-size messages of NBD. Everything is big-endian.
//!
//! ```text
//! request        magic 4 | flags 2 | command 2 | cookie 8 | offset 8 | length 4 | data (WRITE)
//! simple reply   magic 4 | error 4 | cookie 8 | data (READ)
//! chunk          magic 4 | flags 2 | kind 2 | cookie 8 | length 4 | payload
//! option         magic 8 | option 4 | length 4 | data
//! option reply   magic 8 | option 4 | kind 4 | length 4 | data
//! ```
//!
//! Source: the protocol's own text, `doc/proto.md` of the project NetworkBlockDevice/nbd.

use crate::Failure;

pub(crate) const HELLO_MAGIC: u64 = 0x4e42_444d_4147_4943;
pub(crate) const OPTION_MAGIC: u64 = 0x4948_4156_454f_5054;
pub(crate) const OPTION_REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
pub(crate) const REQUEST_MAGIC: u32 = 0x2560_9513;
pub(crate) const SIMPLE_REPLY_MAGIC: u32 = 0x6744_6698;
pub(crate) const CHUNK_MAGIC: u32 = 0x668e_33ef;

/// Handshake flags of both sides: fixed newstyle, and no 124 zeros after the export's flags.
pub(crate) mod handshake_flag {
    pub(crate) const FIXED_NEWSTYLE: u16 = 1 << 0;
    pub(crate) const NO_ZEROES: u16 = 1 << 1;
}

/// Option numbers.
pub(crate) mod option {
    pub(crate) const EXPORT_NAME: u32 = 1;
    pub(crate) const ABORT: u32 = 2;
    pub(crate) const LIST: u32 = 3;
    pub(crate) const STARTTLS: u32 = 5;
    pub(crate) const INFO: u32 = 6;
    pub(crate) const GO: u32 = 7;
    pub(crate) const STRUCTURED_REPLY: u32 = 8;
    pub(crate) const LIST_META_CONTEXT: u32 = 9;
    pub(crate) const SET_META_CONTEXT: u32 = 10;
}

/// Kinds of replies to options.
pub(crate) mod answer {
    pub(crate) const ACK: u32 = 1;
    pub(crate) const SERVER: u32 = 2;
    pub(crate) const INFO: u32 = 3;
    pub(crate) const META_CONTEXT: u32 = 4;
    pub(crate) const UNSUPPORTED: u32 = (1 << 31) + 1;
    pub(crate) const POLICY: u32 = (1 << 31) + 2;
    pub(crate) const INVALID: u32 = (1 << 31) + 3;
    pub(crate) const UNKNOWN: u32 = (1 << 31) + 6;
    pub(crate) const SHUTDOWN: u32 = (1 << 31) + 7;
    pub(crate) const TOO_BIG: u32 = (1 << 31) + 9;
}

/// Kinds of information about an export.
pub(crate) mod info {
    pub(crate) const EXPORT: u16 = 0;
    pub(crate) const NAME: u16 = 1;
    pub(crate) const DESCRIPTION: u16 = 2;
    pub(crate) const BLOCK_SIZE: u16 = 3;
}

/// Transmission flags.
pub(crate) mod export_flag {
    pub(crate) const HAS_FLAGS: u16 = 1 << 0;
    pub(crate) const READ_ONLY: u16 = 1 << 1;
    pub(crate) const SEND_FLUSH: u16 = 1 << 2;
    pub(crate) const SEND_FUA: u16 = 1 << 3;
    pub(crate) const SEND_TRIM: u16 = 1 << 5;
    pub(crate) const SEND_WRITE_ZEROES: u16 = 1 << 6;
    pub(crate) const SEND_DF: u16 = 1 << 7;
    pub(crate) const CAN_MULTI_CONN: u16 = 1 << 8;
    pub(crate) const SEND_CACHE: u16 = 1 << 10;
    pub(crate) const SEND_FAST_ZERO: u16 = 1 << 11;
}

/// Command numbers.
pub(crate) mod command {
    pub(crate) const READ: u16 = 0;
    pub(crate) const WRITE: u16 = 1;
    pub(crate) const DISCONNECT: u16 = 2;
    pub(crate) const FLUSH: u16 = 3;
    pub(crate) const TRIM: u16 = 4;
    pub(crate) const CACHE: u16 = 5;
    pub(crate) const WRITE_ZEROES: u16 = 6;
    pub(crate) const BLOCK_STATUS: u16 = 7;
}

/// Command flags.
pub(crate) mod command_flag {
    pub(crate) const FUA: u16 = 1 << 0;
    pub(crate) const NO_HOLE: u16 = 1 << 1;
    pub(crate) const DF: u16 = 1 << 2;
    pub(crate) const REQ_ONE: u16 = 1 << 3;
    pub(crate) const FAST_ZERO: u16 = 1 << 4;
}

/// Chunks of structured replies.
pub(crate) mod chunk {
    pub(crate) const FLAG_DONE: u16 = 1 << 0;
    pub(crate) const NONE: u16 = 0;
    pub(crate) const OFFSET_DATA: u16 = 1;
    pub(crate) const BLOCK_STATUS: u16 = 5;
    pub(crate) const ERROR: u16 = (1 << 15) + 1;
}

/// Bits of `base:allocation`, and the one of a comparison.
pub(crate) mod state {
    pub(crate) const DIRTY: u32 = 1 << 0;
    pub(crate) const HOLE: u32 = 1 << 0;
    pub(crate) const ZERO: u32 = 1 << 1;
}

/// The metadata context that every export has, and the number that it has on every connection.
pub(crate) const ALLOCATION: &str = "base:allocation";
pub(crate) const ALLOCATION_ID: u32 = 1;

/// An error number of the protocol; zero is success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Errno(pub(crate) u32);

impl Errno {
    pub(crate) const NONE: Errno = Errno(0);
    pub(crate) const PERM: Errno = Errno(1);
    pub(crate) const IO: Errno = Errno(5);
    pub(crate) const INVAL: Errno = Errno(22);
    pub(crate) const NOSPC: Errno = Errno(28);
    pub(crate) const OVERFLOW: Errno = Errno(75);
    pub(crate) const SHUTDOWN: Errno = Errno(108);
}

impl From<Failure> for Errno {
    fn from(failure: Failure) -> Errno {
        match failure {
            Failure::Io => Errno::IO,
            Failure::NoSpace => Errno::NOSPC,
            Failure::ReadOnly => Errno::PERM,
            Failure::Invalid => Errno::INVAL,
            Failure::Shutdown => Errno::SHUTDOWN,
        }
    }
}

impl From<Result<(), Failure>> for Errno {
    fn from(result: Result<(), Failure>) -> Errno {
        result.map_or_else(Errno::from, |()| Errno::NONE)
    }
}

/// A request's header as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) flags: u16,
    pub(crate) command: u16,
    pub(crate) cookie: u64,
    pub(crate) offset: u64,
    pub(crate) length: u32,
}

pub(crate) const REQUEST_BYTES: usize = 28;

impl Request {
    /// `None`: these bytes do not begin a request.
    pub(crate) fn parse(bytes: &[u8; REQUEST_BYTES]) -> Option<Request> {
        let (magic, rest) = bytes.split_at(4);
        if magic != REQUEST_MAGIC.to_be_bytes() {
            return None;
        }
        Some(Request {
            flags: u16::from_be_bytes([rest[0], rest[1]]),
            command: u16::from_be_bytes([rest[2], rest[3]]),
            cookie: u64_at(rest, 4),
            offset: u64_at(rest, 12),
            length: u32_at(rest, 20),
        })
    }

    pub(crate) fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }
}

/// The number at `at`; the caller has checked that it is there.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(std::array::from_fn(|i| bytes[at + i]))
}

/// The number at `at`; the caller has checked that it is there.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(std::array::from_fn(|i| bytes[at + i]))
}
