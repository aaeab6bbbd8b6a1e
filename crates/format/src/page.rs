//! Pages: the nodes of the persistent map.
//!
//! ```text
//!   0 │ magic "ESPG" │ version u16 │ level u8, 0 = leaf │ codec u8
//!   8 │ index u64: of the pages of that level, from the left
//!  16 │ raw length of the body u32 │ entries u32
//!  24 │ body, compressed by the codec
//!
//! body of a leaf:   { start u16 │ blocks u16 │ address u64 }                    12 bytes each
//! body of an inner: { child u16 │ kind u8: 0 zero, 1 page │ page reference 60 }  3 or 63 bytes each
//! page reference:   pack 16 │ offset u64 │ bytes u32 │ hash 32
//! ```
//! A page is checked by the hash in its reference, which covers all its bytes; it has no checksum of its own. A leaf
//! has 2,048 blocks, an inner page 1,024 children; what is absent is a hole. Pages lie in packs, drawn in `pack`.

mod body;
mod pack;

#[cfg(test)]
mod tests;

pub(crate) use pack::MAGIC as PACK_MAGIC;
pub use pack::{PACK_PAGES_AT, Pack, PackPage, PackWriter, UnverifiedPack};

use crate::codec;
use crate::error::{ensure, same};
use crate::wire::{Put, Reader};
use crate::{Address, Codec, Compression, FormatError, Hash, PackId};

const WHAT: &str = "map page";
const MAGIC: &[u8; 4] = b"ESPG";
const VERSION: u16 = 1;

/// The blocks of a leaf.
pub const LEAF_BLOCKS: u64 = 2048;
/// The children of an inner page.
pub const FANOUT: u64 = 1024;
/// The most levels, the leaf included: 2^41 blocks.
pub const HEIGHT_MAX: u8 = 4;
/// The size of a page reference.
pub const PAGE_REF_BYTES: usize = 16 + 8 + 4 + 32;
/// The size of a page's header.
const PAGE_HEADER_BYTES: usize = 4 + 2 + 1 + 1 + 8 + 4 + 4;
/// The size of the largest page.
pub const PAGE_BYTES_MAX: usize = PAGE_HEADER_BYTES + BODY_BYTES_MAX;
const BODY_BYTES_MAX: usize = FANOUT as usize * (2 + 1 + PAGE_REF_BYTES);

const _: () = {
    assert!(PAGE_HEADER_BYTES == 24 && PAGE_REF_BYTES == 60);
    assert!(LEAF_BLOCKS as usize * body::LEAF_RUN_BYTES <= BODY_BYTES_MAX);
    assert!(BODY_BYTES_MAX <= codec::RAW_BYTES_MAX);
};

/// Where a page is, and the hash of its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PageRef {
    /// The pack.
    pub pack: PackId,
    /// The first byte in the pack's object.
    pub offset: u64,
    /// The length.
    pub bytes: u32,
    /// The hash of those bytes.
    pub hash: Hash,
}

/// Consecutive blocks of a leaf at consecutive addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeafRun {
    /// The first block, counted from the leaf's.
    pub start: u16,
    /// How many.
    pub blocks: u16,
    /// The first block's address: zero, or a slot of a segment.
    pub address: Address,
}

/// A child of an inner page; an absent one is a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Child {
    /// Every block below reads zeros that were written.
    Zero,
    /// A page.
    Page(PageRef),
}

/// A page, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Page {
    /// Level 0: runs by start, disjoint; holes are left out.
    Leaf(Vec<LeafRun>),
    /// Any other level: children by number.
    Inner(Vec<(u16, Child)>),
}

impl PageRef {
    /// The reference's bytes.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.put(&self.pack.0);
        out.put_u64(self.offset);
        out.put_u32(self.bytes);
        out.put(&self.hash.0);
    }

    pub(crate) fn parse(what: &'static str, bytes: &[u8; PAGE_REF_BYTES]) -> Result<PageRef, FormatError> {
        let mut from = Reader::new(what, bytes);
        let reference = PageRef {
            pack: PackId(from.array("pack")?),
            offset: from.u64("page offset")?,
            bytes: from.u32("page bytes")?,
            hash: Hash(from.array("page hash")?),
        };
        let bytes = reference.bytes as usize;
        let fits = (PAGE_HEADER_BYTES..=PAGE_BYTES_MAX).contains(&bytes);
        ensure(fits, what, "page bytes", "the length of a page", bytes)?;
        let end = reference.offset.checked_add(u64::from(reference.bytes));
        ensure(end.is_some(), what, "page offset", "an offset below 2^64", reference.offset)?;
        Ok(reference)
    }
}

/// The levels, leaf included, of a map of so many blocks.
pub fn height(blocks: u64) -> u8 {
    let (mut levels, mut covered) = (1, LEAF_BLOCKS);
    while covered < blocks {
        levels += 1;
        covered = covered.saturating_mul(FANOUT);
    }
    levels
}

/// The blocks below one page of a level; saturates above 2^64.
pub fn level_blocks(level: u8) -> u64 {
    (0..level).fold(LEAF_BLOCKS, |blocks, _| blocks.saturating_mul(FANOUT))
}

/// A page's bytes; the body is compressed when that saves. Panics on a page that [`decode_page`] would refuse.
pub fn encode_page(level: u8, index: u64, page: &Page) -> Vec<u8> {
    if let Err(error) = body::check(level, page) {
        panic!("a page that nobody could read: {error}");
    }
    let (entries, raw) = body::encode(page);
    let (codec, stored) = codec::compress(Compression::Zstd(1), &raw);
    let mut out = Vec::with_capacity(PAGE_HEADER_BYTES + stored.len());
    out.put(MAGIC);
    out.put_u16(VERSION);
    out.put_u8(level);
    out.put_u8(codec as u8);
    out.put_u64(index);
    out.put_u32(raw.len() as u32);
    out.put_u32(entries as u32);
    out.put(&stored);
    out
}

/// The page that a reference names, if these are its bytes and it is the page of that level and index.
pub fn decode_page(reference: &PageRef, bytes: &[u8], level: u8, index: u64) -> Result<Page, FormatError> {
    same(WHAT, "length", reference.bytes as usize, bytes.len())?;
    same(WHAT, "hash", reference.hash, Hash::of(bytes))?;
    let (found_level, found_index, page) = parse_page(bytes)?;
    same(WHAT, "level", level, found_level)?;
    same(WHAT, "index", index, found_index)?;
    Ok(page)
}

/// Level, index and content of a page's bytes, whatever they are expected to be.
pub(crate) fn parse_page(bytes: &[u8]) -> Result<(u8, u64, Page), FormatError> {
    let mut from = Reader::new(WHAT, bytes);
    let magic: [u8; 4] = from.array("magic")?;
    same(WHAT, "magic", MAGIC.escape_ascii().to_string(), magic.escape_ascii().to_string())?;
    let version = from.u16("version")?;
    if version > VERSION {
        return Err(FormatError::newer(WHAT, "version", VERSION, version));
    }
    same(WHAT, "version", VERSION, version)?;
    let level = from.u8("level")?;
    let codec = Codec::parse(WHAT, from.u8("codec")?)?;
    let index = from.u64("index")?;
    let raw_bytes = from.u32("raw length")? as usize;
    let entries = from.u32("count of entries")? as usize;
    ensure(raw_bytes <= BODY_BYTES_MAX, WHAT, "raw length", "that of a page", raw_bytes)?;
    let stored = from.take("body", bytes.len() - PAGE_HEADER_BYTES)?;
    let raw = codec::decompress(codec, stored, raw_bytes)?;
    let page = body::parse(level, entries, &raw)?;
    body::check(level, &page)?;
    Ok((level, index, page))
}
