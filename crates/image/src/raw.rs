//! Raw images: the bytes of the disk, perhaps with holes.

use std::{fs::File, os::unix::fs::FileExt};

use rustix::{
    fs::{SeekFrom, seek},
    io::Errno,
};

use crate::{Image, ImageError, Piece, file_bytes};

/// A raw image in a file or on a block device.
#[derive(Debug)]
pub struct Raw {
    file: File,
    size_bytes: u64,
}

impl Raw {
    /// The image in this file.
    ///
    /// # Errors
    /// It has no size: it is a pipe.
    pub fn new(mut file: File) -> Result<Raw, ImageError> {
        let size_bytes = file_bytes(&mut file)?;
        Ok(Raw { file, size_bytes })
    }

    /// The end of the hole that begins at `offset`; `offset` itself where there is data.
    fn data_from(&self, offset: u64) -> Result<u64, ImageError> {
        match seek(&self.file, SeekFrom::Data(offset)) {
            Ok(data) => Ok(data.min(self.size_bytes)),
            Err(Errno::NXIO) => Ok(self.size_bytes),
            // No holes are known here.
            Err(Errno::INVAL) => Ok(offset),
            Err(error) => Err(std::io::Error::from(error).into()),
        }
    }

    fn hole_from(&self, offset: u64) -> Result<u64, ImageError> {
        match seek(&self.file, SeekFrom::Hole(offset)) {
            Ok(hole) => Ok(hole.min(self.size_bytes)),
            Err(Errno::INVAL | Errno::NXIO) => Ok(self.size_bytes),
            Err(error) => Err(std::io::Error::from(error).into()),
        }
    }
}

impl Image for Raw {
    fn size_bytes(&self) -> Option<u64> {
        Some(self.size_bytes)
    }

    fn read(&mut self, offset: u64, buffer: &mut [u8]) -> Result<Piece, ImageError> {
        if offset >= self.size_bytes {
            return Ok(Piece::End);
        }
        let data = self.data_from(offset)?;
        if data > offset {
            return Ok(Piece::Hole(data - offset));
        }
        let end = self.hole_from(offset)?.max(offset + 1);
        let length = buffer.len().min(usize::try_from(end - offset).unwrap_or(usize::MAX));
        self.file.read_exact_at(&mut buffer[..length], offset)?;
        Ok(Piece::Data(length))
    }
}
