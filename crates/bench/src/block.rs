//! Blocks that say what they are: which address, which version, and a checksum over all of it.

/// The size of a block.
pub const BLOCK_BYTES: usize = 4096;
const HEADER_BYTES: usize = 24;

/// Fills `block` with version `version` of block `lba`; a third of it compresses well.
pub fn fill(block: &mut [u8], lba: u64, version: u64) {
    let mut state = (lba << 32 ^ version).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    for (index, word) in block.chunks_exact_mut(8).enumerate() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        word.copy_from_slice(&if index % 3 == 0 { lba } else { state }.to_le_bytes());
    }
    label(block, lba, version);
}

/// Makes a block with any body say which it is.
pub fn label(block: &mut [u8], lba: u64, version: u64) {
    block[..8].copy_from_slice(&lba.to_le_bytes());
    block[8..16].copy_from_slice(&version.to_le_bytes());
    let crc = u64::from(crc_fast::crc32_iscsi(&block[HEADER_BYTES..])) ^ lba ^ version;
    block[16..24].copy_from_slice(&crc.to_le_bytes());
}

/// Makes a block that says (`lba`, `version`) say another pair; its body stays.
pub fn stamp(block: &mut [u8], lba: u64, version: u64, new_lba: u64, new_version: u64) {
    let sum = u64::from_le_bytes(block[16..24].try_into().expect("eight bytes"));
    block[..8].copy_from_slice(&new_lba.to_le_bytes());
    block[8..16].copy_from_slice(&new_version.to_le_bytes());
    block[16..24].copy_from_slice(&(sum ^ lba ^ version ^ new_lba ^ new_version).to_le_bytes());
}

/// The version of block `lba` that `block` holds; 0 when it was never written; an error says what is wrong.
pub fn version(block: &[u8], lba: u64) -> Result<u64, String> {
    if block.iter().all(|byte| *byte == 0) {
        return Ok(0);
    }
    let word = |at: usize| u64::from_le_bytes(block[at..at + 8].try_into().expect("eight bytes"));
    let (found, version, crc) = (word(0), word(8), word(16));
    if found != lba {
        return Err(format!("block {lba} holds block {found}"));
    }
    if crc != u64::from(crc_fast::crc32_iscsi(&block[HEADER_BYTES..])) ^ lba ^ version {
        return Err(format!("block {lba} is torn or spoilt (it says version {version})"));
    }
    Ok(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_tells_its_version_and_every_fault() {
        let mut block = vec![0; BLOCK_BYTES];
        assert_eq!(version(&block, 7), Ok(0));
        fill(&mut block, 7, 3);
        assert_eq!(version(&block, 7), Ok(3));
        assert!(version(&block, 8).is_err());
        block[4095] ^= 1;
        assert!(version(&block, 7).is_err());
    }
}
