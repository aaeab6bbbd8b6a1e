//! A pack: the pages that one checkpoint wrote, as one object.
//!
//! ```text
//! ┌────────┬────────┬────────┬───┬───────────┬─────────┐
//! │ header │ page 0 │ page 1 │ … │ catalogue │ trailer │
//! └────────┴────────┴────────┴───┴───────────┴─────────┘
//! header, 128 bytes:
//!    0 │ magic "ESKRPACK" │ version u16 │ flags u16, 0 │ key id u32, 0
//!   16 │ pool 16 │ pack 16 │ attempt 16 │ salt 32, 0 = not encrypted │ room 32, 0
//! catalogue, 45 bytes for each page, in the order of their bytes, which follow each other without a gap:
//!      │ level u8 │ index u64 │ bytes u32 │ hash 32
//! trailer, 128 bytes:
//!    0 │ magic "ESKRPKTR" │ version u16 │ flags u16, 0 │ key id u32, 0
//!   16 │ catalogue offset u64 │ pages u32 │ room 52, 0
//!   80 │ tag 16, 0 = not encrypted │ BLAKE3 of all before, 32 bytes
//! ```
//! Readers go by references, so only inspect, check and scrub read the catalogue.

use super::{Page, PageRef, WHAT as PAGE, encode_page};
use crate::envelope::{self, HASH_BYTES};
use crate::error::{ensure, same};
use crate::wire::{Put, Reader, START_BYTES};
use crate::{AttemptId, FormatError, Hash, PackId, PoolId};

const WHAT: &str = "page pack";
pub(crate) const MAGIC: &[u8; 8] = b"ESKRPACK";
const TRAILER_MAGIC: &[u8; 8] = b"ESKRPKTR";
const VERSION: u16 = 1;

const HEADER_BYTES: usize = 128;
/// Where the first page lies.
pub const PACK_PAGES_AT: u64 = HEADER_BYTES as u64;
const HEADER_FIELDS_BYTES: usize = START_BYTES + 16 + 16 + 16;
const ENTRY_BYTES: usize = 1 + 8 + 4 + 32;
const TRAILER_BYTES: usize = 128;
const TRAILER_FIELDS_BYTES: usize = START_BYTES + 8 + 4;
const TAG_AT: usize = TRAILER_BYTES - HASH_BYTES - 16;

const _: () =
    assert!(HEADER_FIELDS_BYTES == 64 && TAG_AT == 80 && TRAILER_FIELDS_BYTES == 28 && ENTRY_BYTES == 45);

/// A page of a pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackPage {
    /// Its level; 0 is a leaf.
    pub level: u8,
    /// Its index among the pages of that level.
    pub index: u64,
    /// Its reference.
    pub reference: PageRef,
}

/// What is in a pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pack {
    /// The pool.
    pub pool: PoolId,
    /// The pack.
    pub id: PackId,
    /// Who wrote this object.
    pub attempt: AttemptId,
    /// Its pages, in the order of their bytes.
    pub pages: Vec<PackPage>,
}

/// A pack that was only parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnverifiedPack(Pack);

/// A pack under construction.
#[derive(Debug)]
pub struct PackWriter {
    pack: Pack,
    bytes: Vec<u8>,
}

impl PackWriter {
    /// An empty pack.
    pub fn new(pool: PoolId, id: PackId, attempt: AttemptId) -> PackWriter {
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.put_start(MAGIC, VERSION);
        bytes.put(&pool.0);
        bytes.put(&id.0);
        bytes.put(&attempt.0);
        bytes.resize(HEADER_BYTES, 0);
        PackWriter { pack: Pack { pool, id, attempt, pages: Vec::new() }, bytes }
    }

    /// Appends a page. Panics on one that [`super::decode_page`] would refuse.
    pub fn add(&mut self, level: u8, index: u64, page: &Page) -> PageRef {
        let encoded = encode_page(level, index, page);
        let reference = PageRef {
            pack: self.pack.id,
            offset: self.bytes.len() as u64,
            bytes: encoded.len() as u32,
            hash: Hash::of(&encoded),
        };
        self.bytes.extend_from_slice(&encoded);
        self.pack.pages.push(PackPage { level, index, reference });
        reference
    }

    /// The pack's id.
    pub fn id(&self) -> PackId {
        self.pack.id
    }

    /// True while no page was added.
    pub fn is_empty(&self) -> bool {
        self.pack.pages.is_empty()
    }

    /// The number of pages.
    pub fn len(&self) -> usize {
        self.pack.pages.len()
    }

    /// The bytes of header and pages so far.
    pub fn stored_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// The object's bytes.
    pub fn finish(self) -> Vec<u8> {
        let PackWriter { pack, bytes: mut out } = self;
        let catalogue_offset = out.len() as u64;
        for page in &pack.pages {
            out.put_u8(page.level);
            out.put_u64(page.index);
            out.put_u32(page.reference.bytes);
            out.put(&page.reference.hash.0);
        }
        let trailer_at = out.len();
        out.put_start(TRAILER_MAGIC, VERSION);
        out.put_u64(catalogue_offset);
        out.put_u32(u32::try_from(pack.pages.len()).expect("fewer than 2^32 pages"));
        out.resize(trailer_at + TRAILER_BYTES - HASH_BYTES, 0);
        envelope::put_hash(&mut out);
        out
    }
}

impl Pack {
    /// Reads a whole object and checks every page's hash, but not what the pages say.
    pub fn parse(bytes: &[u8]) -> Result<UnverifiedPack, FormatError> {
        let mut from = Reader::new(WHAT, bytes);
        from.start(MAGIC, VERSION)?;
        let pool = PoolId(from.array("pool")?);
        let id = PackId(from.array("pack")?);
        let attempt = AttemptId(from.array("attempt")?);
        from.room("salt and room", HEADER_BYTES - HEADER_FIELDS_BYTES)?;
        envelope::check_hash(WHAT, bytes)?;
        let (catalogue_offset, pages) = parse_trailer(bytes)?;
        let trailer_at = bytes.len() - TRAILER_BYTES;
        let catalogue_bytes = pages as usize * ENTRY_BYTES;
        let places = (HEADER_BYTES + catalogue_bytes <= trailer_at).then(|| trailer_at - catalogue_bytes);
        let expected =
            places.map_or_else(|| "a catalogue within the object".into(), |place| place.to_string());
        let fits = places.is_some_and(|place| place as u64 == catalogue_offset);
        ensure(fits, WHAT, "catalogue offset", &expected, catalogue_offset)?;
        let catalogue = bytes.get(trailer_at - catalogue_bytes..trailer_at).unwrap_or_default();
        let pages = parse_catalogue(id, bytes, catalogue)?;
        let end = pages
            .last()
            .map_or(HEADER_BYTES as u64, |page| page.reference.offset + u64::from(page.reference.bytes));
        same(WHAT, "end of the pages", catalogue_offset, end)?;
        Ok(UnverifiedPack(Pack { pool, id, attempt, pages }))
    }
}

/// Offset of the catalogue and number of pages.
fn parse_trailer(bytes: &[u8]) -> Result<(u64, u32), FormatError> {
    let Some(trailer) = bytes.last_chunk::<TRAILER_BYTES>() else {
        return Err(FormatError::short(WHAT, "trailer", TRAILER_BYTES, bytes.len()));
    };
    let mut from = Reader::new(WHAT, trailer);
    from.start(TRAILER_MAGIC, VERSION)?;
    let found = (from.u64("catalogue offset")?, from.u32("count of pages")?);
    from.room("room", TAG_AT - TRAILER_FIELDS_BYTES)?;
    from.room("tag", TRAILER_BYTES - HASH_BYTES - TAG_AT)?;
    Ok(found)
}

fn parse_catalogue(pack: PackId, bytes: &[u8], catalogue: &[u8]) -> Result<Vec<PackPage>, FormatError> {
    let mut from = Reader::new(WHAT, catalogue);
    let mut offset = HEADER_BYTES;
    let mut pages = Vec::with_capacity(catalogue.len() / ENTRY_BYTES);
    for _ in 0..catalogue.len() / ENTRY_BYTES {
        let (level, index) = (from.u8("level")?, from.u64("index")?);
        let length = from.u32("page bytes")?;
        let hash = Hash(from.array("page hash")?);
        let end = offset.saturating_add(length as usize);
        let Some(page) = bytes.get(offset..end) else {
            return Err(FormatError::new(WHAT, "page bytes", "a page within the object", length));
        };
        same(PAGE, "hash", hash, Hash::of(page))?;
        let reference = PageRef { pack, offset: offset as u64, bytes: length, hash };
        pages.push(PackPage { level, index, reference });
        offset = end;
    }
    Ok(pages)
}

impl UnverifiedPack {
    /// The pack, if it is of this pool and is what its object's name says.
    pub fn verify(self, pool: PoolId, id: PackId) -> Result<Pack, FormatError> {
        same(WHAT, "pool", pool, self.0.pool)?;
        same(WHAT, "pack", id, self.0.id)?;
        Ok(self.0)
    }

    /// The pack as it was parsed, to look at.
    pub fn peek(&self) -> &Pack {
        &self.0
    }
}
