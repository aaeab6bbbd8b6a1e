//! Contents that say what they are: which write of which block of which volume, in which epoch.

use esker_format::BLOCK_BYTES;

use crate::Prng;

const MAGIC: u64 = 0x5053_454b_4552_0001;
const SECTOR_BYTES: usize = 512;
const STAMP_BYTES: usize = 40;

/// What a block says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// The volume's number in the test.
    pub volume: u64,
    /// The block.
    pub lba: u64,
    /// The number of the write, unique in the test.
    pub write: u64,
    /// The epoch of the writer.
    pub epoch: u64,
}

impl Stamp {
    /// A block with this stamp in each sector. Every other write does not compress.
    pub fn block(&self) -> [u8; BLOCK_BYTES] {
        let mut block = [0; BLOCK_BYTES];
        if self.write % 2 == 1 {
            Prng::new(self.write << 32 | self.lba).fill(&mut block);
        }
        for sector in block.chunks_exact_mut(SECTOR_BYTES) {
            let words = [MAGIC, self.volume, self.lba, self.write, self.epoch];
            for (bytes, word) in sector.chunks_exact_mut(8).zip(words) {
                bytes.copy_from_slice(&word.to_le_bytes());
            }
        }
        block
    }

    /// The stamp of a sector, if it has one.
    pub fn read(sector: &[u8]) -> Option<Self> {
        let word = |index: usize| sector[index * 8..index * 8 + 8].try_into().map(u64::from_le_bytes).ok();
        let whole = sector.len() >= STAMP_BYTES && word(0)? == MAGIC;
        if !whole {
            return None;
        }
        Some(Self { volume: word(1)?, lba: word(2)?, write: word(3)?, epoch: word(4)? })
    }
}

/// What a block holds, for people: its sectors, equal neighbours counted.
pub(crate) fn describe(block: &[u8]) -> String {
    let name = |sector: &[u8]| match Stamp::read(sector) {
        Some(Stamp { volume, lba, write, epoch }) => {
            format!("write {write} of block {lba} of volume {volume} in epoch {epoch}")
        }
        None if sector.iter().all(|byte| *byte == 0) => "zeros".to_owned(),
        None => format!("other bytes {:02x?}…", &sector[..8]),
    };
    let mut parts: Vec<(usize, String)> = Vec::new();
    for sector in block.chunks_exact(SECTOR_BYTES) {
        let name = name(sector);
        match parts.last_mut() {
            Some((count, last)) if *last == name => *count += 1,
            _ => parts.push((1, name)),
        }
    }
    let parts: Vec<String> = parts.into_iter().map(|(count, name)| format!("{count} × {name}")).collect();
    parts.join(", ")
}
