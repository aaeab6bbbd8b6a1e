//! Images of disks, read piece by piece and with their holes.
//!
//! Images come from anywhere: nothing that one says is believed before it was checked, and no length in it decides
//! how much memory is taken.

#![forbid(unsafe_code)]

mod piece;
mod qcow2;
mod raw;
mod stream;
#[cfg(test)]
mod tests;
mod zeros;

use std::{
    fs::File,
    io::{self, Seek, SeekFrom},
    os::unix::fs::FileExt,
    path::Path,
};

pub use piece::{Found, PIECE_BYTES, piece};
pub use qcow2::Qcow2;
pub use raw::Raw;
pub use stream::Stream;
pub use zeros::data_runs;

/// Why an image cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The file cannot be read.
    #[error("the image cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It contradicts itself or its format.
    #[error("{what} of the image is wrong: expected {expected}, found {found}")]
    Damaged {
        /// Which part.
        what: &'static str,
        /// What should be there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// It is whole, but not of a kind that is read here.
    #[error("the image cannot be used: {0}")]
    Refused(String),
}

fn damaged(what: &'static str, expected: impl Into<String>, found: impl Into<String>) -> ImageError {
    ImageError::Damaged { what, expected: expected.into(), found: found.into() }
}

fn refused(why: String) -> ImageError {
    ImageError::Refused(why)
}

/// Formats of images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The bytes of the disk.
    Raw,
    /// That of qemu, versions 2 and 3.
    Qcow2,
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

/// Opens an image. Without a format its first bytes say which it is: what is no qcow2 image is a raw one.
///
/// # Errors
/// The file cannot be opened, or is not of that format.
pub fn open(path: &Path, format: Option<Format>) -> Result<Box<dyn Image>, ImageError> {
    let mut file = File::open(path)?;
    let format = match format {
        Some(format) => format,
        None if file_bytes(&mut file)? < qcow2::MAGIC.len() as u64 => Format::Raw,
        None => {
            let mut magic = [0; qcow2::MAGIC.len()];
            file.read_exact_at(&mut magic, 0)?;
            if magic == qcow2::MAGIC { Format::Qcow2 } else { Format::Raw }
        }
    };
    Ok(match format {
        Format::Raw => Box::new(Raw::new(file)?),
        Format::Qcow2 => Box::new(Qcow2::new(file)?),
    })
}

/// The length of a file or of a block device, whose metadata says nothing of it.
fn file_bytes(file: &mut File) -> io::Result<u64> {
    file.seek(SeekFrom::End(0))
}
