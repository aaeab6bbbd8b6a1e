//! Places: a small seeded generator.

/// A small seeded generator.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    /// A number below `bound`, at least 10; nine times of ten in its first tenth.
    pub fn skewed(&mut self, bound: u64) -> u64 {
        let tenth = bound / 10;
        if self.below(10) < 9 { self.below(tenth) } else { tenth + self.below(bound - tenth) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nine_of_ten_are_in_the_first_tenth() {
        let mut random = Random::new(1);
        let places: Vec<u64> = (0..10_000).map(|_| random.skewed(1_000)).collect();
        let hot = places.iter().filter(|place| **place < 100).count();
        assert!((8_800..9_200).contains(&hot), "{hot}");
        assert!(places.iter().all(|place| *place < 1_000));
        assert!(places.iter().any(|place| *place > 950));
    }
}
