//! Contents that cost little: prepared blocks, of which only the header changes.

use crate::block::{self, BLOCK_BYTES};

/// So many that no two of them are likely to meet in what a server compresses together.
const TEMPLATES: u64 = 1024;

/// Prepared blocks.
pub struct Templates(Vec<u8>);

impl Default for Templates {
    fn default() -> Self {
        let mut bytes = vec![0; TEMPLATES as usize * BLOCK_BYTES];
        for (seed, block) in (1..).zip(bytes.chunks_exact_mut(BLOCK_BYTES)) {
            // As if each were block 0: the checksum is then that of the body alone, but for the version.
            block::fill(block, 0, seed);
            block::stamp(block, 0, seed, 0, 0);
        }
        Self(bytes)
    }
}

impl Templates {
    /// Blocks of which next to nothing is left when they are compressed: a segment then holds as many as it may.
    pub fn compressible() -> Self {
        let mut bytes = vec![0; TEMPLATES as usize * BLOCK_BYTES];
        for (number, block) in bytes.chunks_exact_mut(BLOCK_BYTES).enumerate() {
            block.fill(number as u8 | 1);
            block::label(block, 0, 0);
        }
        Self(bytes)
    }

    /// Appends version `version` of the block `lba`.
    pub fn append(&self, out: &mut Vec<u8>, lba: u64, version: u64) {
        let number = (lba.wrapping_mul(0x9E37_79B9) ^ version) % TEMPLATES;
        let at = out.len();
        out.extend_from_slice(&self.0[number as usize * BLOCK_BYTES..][..BLOCK_BYTES]);
        block::stamp(&mut out[at..], 0, 0, lba, version);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_appended_is_a_whole_block() {
        for templates in [Templates::default(), Templates::compressible()] {
            let mut out = Vec::new();
            for lba in 0..100 {
                out.clear();
                templates.append(&mut out, lba, lba * 7 + 1);
                assert_eq!(block::version(&out, lba), Ok(lba * 7 + 1));
            }
        }
    }
}
