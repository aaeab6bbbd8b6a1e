//! Table entries, and what is compressed.

use std::io::Read;

use miniz_oxide::inflate::core::{DecompressorOxide, decompress as inflate, inflate_flags};

use super::header::{Compression, Header};
use crate::{ImageError, damaged};

const OFFSET_MASK: u64 = 0x00ff_ffff_ffff_fe00;
const COMPRESSED: u64 = 1 << 62;
const USED_ONCE: u64 = 1 << 63;
const ZERO: u64 = 1;
const SECTOR_BYTES: u64 = 512;
/// The largest window of a zstd frame that is accepted: 4 MiB. qemu writes 2 MiB.
const ZSTD_WINDOW_LOG_MAX: u32 = 22;

/// Where a cluster is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cluster {
    /// Nowhere: it reads as zeros.
    Zero,
    /// At this byte of the file.
    Plain(u64),
    /// Compressed, in at most so many bytes of the file.
    Compressed { offset: u64, bytes: u64 },
}

/// The offset of an L2 table; none where there is none.
pub(super) fn table_offset(entry: u64, header: &Header) -> Result<Option<u64>, ImageError> {
    let offset = entry & OFFSET_MASK;
    if entry & !(OFFSET_MASK | USED_ONCE) != 0 || !offset.is_multiple_of(header.cluster_bytes()) {
        return Err(damaged("an L1 entry", "the offset of a cluster", format!("{entry:#x}")));
    }
    Ok((offset != 0).then_some(offset))
}

/// What an L2 entry says.
pub(super) fn parse(entry: u64, header: &Header) -> Result<Cluster, ImageError> {
    if entry & COMPRESSED != 0 {
        let at = 62 - (header.cluster_bits - 8);
        let offset = entry & ((1 << at) - 1);
        let sectors = (entry & (COMPRESSED - 1)) >> at;
        let bytes = (sectors + 1) * SECTOR_BYTES - offset % SECTOR_BYTES;
        return Ok(Cluster::Compressed { offset, bytes });
    }
    let zero = if header.version >= 3 { ZERO } else { 0 };
    let offset = entry & OFFSET_MASK;
    if entry & !(OFFSET_MASK | USED_ONCE | zero) != 0 || !offset.is_multiple_of(header.cluster_bytes()) {
        return Err(damaged("an L2 entry", "the offset of a cluster", format!("{entry:#x}")));
    }
    if entry & zero != 0 || offset == 0 {
        return Ok(Cluster::Zero);
    }
    Ok(Cluster::Plain(offset))
}

/// A whole cluster out of its compressed bytes, behind which there may be others.
pub(super) fn decompress(packed: &[u8], header: &Header) -> Result<Vec<u8>, ImageError> {
    let mut contents = vec![0; header.cluster_bytes() as usize];
    let failed =
        |found: String| damaged("a compressed cluster", "a whole cluster when it is unpacked", found);
    match header.compression {
        Compression::Deflate => {
            let flags = inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
            let mut state = Box::<DecompressorOxide>::default();
            let (status, _, bytes) = inflate(&mut state, packed, &mut contents, 0, flags);
            if bytes < contents.len() {
                return Err(failed(format!("{bytes} bytes, {status:?}")));
            }
        }
        Compression::Zstd => {
            let unpacked = zstd::stream::read::Decoder::with_buffer(packed).and_then(|mut decoder| {
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
                decoder.read_exact(&mut contents)
            });
            unpacked.map_err(|error| failed(error.to_string()))?;
        }
    }
    Ok(contents)
}
