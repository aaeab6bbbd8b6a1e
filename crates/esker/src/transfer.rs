//! Moving whole disks: what `import` and `export` share.
//!
//! Bytes go through NBD in either case. Where a daemon runs on the data directory, it is asked, over its socket. Else
//! this process opens the volume as `serve` would, behind a server that nobody else can reach.

mod mark;
mod session;

pub(crate) use mark::{ImageFacts, Mark, Partial};
pub(crate) use session::{Facts, Session};

use esker_image::PIECE_BYTES;

/// How much of a disk may have to be moved again after an interruption. Whole pieces.
pub(crate) const WINDOW_BYTES: u64 = 64 << 20;
const _: () = assert!(WINDOW_BYTES.is_multiple_of(PIECE_BYTES as u64));

/// The most that is zeroed, or asked about, with one request. Whole blocks.
pub(crate) const STRIDE_BYTES: u64 = 1 << 30;

/// A block, as the memory of this machine counts.
pub(crate) const BLOCK: usize = esker_format::BLOCK_BYTES;
