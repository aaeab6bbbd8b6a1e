//! Families of volumes: whatever happens to one, the others read what they must.

use esker_sim::family::{self, Done};

#[test]
fn families_hold() {
    let mut sum = Done::default();
    for seed in 0..100 {
        sum.add(
            family::run(seed, 100).unwrap_or_else(|failure| {
                panic!("{failure}\nrepeat it with: cargo xtask sim --family {seed}")
            }),
        );
    }
    println!("{sum}");
}
