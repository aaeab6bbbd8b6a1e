//! Compression of frames and pages: what it saves decides whether it is used.

use std::borrow::Cow;
use std::fmt;

use crate::error::ensure;
use crate::{Compression, FormatError};

/// The most bytes that anything is ever decompressed to; a claim above it is refused before anything is allocated.
pub const RAW_BYTES_MAX: usize = 128 << 10;
/// Compressed bytes are kept only when they are shorter than the raw ones by at least one part in this.
const SAVING_MIN: usize = 16;

/// How stored bytes were compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Codec {
    /// Not compressed.
    Raw = 0,
    /// One LZ4 block.
    Lz4 = 1,
    /// One Zstandard frame.
    Zstd = 2,
}

impl Codec {
    /// The codec of a stored byte.
    pub(crate) fn parse(what: &'static str, byte: u8) -> Result<Codec, FormatError> {
        match byte {
            0 => Ok(Codec::Raw),
            1 => Ok(Codec::Lz4),
            2 => Ok(Codec::Zstd),
            _ => Err(FormatError::newer(what, "codec", "0, 1 or 2", byte)),
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Codec::Raw => "raw",
            Codec::Lz4 => "lz4",
            Codec::Zstd => "zstd",
        })
    }
}

/// Compresses many pieces in a row with one setting, and keeps what the codec can reuse between them.
pub struct Compressor {
    setting: Compression,
    zstd: Option<zstd::bulk::Compressor<'static>>,
}

impl fmt::Debug for Compressor {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("Compressor").field("setting", &self.setting).finish_non_exhaustive()
    }
}

impl Compressor {
    /// A compressor of one setting.
    pub fn new(setting: Compression) -> Compressor {
        let zstd = match setting {
            // A context that cannot be made costs the saving, not the data.
            Compression::Zstd(level) => zstd::bulk::Compressor::new(i32::from(level)).ok(),
            Compression::Off | Compression::Lz4 => None,
        };
        Compressor { setting, zstd }
    }

    /// The bytes to store and their codec: `raw` itself unless at least a sixteenth is saved.
    pub fn compress<'a>(&mut self, raw: &'a [u8]) -> (Codec, Cow<'a, [u8]>) {
        let packed = match self.setting {
            Compression::Off => None,
            Compression::Lz4 => lz4(raw).map(|packed| (Codec::Lz4, packed)),
            Compression::Zstd(_) if looks_random(raw) && lz4(raw).is_none() => None,
            Compression::Zstd(_) => self.zstd(raw).map(|packed| (Codec::Zstd, packed)),
        };
        match packed {
            Some((codec, packed)) => (codec, Cow::Owned(packed)),
            None => (Codec::Raw, Cow::Borrowed(raw)),
        }
    }

    fn zstd(&mut self, raw: &[u8]) -> Option<Vec<u8>> {
        let mut out = vec![0; stored_bytes_max(raw.len())];
        let length = self.zstd.as_mut()?.compress_to_buffer(raw, &mut out[..]).ok()?;
        out.truncate(length);
        Some(out)
    }
}

/// Compresses one piece; see [`Compressor`] for many.
pub fn compress(setting: Compression, raw: &[u8]) -> (Codec, Cow<'_, [u8]>) {
    Compressor::new(setting).compress(raw)
}

/// The room given to a codec: it gives up as soon as that is full, which is the early abort for zstd.
fn stored_bytes_max(raw_bytes: usize) -> usize {
    raw_bytes - raw_bytes.div_ceil(SAVING_MIN)
}

fn lz4(raw: &[u8]) -> Option<Vec<u8>> {
    let mut out = vec![0; lz4_flex::block::get_maximum_output_size(raw.len())];
    let length = lz4_flex::block::compress_into(raw, &mut out).ok()?;
    (length <= stored_bytes_max(raw.len())).then(|| {
        out.truncate(length);
        out
    })
}

/// True when all byte values are about equally frequent, as in encrypted or compressed data. One pass of additions,
/// where zstd at its cheapest costs thirty times as much.
fn looks_random(raw: &[u8]) -> bool {
    let mut counts = [0u32; 256];
    for &byte in raw {
        counts[usize::from(byte)] += 1;
    }
    let squares: u64 = counts.iter().map(|&count| u64::from(count) * u64::from(count)).sum();
    let bytes = raw.len() as u64;
    // For random bytes the expected sum is bytes²/256 + bytes; sixty-four values in use already give four times that.
    squares * 256 < bytes * bytes * 5 / 4 + 256 * bytes
}

/// Decompresses to exactly `raw_bytes`, which is at most [`RAW_BYTES_MAX`].
pub fn decompress(codec: Codec, stored: &[u8], raw_bytes: usize) -> Result<Vec<u8>, FormatError> {
    const WHAT: &str = "compressed bytes";
    ensure(raw_bytes <= RAW_BYTES_MAX, WHAT, "raw length", "at most 128 KiB", raw_bytes)?;
    if codec == Codec::Raw {
        return match stored.len() == raw_bytes {
            true => Ok(stored.to_vec()),
            false => Err(FormatError::new(WHAT, "length", raw_bytes, stored.len())),
        };
    }
    let mut out = vec![0; raw_bytes];
    let length = match codec {
        Codec::Lz4 => lz4_flex::block::decompress_into(stored, &mut out).map_err(|error| error.to_string()),
        _ => zstd::bulk::decompress_to_buffer(stored, &mut out[..]).map_err(|error| error.to_string()),
    };
    match length {
        Ok(length) if length == raw_bytes => Ok(out),
        Ok(length) => Err(FormatError::new(WHAT, "raw length", raw_bytes, length)),
        Err(error) => {
            Err(FormatError::new(WHAT, "body", format_args!("{raw_bytes} bytes of {codec}"), error))
        }
    }
}

#[cfg(test)]
mod tests;
