//! Caches. In memory: bounded by bytes, with a hasher of a fixed seed: the same run keeps and drops the same things.

mod disk;

use std::hash::{BuildHasher, Hash, Hasher};

use quick_cache::{OptionsBuilder, Weighter, sync};

pub(crate) use disk::{DiskCache, Found};
pub use disk::{DiskUsage, REST, WAITING_BYTES_MAX};

/// Parts of a cache that are locked apart. Small caches have fewer, so that each part holds many items.
const SHARDS: usize = 16;
/// What an item costs besides its own bytes: key, links, allocation.
const ITEM_OVERHEAD_BYTES: usize = 96;

/// The memory that a cached value takes.
pub trait Footprint {
    /// In bytes, without the value's own few words.
    fn footprint_bytes(&self) -> usize;
}

impl Footprint for bytes::Bytes {
    fn footprint_bytes(&self) -> usize {
        self.len()
    }
}

/// Values by key, up to a number of bytes. Values are cheap to clone.
pub struct Cache<K, V> {
    items: sync::Cache<K, V, Weigh, FixedSeed>,
}

impl<K: Hash + Eq, V: Footprint + Clone> Cache<K, V> {
    /// A cache of at most `bytes_max`, whose items are about `item_bytes` large. Items of more than a
    /// thirty-second of the whole may not be kept.
    pub fn new(bytes_max: usize, item_bytes: usize) -> Self {
        let options = OptionsBuilder::new()
            .shards(SHARDS)
            .weight_capacity(bytes_max as u64)
            .estimated_items_capacity(bytes_max / item_bytes.max(1))
            .build()
            .expect("both capacities are set");
        Self {
            items: sync::Cache::with_options(options, Weigh, FixedSeed, sync::DefaultLifecycle::default()),
        }
    }

    /// The value of a key, if it is here.
    pub fn get(&self, key: &K) -> Option<V> {
        self.items.get(key)
    }

    /// Whether it is here; that does not count as a use.
    pub fn holds(&self, key: &K) -> bool {
        self.items.peek(key).is_some()
    }

    /// Keeps a value, and drops others when they are too many bytes.
    pub fn insert(&self, key: K, value: V) {
        self.items.insert(key, value);
    }

    /// Lets go of a value.
    pub fn remove(&self, key: &K) {
        self.items.remove(key);
    }

    /// The bytes that are held.
    pub fn bytes(&self) -> u64 {
        self.items.weight()
    }
}

#[derive(Clone)]
struct Weigh;

impl<K, V: Footprint> Weighter<K, V> for Weigh {
    fn weight(&self, _key: &K, value: &V) -> u64 {
        (value.footprint_bytes() + ITEM_OVERHEAD_BYTES) as u64
    }
}

/// Builds the same hasher every time.
#[derive(Clone)]
struct FixedSeed;

impl BuildHasher for FixedSeed {
    type Hasher = Mix;

    fn build_hasher(&self) -> Mix {
        Mix(0)
    }
}

/// Multiply and rotate for each word, the finalizer of SplitMix64 at the end.
struct Mix(u64);

impl Mix {
    fn add(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }
}

impl Hasher for Mix {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.add(u64::from_le_bytes(word));
        }
    }

    fn write_u32(&mut self, word: u32) {
        self.add(u64::from(word));
    }

    fn write_u64(&mut self, word: u64) {
        self.add(word);
    }

    fn write_usize(&mut self, word: usize) {
        self.add(word as u64);
    }

    fn finish(&self) -> u64 {
        let word = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn bytes_are_bounded() {
        const BYTES_MAX: usize = 4 << 20;
        let cache = Cache::new(BYTES_MAX, 16 << 10);
        for key in 0..10_000_u64 {
            cache.insert(key, Bytes::from(vec![0; 16 << 10]));
            assert!(cache.bytes() <= BYTES_MAX as u64);
        }
        assert!(cache.bytes() > BYTES_MAX as u64 / 2, "and most of it is used: {}", cache.bytes());
    }

    #[test]
    fn an_empty_cache_holds_nothing() {
        let cache = Cache::new(0, 4096);
        cache.insert(1_u64, Bytes::from_static(b"x"));
        assert_eq!((cache.get(&1), cache.bytes()), (None, 0));
    }

    #[test]
    fn the_same_history_keeps_the_same_items() {
        let run = || {
            let cache = Cache::new(1 << 20, 4096);
            for key in 0..5_000_u64 {
                let item = key * key % 700;
                if cache.get(&item).is_none() {
                    cache.insert(item, Bytes::from(vec![0; 4096]));
                }
            }
            (0..700_u64).filter(|key| cache.get(key).is_some()).collect::<Vec<_>>()
        };
        assert_eq!(run(), run());
    }
}
