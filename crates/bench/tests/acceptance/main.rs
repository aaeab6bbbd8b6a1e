//! What users do with a disk, done with real clients to the built `esker` and its default pool.
//!
//! `cargo nextest run --workspace` builds `esker` before it runs these; with `-p esker-bench` alone, build it first.
#![forbid(unsafe_code)]

mod device;
mod program;
mod site;
mod tools;
mod tree;

/// Everything here takes seconds: `cargo xtask test --fast` leaves it out.
mod slow {
    mod credentials;
    mod file_systems;
    mod images;
    mod load;
    mod power;
    mod torture;
    mod weather;
}
