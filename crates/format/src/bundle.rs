//! A bundle: rewritten segments, one after the other, in an object of a random name (rule G2).
//!
//! ```text
//! ┌───────────────┬───────────────┬─────┐
//! │ segment image │ segment image │  …  │     each drawn in `segment`, with its own header, salt and trailer
//! └───────────────┴───────────────┴─────┘
//! ```
//! Nothing is around them: the segment table says where each begins and ends, and binds its index by a hash. An image
//! ends with a trailer that states its size, so the images of a bundle can be found from its end as well.

use std::ops::Range;

use crate::FormatError;
use crate::error::ensure;
use crate::segment::{SEGMENT_BYTES_MIN, TRAILER_BYTES, Trailer};

const WHAT: &str = "bundle";

/// Where the images of a whole bundle are, first to last.
pub fn images(bytes: &[u8]) -> Result<Vec<Range<usize>>, FormatError> {
    let (mut images, mut end) = (Vec::new(), bytes.len());
    while end > 0 {
        let trailer = Trailer::parse(&bytes[end.saturating_sub(TRAILER_BYTES)..end])?;
        let size = trailer.peek().object_bytes;
        let fits = (SEGMENT_BYTES_MIN..=end as u64).contains(&size);
        ensure(
            fits,
            WHAT,
            "image",
            "one that begins in the bundle",
            format_args!("{size} bytes before {end}"),
        )?;
        let start = end - size as usize;
        images.push(start..end);
        end = start;
    }
    images.reverse();
    Ok(images)
}
