//! The simulator's random generator: small, seeded, the same on every machine.

use std::sync::{Mutex, PoisonError};

use esker_io::Random;

/// xoshiro256++ (Blackman and Vigna), seeded through splitmix64.
#[derive(Debug, Clone)]
pub struct Prng {
    state: [u64; 4],
}

impl Prng {
    /// A generator whose whole output is decided by `seed`.
    pub fn new(seed: u64) -> Self {
        let mut mixer = seed;
        Self { state: std::array::from_fn(|_| splitmix(&mut mixer)) }
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        let [a, b, c, d] = self.state;
        let result = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let c = c ^ a;
        let d = d ^ b;
        self.state = [a ^ d, b ^ c, c ^ (b << 17), d.rotate_left(45)];
        result
    }

    /// A number below `bound`, which is not zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "a random number below zero was asked for");
        // The high half of a product is uniform enough for any bound that a simulation uses.
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// A number from `low` to `high`, both possible.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        assert!(low <= high, "a random number between {low} and {high} was asked for");
        match (high - low).checked_add(1) {
            Some(span) => low + self.below(span),
            None => self.next_u64(),
        }
    }

    /// True once in a million times `ppm`.
    pub fn chance(&mut self, ppm: u32) -> bool {
        // No draw for what cannot happen: switching a fault off must not shift the others.
        ppm > 0 && self.below(1_000_000) < u64::from(ppm)
    }

    /// One of the choices.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len() as u64) as usize]
    }

    /// Fills `bytes`.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for part in bytes.chunks_mut(8) {
            part.copy_from_slice(&self.next_u64().to_le_bytes()[..part.len()]);
        }
    }

    /// A generator of its own for some part of the simulation.
    pub fn fork(&mut self) -> Self {
        Self::new(self.next_u64())
    }
}

fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// [`Random`] for one run of a simulated host.
pub struct SimRandom {
    prng: Mutex<Prng>,
}

impl SimRandom {
    /// A source decided by `prng`.
    pub fn new(prng: Prng) -> Self {
        Self { prng: Mutex::new(prng) }
    }
}

impl Random for SimRandom {
    fn fill(&self, bytes: &mut [u8]) {
        self.prng.lock().unwrap_or_else(PoisonError::into_inner).fill(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::Prng;

    #[test]
    fn output_is_the_published_xoshiro256_plus_plus() {
        // From state [1, 2, 3, 4], as the reference implementation prints.
        let mut prng = Prng { state: [1, 2, 3, 4] };
        let got: Vec<u64> = (0..4).map(|_| prng.next_u64()).collect();
        assert_eq!(got, [41943041, 58720359, 3588806011781223, 3591011842654386]);
    }

    #[test]
    fn numbers_stay_in_their_bounds_and_reach_both_ends() {
        let mut prng = Prng::new(1);
        let drawn: Vec<u64> = (0..1000).map(|_| prng.between(3, 7)).collect();
        assert!(drawn.iter().all(|n| (3..=7).contains(n)));
        assert!(drawn.contains(&3) && drawn.contains(&7));
        assert!(!(0..1000).any(|_| prng.chance(0)));
        assert!((0..1000).all(|_| prng.chance(1_000_000)));
    }
}
