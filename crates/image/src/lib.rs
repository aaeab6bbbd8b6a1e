//! Images of disks, read piece by piece and with their holes.
//!
//! Images come from anywhere: nothing that one says is believed before it was checked, and no length in it decides
//! how much memory is taken.

#![forbid(unsafe_code)]

mod piece;
mod raw;
mod stream;
#[cfg(test)]
mod tests;
mod zeros;

use std::{fs::File, io, path::Path};

pub use piece::{Found, PIECE_BYTES, piece};
pub use raw::Raw;
pub use stream::Stream;
pub use zeros::data_runs;

/// Why an image cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The file cannot be read.
    #[error("the image cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// What an image holds from some byte on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// So many bytes are zeros that take no space; at least one.
    Hole(u64),
    /// So many bytes were put into the buffer; at least one.
    Data(usize),
    /// The disk ends here.
    End,
}

/// An image of a disk. It is read from some byte on to its end, without gaps.
pub trait Image: Send {
    /// The disk's size; none where only its end tells.
    fn size_bytes(&self) -> Option<u64>;

    /// What comes at `offset`, as much of it as `buffer` holds or less.
    ///
    /// # Errors
    /// The image cannot be read, or is not what it says.
    fn read(&mut self, offset: u64, buffer: &mut [u8]) -> Result<Piece, ImageError>;
}

/// Opens a raw image.
///
/// # Errors
/// The file cannot be opened.
pub fn open(path: &Path) -> Result<Box<dyn Image>, ImageError> {
    Ok(Box::new(Raw::new(File::open(path)?)?))
}
