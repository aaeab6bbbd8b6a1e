//! The receive buffer of a connection.

use super::limits::RECEIVE_BYTES;

/// Bytes that have arrived and were not used up yet. Requests are parsed where they lie.
pub(crate) struct Receive {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Receive {
    pub(crate) fn new() -> Receive {
        // Cleared memory comes from the kernel untouched: a quiet connection costs no megabyte.
        Receive { bytes: vec![0; RECEIVE_BYTES], start: 0, end: 0 }
    }

    /// What has arrived.
    pub(crate) fn arrived(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// The first `bytes` are done with.
    pub(crate) fn consume(&mut self, bytes: usize) {
        self.start += bytes;
        assert!(self.start <= self.end, "more was consumed than had arrived");
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Room for the next receive; never empty, for no request that is waited for is larger than the buffer.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        assert!(self.end < self.bytes.len(), "the receive buffer is full of one request");
        &mut self.bytes[self.end..]
    }

    /// So many bytes were received into the room.
    pub(crate) fn received(&mut self, bytes: usize) {
        self.end += bytes;
        assert!(self.end <= self.bytes.len(), "more was received than there was room for");
    }
}
