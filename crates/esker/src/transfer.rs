//! Moving whole disks: what `import` and `export` share.
//!
//! Bytes go through NBD in either case. Where a daemon runs on the data directory, it is asked, over its socket. Else
//! this process opens the volume as `serve` would, behind a server that nobody else can reach.

mod mark;
mod session;
mod source;

pub(crate) use mark::{ImageFacts, Mark, Partial};
pub(crate) use session::{Facts, Session};
pub(crate) use source::{Maker, delete, passing};

use std::path::Path;

use esker_frontend::{
    Extent, ExtentState,
    nbd::{
        Client,
        client::{Answer, Ask},
    },
};
use esker_image::PIECE_BYTES;

use crate::size;

/// How much of a disk may have to be moved again after an interruption. Whole pieces.
pub(crate) const WINDOW_BYTES: u64 = 64 << 20;
const _: () = assert!(WINDOW_BYTES.is_multiple_of(PIECE_BYTES as u64));

/// The most that is zeroed, or asked about, with one request. Whole blocks.
pub(crate) const STRIDE_BYTES: u64 = 1 << 30;

/// A block, as the memory of this machine counts.
pub(crate) const BLOCK: usize = esker_format::BLOCK_BYTES;

/// Whether the image comes or goes through a pipe.
pub(crate) fn is_stream(file: &Path) -> bool {
    file.as_os_str() == "-"
}

/// What is said of a copy that went on where an earlier one was interrupted; nothing of one that began anew.
pub(crate) fn resumed(bytes: u64) -> String {
    if bytes == 0 {
        return String::new();
    }
    format!("; what came before {} was there already", size::show(bytes))
}

/// What is known of the volume between two bytes, or of the first part of that.
pub(crate) fn extents(client: &mut Client, start: u64, end: u64) -> anyhow::Result<Vec<Extent>> {
    let length = (end - start).min(STRIDE_BYTES) as u32;
    match client.call(&Ask::Status { offset: start, length })? {
        Answer::Extents(_, extents) => Ok(extents),
        _ => unreachable!("a status is answered with extents"),
    }
}

/// The first byte from `start` on that is not known to be zero; the end of the volume if there is none.
pub(crate) fn data_from(client: &mut Client, start: u64) -> anyhow::Result<u64> {
    let (mut at, size_bytes) = (start, client.size_bytes());
    while at < size_bytes {
        for Extent { length, state } in extents(client, at, size_bytes)? {
            if state == ExtentState::Data {
                return Ok(at);
            }
            at += length;
        }
    }
    Ok(at)
}
