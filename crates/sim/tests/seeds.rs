//! Random histories: the same seed gives the same history, and every seed holds.

use esker_sim::seeds;

/// Seeds that found something once.
const REGRESSIONS: [u64; 4] = [1, 2, 44, 700_194];

fn run(seed: u64) -> seeds::Done {
    seeds::run(seed)
        .unwrap_or_else(|failure| panic!("{failure}\nrepeat it with: cargo xtask sim --seed {seed}"))
}

#[test]
fn a_hundred_seeds_run_twice_give_the_same_digests() {
    let mut digests = std::collections::BTreeSet::new();
    for seed in 1_000..1_100 {
        let first = run(seed);
        assert_eq!(first, run(seed), "seed {seed}");
        digests.insert(first.digest);
    }
    assert_eq!(digests.len(), 100);
}

#[test]
fn seeds_that_found_something_hold() {
    REGRESSIONS.into_iter().for_each(|seed| drop(run(seed)));
}

#[test]
fn fresh_seeds_hold() {
    (0..200).for_each(|seed| drop(run(seed)));
}
