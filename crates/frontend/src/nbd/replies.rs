//! The buffer in which replies wait to leave together.

use super::{
    limits::REPLY_BYTES_KEPT,
    wire::{self, Errno, chunk},
};

/// Encoded replies. The buffer keeps its length, so that room for a read is not cleared each time.
#[derive(Debug, Default)]
pub(crate) struct Replies {
    bytes: Vec<u8>,
    used: usize,
    /// Where the read whose room was given last begins.
    mark: usize,
    /// Replies that are errors.
    errors: u64,
}

/// Which read some bytes answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadPiece {
    pub(crate) cookie: u64,
    pub(crate) offset: u64,
    pub(crate) length: usize,
    pub(crate) structured: bool,
    /// The last chunk of a structured reply.
    pub(crate) last: bool,
}

impl Replies {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.used]
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.used == 0
    }

    pub(crate) fn len(&self) -> usize {
        self.used
    }

    /// Everything was sent.
    pub(crate) fn clear(&mut self) {
        self.used = 0;
        self.mark = 0;
        if self.bytes.len() > REPLY_BYTES_KEPT {
            self.bytes = Vec::new();
        }
    }

    /// How many replies were errors since the last call.
    pub(crate) fn take_errors(&mut self) -> u64 {
        std::mem::take(&mut self.errors)
    }

    pub(crate) fn simple(&mut self, cookie: u64, errno: Errno) {
        self.errors += u64::from(errno != Errno::NONE);
        let room = self.room(16);
        room[..4].copy_from_slice(&wire::SIMPLE_REPLY_MAGIC.to_be_bytes());
        room[4..8].copy_from_slice(&errno.0.to_be_bytes());
        room[8..].copy_from_slice(&cookie.to_be_bytes());
    }

    /// The reply to a read or a status that failed. `structured`: as the connection has it.
    pub(crate) fn failed_read(&mut self, cookie: u64, errno: Errno, structured: bool) {
        if !structured {
            return self.simple(cookie, errno);
        }
        self.errors += 1;
        self.chunk(cookie, chunk::ERROR, true, 6);
        let room = self.room(6);
        room[..4].copy_from_slice(&errno.0.to_be_bytes());
        room[4..].fill(0);
    }

    /// A successful structured reply without content.
    pub(crate) fn nothing(&mut self, cookie: u64) {
        self.chunk(cookie, chunk::NONE, true, 0);
    }

    /// The reply to a read, with room for its bytes, which the caller fills or takes back.
    pub(crate) fn read(&mut self, piece: ReadPiece) -> &mut [u8] {
        self.mark = self.used;
        self.read_head(piece);
        self.room(piece.length)
    }

    /// Undoes the last [`Replies::read`].
    pub(crate) fn take_back(&mut self) {
        self.used = self.mark;
    }

    /// Only what stands before the bytes of a read that are sent from elsewhere.
    pub(crate) fn read_head(&mut self, piece: ReadPiece) {
        if !piece.structured {
            return self.simple(piece.cookie, Errno::NONE);
        }
        self.chunk(piece.cookie, chunk::OFFSET_DATA, piece.last, 8 + piece.length);
        self.room(8).copy_from_slice(&piece.offset.to_be_bytes());
    }

    /// The reply to a status, or what it says in one context: (bytes, flags) of each extent.
    pub(crate) fn status(&mut self, cookie: u64, context: u32, last: bool, extents: &[(u32, u32)]) {
        self.chunk(cookie, chunk::BLOCK_STATUS, last, 4 + 8 * extents.len());
        self.room(4).copy_from_slice(&context.to_be_bytes());
        let room = self.room(8 * extents.len());
        for (room, (length, flags)) in room.chunks_exact_mut(8).zip(extents) {
            room[..4].copy_from_slice(&length.to_be_bytes());
            room[4..].copy_from_slice(&flags.to_be_bytes());
        }
    }

    fn chunk(&mut self, cookie: u64, kind: u16, last: bool, length: usize) {
        let flags = if last { chunk::FLAG_DONE } else { 0 };
        let room = self.room(20);
        room[..4].copy_from_slice(&wire::CHUNK_MAGIC.to_be_bytes());
        room[4..6].copy_from_slice(&flags.to_be_bytes());
        room[6..8].copy_from_slice(&kind.to_be_bytes());
        room[8..16].copy_from_slice(&cookie.to_be_bytes());
        room[16..].copy_from_slice(&(length as u32).to_be_bytes());
    }

    fn room(&mut self, bytes: usize) -> &mut [u8] {
        let start = self.used;
        self.used += bytes;
        if self.bytes.len() < self.used {
            // Grows by doubling, so that the cleared bytes are few in the long run.
            self.bytes.resize(self.used.max(2 * self.bytes.len()).max(4096), 0);
        }
        &mut self.bytes[start..self.used]
    }
}

#[cfg(test)]
mod tests;
