//! A number that many threads add to all the time and somebody reads now and then.

use super::{
    atomic::{AtomicU64, Ordering},
    sharded::{SHARDS, shard_of_this_thread},
};

/// A part of the number; two lines apart, since processors fetch lines in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Part(AtomicU64);

/// A sum in parts: threads seldom touch the same cache line.
#[derive(Debug, Default)]
pub struct Counter {
    parts: [Part; SHARDS],
}

impl Counter {
    /// Adds.
    pub fn add(&self, count: u64) {
        self.parts[shard_of_this_thread()].0.fetch_add(count, Ordering::Relaxed);
    }

    /// The sum of what was added; what is added meanwhile may be in it or not.
    pub fn sum(&self) -> u64 {
        self.parts.iter().map(|part| part.0.load(Ordering::Relaxed)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::Counter;

    #[test]
    fn threads_add_up() {
        let counter = Counter::default();
        std::thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| (0..1_000).for_each(|_| counter.add(3)));
            }
        });
        assert_eq!(counter.sum(), 60_000);
    }
}
