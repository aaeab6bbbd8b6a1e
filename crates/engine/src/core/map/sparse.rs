//! Leaves that writers have changed in a few blocks: runs, and over them a table of words by block.
//!
//! ```text
//!   base    what the table does not say: sorted runs, 12 bytes each
//!   table   ¼ n words of keys, four blocks each │ n words, one for each key: raw addresses
//! ```
//!
//! A flat leaf takes 16 KiB for its first block, so a volume that is written at random all over would take that for
//! each 8 MiB of its size. This form takes 10 bytes a place. A key is claimed for good until somebody alone makes the
//! table anew: whoever looks for a block starts at the word of keys that its hash says, goes on to the next, and takes
//! the first free place if it comes to one. All who look for one block go the same way, so a block has one place.
//! A claimed place whose word is not set yet says nothing: the base does.

use std::ops::Range;

use esker_format::{
    address::Address,
    page::{LEAF_BLOCKS, LeafRun},
};
use esker_io::sync::atomic::{AtomicU64, Ordering};

use super::{
    Extent,
    leaf::{self, PackedRun, Words},
};

/// The most places of a table; a leaf that needs more is flat. A quarter of a leaf.
pub(super) const PLACES_MAX: usize = 512;
const PLACES_MIN: usize = 4;
/// Keys in a word, and the bits of one.
const LANES: usize = 4;
const LANE_BITS: u32 = 16;
/// A lane or word that nobody has set: no block, and no address.
const FREE: u64 = u16::MAX as u64;
const UNSET: u64 = u64::MAX;

const _: () = assert!(LEAF_BLOCKS < FREE);

/// A leaf of runs with a table over them.
pub(super) struct Sparse {
    pub(super) base: Box<[PackedRun]>,
    table: Box<[AtomicU64]>,
}

/// What a look for a block came to.
enum Found {
    Place(usize),
    /// The first free lane on its way.
    Free {
        word: usize,
        lane: usize,
    },
    Full,
}

impl Sparse {
    /// Over these runs a table of at least so many places, all free; none when a flat leaf would be smaller.
    pub(super) fn new(base: Box<[PackedRun]>, places: usize) -> Option<Box<Sparse>> {
        let places = places.next_power_of_two().max(PLACES_MIN);
        let bytes = size_of::<Sparse>() + size_of_val::<[PackedRun]>(&base) + places * 10;
        if places > PLACES_MAX || bytes >= size_of::<Words>() {
            return None;
        }
        let table: Box<[AtomicU64]> = (0..places + places / LANES).map(|_| AtomicU64::new(UNSET)).collect();
        Some(Box::new(Sparse { base, table }))
    }

    /// Bytes of heap, its own box counted.
    pub(super) fn heap_bytes(&self) -> usize {
        size_of::<Sparse>() + size_of_val::<[PackedRun]>(&self.base) + size_of_val::<[AtomicU64]>(&self.table)
    }

    fn key_words(&self) -> usize {
        self.table.len() / (LANES + 1)
    }

    /// How many places it has.
    pub(super) fn places(&self) -> usize {
        self.key_words() * LANES
    }

    fn look(&self, block: u16) -> Found {
        let words = self.key_words();
        // Multiplied, so that strides do not all begin in one word; `words` is a power of two.
        let start = (u32::from(block).wrapping_mul(0x9e37_79b1) >> 16) as usize;
        for step in 0..words {
            let word = (start + step) & (words - 1);
            let keys = self.table[word].load(Ordering::Relaxed);
            for lane in 0..LANES {
                let key = keys >> (lane as u32 * LANE_BITS) & FREE;
                if key == u64::from(block) {
                    return Found::Place(word * LANES + lane);
                }
                if key == FREE {
                    return Found::Free { word, lane };
                }
            }
        }
        Found::Full
    }

    /// The word of a block that has a place.
    #[inline]
    pub(super) fn word(&self, block: u16) -> Option<&AtomicU64> {
        match self.look(block) {
            Found::Place(place) => Some(&self.table[self.key_words() + place]),
            Found::Free { .. } | Found::Full => None,
        }
    }

    /// Sees that a block has a place; false when all are taken.
    pub(super) fn claim(&self, block: u16) -> bool {
        loop {
            match self.look(block) {
                Found::Place(_) => return true,
                Found::Full => return false,
                Found::Free { word, lane } => {
                    let keys = self.table[word].load(Ordering::Relaxed);
                    let shift = lane as u32 * LANE_BITS;
                    if keys >> shift & FREE == FREE {
                        let taken = keys & !(FREE << shift) | u64::from(block) << shift;
                        // Whoever was faster may have taken it for the same block: look again.
                        let _ = self.table[word].compare_exchange(
                            keys,
                            taken,
                            Ordering::Relaxed,
                            Ordering::Relaxed,
                        );
                    }
                }
            }
        }
    }

    /// The address of one block.
    pub(super) fn get(&self, block: u16) -> Address {
        // Acquire: pairs with the release in `publish`.
        match self.word(block).map(|word| word.load(Ordering::Acquire)) {
            Some(raw) if raw != UNSET => Address::from_raw(raw),
            _ => leaf::get(&self.base, block),
        }
    }

    /// What the table says, in no order.
    fn said(&self) -> impl Iterator<Item = (u16, Address)> {
        let words = self.key_words();
        (0..self.places()).filter_map(move |place| {
            let keys = self.table[place / LANES].load(Ordering::Relaxed);
            let key = keys >> ((place % LANES) as u32 * LANE_BITS) & FREE;
            let raw = self.table[words + place].load(Ordering::Acquire);
            (key != FREE && raw != UNSET).then(|| (key as u16, Address::from_raw(raw)))
        })
    }

    /// Whether an entry names the log.
    pub(super) fn names_log(&self) -> bool {
        self.said().any(|(_, address)| address.is_log())
    }

    /// Calls `f` for the pieces of a range of the leaf, which begins at block `base`, holes included.
    pub(super) fn visit(&self, base: u64, range: Range<u64>, f: &mut impl FnMut(Extent)) {
        let inside = range.start - base..range.end - base;
        if inside.end - inside.start == 1 {
            f(Extent { lba: range.start, blocks: 1, address: self.get(inside.start as u16) });
            return;
        }
        let mut said: Vec<_> = self.said().filter(|(block, _)| inside.contains(&u64::from(*block))).collect();
        said.sort_unstable_by_key(|(block, _)| *block);
        let mut at = range.start;
        for (block, address) in said {
            let lba = base + u64::from(block);
            if at < lba {
                leaf::visit_runs(&self.base, base, at..lba, f);
            }
            f(Extent { lba, blocks: 1, address });
            at = lba + 1;
        }
        if at < range.end {
            leaf::visit_runs(&self.base, base, at..range.end, f);
        }
    }

    /// Runs that say the same; log positions among them.
    pub(super) fn runs(&self) -> Vec<LeafRun> {
        let mut builder = leaf::RunBuilder::default();
        self.visit(0, 0..LEAF_BLOCKS, &mut |extent| {
            builder.push(extent.lba as u16, extent.blocks as u16, extent.address);
        });
        builder.finish()
    }

    /// Words that say the same.
    pub(super) fn words(&self) -> Box<Words> {
        let mut words = leaf::words_of(&self.base);
        for (block, address) in self.said() {
            leaf::store(&mut words, u64::from(block)..u64::from(block) + 1, address);
        }
        words
    }

    /// The same over other runs, with at least so many places, and without what it says of `but`.
    pub(super) fn remade(
        &self,
        base: Box<[PackedRun]>,
        places: usize,
        but: Range<u64>,
    ) -> Option<Box<Sparse>> {
        let new = Sparse::new(base, places.max(self.places()))?;
        for (block, address) in self.said().filter(|(block, _)| !but.contains(&u64::from(*block))) {
            assert!(new.claim(block), "as many places as before");
            new.word(block).expect("it was claimed").store(address.raw(), Ordering::Relaxed);
        }
        Some(new)
    }
}
