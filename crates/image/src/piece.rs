//! An image in pieces of one size: the same ones whenever and from wherever it is read.

use crate::{Image, ImageError, Piece};

/// Bytes of a piece: as much as one record of a log holds.
pub const PIECE_BYTES: usize = 1 << 20;

/// What is found at the beginning of a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// So many bytes, whole pieces, are holes.
    Hole(u64),
    /// So many bytes were put into the buffer; fewer than a piece only at the end.
    Data(usize),
    /// The disk ends here.
    End,
}

/// Fills `buffer`, which holds a piece, from `offset` on, which begins one.
///
/// # Errors
/// As [`Image::read`].
pub fn piece(image: &mut dyn Image, offset: u64, buffer: &mut [u8]) -> Result<Found, ImageError> {
    assert!(
        buffer.len() == PIECE_BYTES && offset.is_multiple_of(PIECE_BYTES as u64),
        "{} bytes at {offset}",
        buffer.len()
    );
    let mut filled = 0;
    while filled < PIECE_BYTES {
        filled += match image.read(offset + filled as u64, &mut buffer[filled..])? {
            Piece::End => break,
            Piece::Data(bytes) => bytes,
            Piece::Hole(bytes) if filled == 0 && bytes >= PIECE_BYTES as u64 => {
                return Ok(Found::Hole(bytes - bytes % PIECE_BYTES as u64));
            }
            Piece::Hole(bytes) => {
                let bytes = usize::try_from(bytes).unwrap_or(usize::MAX).min(PIECE_BYTES - filled);
                buffer[filled..filled + bytes].fill(0);
                bytes
            }
        };
    }
    Ok(if filled == 0 { Found::End } else { Found::Data(filled) })
}
