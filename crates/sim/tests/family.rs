//! Families of volumes: whatever happens to one, the others read what they must. In parts, so that they run side by side.
//! `cargo xtask sim --families 10000` lives as many as a campaign wants.

use esker_sim::family::{self, Done};

/// The steps of each family's life.
const STEPS: u64 = 100;
/// The families of each part.
const FAMILIES: u64 = 500;

/// Lives the families of one part.
fn hold(part: u64) {
    let mut sum = Done::default();
    for seed in part * FAMILIES..(part + 1) * FAMILIES {
        sum.add(
            family::run(seed, STEPS).unwrap_or_else(|failure| {
                panic!("{failure}\nrepeat it with: cargo xtask sim --family {seed}")
            }),
        );
    }
    println!("{sum}");
    // What a part has to see often enough to be worth its time.
    for (what, least) in [
        ("objects deleted", 5_000),
        ("segments rewritten", 200),
        ("blocks written anew", 2),
        ("cut off", 300),
        ("power failure", 300),
        ("failed", 50),
        ("make again", 5),
        ("delete again", 50),
        ("compare", 300),
        ("compare with now", 300),
    ] {
        assert!(sum.of(what) > least, "{what}: {} in {FAMILIES} families", sum.of(what));
    }
}

macro_rules! parts {
    ($($name:ident $part:literal,)*) => {
        $(
            #[test]
            fn $name() {
                hold($part);
            }
        )*
    };
}

parts! {
    families_hold_in_part_0 0,
    families_hold_in_part_1 1,
    families_hold_in_part_2 2,
    families_hold_in_part_3 3,
    families_hold_in_part_4 4,
    families_hold_in_part_5 5,
    families_hold_in_part_6 6,
    families_hold_in_part_7 7,
    families_hold_in_part_8 8,
    families_hold_in_part_9 9,
    families_hold_in_part_10 10,
    families_hold_in_part_11 11,
    families_hold_in_part_12 12,
    families_hold_in_part_13 13,
    families_hold_in_part_14 14,
    families_hold_in_part_15 15,
}

#[test]
fn the_same_family_lives_the_same_life() {
    for seed in 0..10 {
        let live = || family::run(seed, STEPS).unwrap_or_else(|failure| panic!("{failure}"));
        assert_eq!(live(), live(), "family {seed}");
    }
}
