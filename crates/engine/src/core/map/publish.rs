//! What writers do under the shared guard: places for their blocks, log positions into them, stored addresses later.

use esker_format::{address::Address, ids::LogPosition, page::LEAF_BLOCKS};
use esker_io::sync::atomic::{AtomicU64, Ordering};

use super::{Map, leaf, leaf_parts, node::Node};

impl Map {
    /// Sees that every block of the range can take [`Map::publish`] under this hold of the guard; false when a leaf has
    /// to be made ready for it: see [`Map::inflate`].
    pub fn prepare(&self, lba: u64, blocks: u64) -> bool {
        self.check(lba, blocks);
        leaf_parts(lba, blocks).all(|part| match self.leaf_of(part.lba) {
            Node::Flat(..) => true,
            Node::Sparse(sparse, _) => {
                (part.start..part.start + part.blocks).all(|block| sparse.claim(block as u16))
            }
            Node::Uniform(_) | Node::Runs(..) | Node::Inner { .. } => false,
        })
    }

    /// Makes block `i` of the range read log position `first + i × 4096`.
    ///
    /// Rule W4: two writers of one block append in one order and may publish in the other. An entry
    /// holds no sequence, but log positions grow with sequences and are never reused, so an entry that
    /// names a higher position is newer and stays. A hole, zeros or a segment address found here is
    /// always older, because trims publish under the exclusive guard and a chunk is applied only when
    /// all its records are published.
    ///
    /// # Panics
    /// When a block has no place: see [`Map::prepare`].
    pub fn publish(&self, lba: u64, blocks: u64, first: LogPosition) {
        self.check(lba, blocks);
        for part in leaf_parts(lba, blocks) {
            let address = Address::log(first).plus(part.lba - lba);
            match self.leaf_of(part.lba) {
                Node::Flat(words, mark) => {
                    mark.change();
                    leaf::publish(words, part.start, part.blocks, address);
                }
                Node::Sparse(sparse, mark) => {
                    mark.change();
                    for i in 0..part.blocks {
                        let word = sparse.word((part.start + i) as u16);
                        leaf::publish_one(word.expect("it was prepared"), address.plus(i as u64));
                    }
                }
                _ => panic!("only prepared leaves are published to"),
            }
        }
    }

    /// As [`Map::publish`] without rule W4.
    #[cfg(feature = "planted")]
    pub fn publish_blindly(&self, lba: u64, blocks: u64, first: LogPosition) {
        for block in 0..blocks {
            let word = self.word(lba + block).expect("only prepared leaves are published to");
            word.store(Address::log(first).plus(block).raw(), Ordering::Relaxed);
        }
    }

    /// Replaces the entry of one block if it still names log position `expected`. False when it moved
    /// on, or the leaf has no words, which means the same: no entry of such a leaf names the log.
    pub fn apply(&self, lba: u64, expected: LogPosition, to: Address) -> bool {
        self.check(lba, 1);
        debug_assert!(!to.is_log(), "a block is applied to a stored address");
        // No mark: whoever published has set it, and no stamp is given while an entry names the log.
        let Some(word) = self.word(lba) else { return false };
        word.compare_exchange(Address::log(expected).raw(), to.raw(), Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    /// Makes every leaf of the range ready for [`Map::prepare`].
    pub fn inflate(&mut self, lba: u64, blocks: u64) {
        self.check(lba, blocks);
        for part in leaf_parts(lba, blocks) {
            let range = part.start..part.start + part.blocks;
            self.root.change_leaf(self.level, part.lba / LEAF_BLOCKS, |node| node.make_room(range));
        }
        self.report();
    }

    /// The word of a block that has one.
    fn word(&self, lba: u64) -> Option<&AtomicU64> {
        let block = lba % LEAF_BLOCKS;
        match self.leaf_of(lba) {
            Node::Flat(words, _) => Some(&words[block as usize]),
            Node::Sparse(sparse, _) => sparse.word(block as u16),
            _ => None,
        }
    }
}
