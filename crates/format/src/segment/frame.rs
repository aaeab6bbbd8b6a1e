//! A frame: some consecutive slots as they are stored, and the way back to their blocks.

use super::hex_of;
use crate::error::{ensure, same};
use crate::wire::{Put, Reader};
use crate::{BLOCK_BYTES, Codec, FormatError, Hash, codec};

const WHAT: &str = "segment frame";

/// The most blocks of a frame: 64 KiB.
pub const FRAME_BLOCKS_MAX: usize = 16;
const TAG_BYTES: usize = 16;
/// Stored length (1 to 3 bytes), blocks, codec, tag.
pub(super) const ENTRY_BYTES_MIN: usize = 1 + 1 + 1 + TAG_BYTES;

const _: () = assert!(FRAME_BLOCKS_MAX * BLOCK_BYTES <= codec::RAW_BYTES_MAX);

/// Where a frame is in its object, and what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The first byte in the object; not stored, follows from the frames before.
    pub offset: u64,
    /// Its length in the object.
    pub stored_bytes: u32,
    /// The place of its first slot among those that the object holds, which is the slot itself where none was dropped;
    /// not stored, follows from the frames before.
    pub first_place: u32,
    /// Its number of slots.
    pub blocks: u16,
    /// How it is compressed.
    pub codec: Codec,
    /// The first 16 bytes of the BLAKE3 of its stored bytes.
    pub tag: [u8; 16],
}

impl Frame {
    pub(super) fn tag_of(stored: &[u8]) -> [u8; TAG_BYTES] {
        let hash = Hash::of(stored);
        std::array::from_fn(|i| hash.0[i])
    }

    /// Its number of bytes once decompressed.
    pub fn raw_bytes(&self) -> usize {
        usize::from(self.blocks) * BLOCK_BYTES
    }

    /// One past its last byte in the object.
    pub fn end(&self) -> u64 {
        self.offset + u64::from(self.stored_bytes)
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_varint(u64::from(self.stored_bytes));
        out.put_u8(self.blocks as u8);
        out.put_u8(self.codec as u8);
        out.put(&self.tag);
    }

    /// Reads the entry of the frame that begins at these places.
    pub(super) fn parse(from: &mut Reader<'_>, offset: u64, first_place: u32) -> Result<Frame, FormatError> {
        let stored_bytes = from.varint("frame length")?;
        let blocks = u16::from(from.u8("frame blocks")?);
        let codec = Codec::parse(WHAT, from.u8("frame codec")?)?;
        let tag = from.array("frame tag")?;
        ensure((1..=FRAME_BLOCKS_MAX).contains(&usize::from(blocks)), WHAT, "blocks", "1 to 16", blocks)?;
        let raw_bytes = u64::from(blocks) * BLOCK_BYTES as u64;
        let fits = match codec {
            Codec::Raw => stored_bytes == raw_bytes,
            Codec::Lz4 | Codec::Zstd => (1..raw_bytes).contains(&stored_bytes),
        };
        ensure(fits, WHAT, "length", "the raw length, or less where compressed", stored_bytes)?;
        Ok(Frame { offset, stored_bytes: stored_bytes as u32, first_place, blocks, codec, tag })
    }
}

/// The blocks of a frame, from its stored bytes: checks length and tag, decompresses, checks the length again.
pub fn open_frame(frame: &Frame, stored: &[u8]) -> Result<Vec<u8>, FormatError> {
    if stored.len() as u64 != u64::from(frame.stored_bytes) {
        return Err(FormatError::new(WHAT, "length", frame.stored_bytes, stored.len()));
    }
    let tag = Frame::tag_of(stored);
    if tag != frame.tag {
        same(WHAT, "tag", hex_of(&frame.tag), hex_of(&tag))?;
    }
    codec::decompress(frame.codec, stored, frame.raw_bytes())
}
