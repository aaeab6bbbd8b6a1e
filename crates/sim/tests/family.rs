//! Families of volumes: whatever happens to one, the others read what they must.

use std::collections::BTreeMap;

use esker_sim::family;

#[test]
fn families_hold() {
    let mut steps = BTreeMap::new();
    let (mut deleted, mut rewritten, mut resealed) = (0, 0, 0);
    for seed in 0..100 {
        let done = family::run(seed, 100)
            .unwrap_or_else(|failure| panic!("{failure}\nrepeat it with: cargo xtask sim --family {seed}"));
        deleted += done.deleted;
        rewritten += done.rewritten;
        resealed += done.resealed;
        for (kind, count) in done.steps {
            *steps.entry(kind).or_insert(0) += count;
        }
    }
    println!(
        "{steps:?}, {deleted} objects deleted, {rewritten} segments rewritten, {resealed} blocks written anew"
    );
    assert!(deleted > 1_000, "rounds had something to delete: {deleted}");
    assert!(rewritten > 50, "rounds rewrote something: {rewritten}");
}
