//! Randomness.

/// A source of random bytes. Ids and salts rely on it being unpredictable in production.
pub trait Random: Send + Sync {
    /// Fills `bytes`.
    fn fill(&self, bytes: &mut [u8]);

    /// Sixteen random bytes: an id.
    fn id(&self) -> [u8; 16] {
        let mut id = [0; 16];
        self.fill(&mut id);
        id
    }

    /// A random number below `bound`, which is not zero.
    fn below(&self, bound: u64) -> u64 {
        assert!(bound > 0, "a random number below zero was asked for");
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes) % bound
    }
}

/// The operating system's generator.
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the operating system's random generator answers");
    }
}
