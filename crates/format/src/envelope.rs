//! What all small objects (pool, name, writer, head, group, list of dead objects) are wrapped in.
//!
//! ```text
//!   0 ┌──────────────────────────────────────┐
//!     │ magic, 8 bytes: one per kind         │
//!   8 │ version u16 │ flags u16, 0           │
//!  12 │ key id u32, 0 = not encrypted        │
//!  16 │ length of the body u32 │ room u32, 0 │
//!  24 ├──────────────────────────────────────┤
//!     │ body, drawn in the kind's module     │
//!     ├──────────────────────────────────────┤
//!     │ tag, 16 bytes, 0 = not encrypted     │
//!     │ BLAKE3 of all before, 32 bytes       │
//!     └──────────────────────────────────────┘
//! ```

use crate::FormatError;
use crate::error::{ensure, same};
use crate::wire::{Put, Reader, START_BYTES};

const LENGTH_AT: usize = START_BYTES;
const BODY_AT: usize = LENGTH_AT + 8;
const TAG_BYTES: usize = 16;
pub(crate) const HASH_BYTES: usize = 32;

const _: () = assert!(BODY_AT == 24);

/// A kind of small object.
pub(crate) struct Kind {
    pub(crate) what: &'static str,
    pub(crate) magic: &'static [u8; 8],
    pub(crate) version: u16,
}

/// Wraps what `body` appends.
pub(crate) fn wrap(kind: &Kind, body: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    out.put_start(kind.magic, kind.version);
    out.put_u64(0);
    body(&mut out);
    let length = u32::try_from(out.len() - BODY_AT).expect("a body of less than 4 GiB");
    out[LENGTH_AT..LENGTH_AT + 4].copy_from_slice(&length.to_le_bytes());
    out.put(&[0; TAG_BYTES]);
    put_hash(&mut out);
    out
}

/// Checks the wrapping of a whole object and returns its body.
pub(crate) fn unwrap<'a>(kind: &Kind, bytes: &'a [u8]) -> Result<&'a [u8], FormatError> {
    Ok(unwrap_since(kind, kind.version, bytes)?.1)
}

/// The same of a kind that has had several versions, from `oldest` on; returns which it is too.
pub(crate) fn unwrap_since<'a>(
    kind: &Kind,
    oldest: u16,
    bytes: &'a [u8],
) -> Result<(u16, &'a [u8]), FormatError> {
    let mut from = Reader::new(kind.what, bytes);
    let version = from.start_since(kind.magic, oldest, kind.version)?;
    let length = from.u32("body length")? as usize;
    from.room("room after the body length", 4)?;
    let body = from.take("body", length)?;
    let tag: [u8; TAG_BYTES] = from.array("tag")?;
    from.take("hash", HASH_BYTES)?;
    from.finish()?;
    check_hash(kind.what, bytes)?;
    ensure(tag == [0; TAG_BYTES], kind.what, "tag", "zeros (not encrypted)", "a tag")?;
    Ok((version, body))
}

/// Appends the hash of everything so far.
pub(crate) fn put_hash(out: &mut Vec<u8>) {
    let hash = blake3::hash(out);
    out.put(hash.as_bytes());
}

/// Checks that the last 32 bytes are the hash of all before.
pub(crate) fn check_hash(what: &'static str, bytes: &[u8]) -> Result<(), FormatError> {
    let Some((before, found)) = bytes.split_last_chunk::<HASH_BYTES>() else {
        return Err(FormatError::short(what, "hash", HASH_BYTES, bytes.len()));
    };
    same(what, "hash", crate::Hash::of(before), crate::Hash(*found))
}
