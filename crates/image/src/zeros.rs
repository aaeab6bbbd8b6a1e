//! Finding zeros.

use std::ops::Range;

/// The ranges of `bytes` that are not zeros, in whole blocks: sorted, and merged where they meet. The last block may
/// be a part of one.
pub fn data_runs(bytes: &[u8], block_bytes: usize) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for (index, block) in bytes.chunks(block_bytes).enumerate() {
        if is_zero(block) {
            continue;
        }
        let start = index * block_bytes;
        match runs.last_mut() {
            Some(last) if last.end == start => last.end += block.len(),
            _ => runs.push(start..start + block.len()),
        }
    }
    runs
}

fn is_zero(block: &[u8]) -> bool {
    // Words first: four times as quick as bytes where nothing is found.
    let (words, rest) = block.as_chunks::<16>();
    words.iter().all(|word| u128::from_ne_bytes(*word) == 0) && rest.iter().all(|byte| *byte == 0)
}
