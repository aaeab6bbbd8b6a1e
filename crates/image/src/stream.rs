//! Raw images that come through a pipe.

use std::io::{ErrorKind, Read};

use crate::{Image, ImageError, Piece};

/// A raw image of which only the end tells its size.
pub struct Stream<R> {
    input: R,
    /// Bytes taken so far.
    at: u64,
}

impl<R: Read + Send> Stream<R> {
    /// The image that comes from `input`.
    pub fn new(input: R) -> Stream<R> {
        Stream { input, at: 0 }
    }
}

impl<R: Read + Send> Image for Stream<R> {
    fn size_bytes(&self) -> Option<u64> {
        None
    }

    fn read(&mut self, offset: u64, buffer: &mut [u8]) -> Result<Piece, ImageError> {
        assert_eq!(offset, self.at, "a stream is read in order");
        loop {
            match self.input.read(buffer) {
                Ok(0) => return Ok(Piece::End),
                Ok(bytes) => {
                    self.at += bytes as u64;
                    return Ok(Piece::Data(bytes));
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
