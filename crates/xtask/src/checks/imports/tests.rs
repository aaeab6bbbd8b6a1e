use super::check;
use crate::house::House;

fn findings(path: &str, text: &str) -> Vec<String> {
    check(&House::of(&[(path, text)])).iter().map(ToString::to_string).collect()
}

#[test]
fn engine_names_nothing_ambient() {
    for text in [
        "use std::time::Instant;",
        "use std::{sync::Arc, time::{Duration, SystemTime}};",
        "use std::time;",
        "use std::collections::*;",
        "use std::collections::{BTreeMap, HashMap};",
        "fn f() { std::thread::spawn(g); }",
        "fn f() { tokio::spawn(g()); }",
        "use std::fs;",
        "fn f() { let n: u8 = rand::random(); }",
        "use object_store::path::Path;",
        "thread_local! { static A: u8 = 0; }",
        "async fn f() { futures_util::select! { } }",
        "use futures_util::select;",
        "fn f() { println!(\"x\"); }",
    ] {
        assert_eq!(findings("crates/engine/src/seal.rs", text).len().min(1), 1, "{text}");
    }
    for text in [
        "use std::{collections::{BTreeMap, VecDeque}, time::Duration, sync::Arc};",
        "async fn f() { futures_util::select_biased! { } }",
        "use esker_io::{World, Clock};",
        "// std::fs::read\nconst A: &str = \"std::fs::read\";",
        "#[cfg(test)]\nmod tests { use std::fs; }",
        "use std::io::IoSlice;",
    ] {
        assert_eq!(findings("crates/engine/src/seal.rs", text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn core_knows_no_edges() {
    let core = "crates/engine/src/core/map/leaf.rs";
    assert_eq!(findings(core, "use esker_io::World;").len(), 1);
    assert_eq!(findings(core, "use esker_io::{sync::atomic::AtomicU64, Disk};").len(), 1);
    assert_eq!(findings(core, "use esker_io;").len(), 1);
    assert_eq!(findings(core, "pub async fn f() {}").len(), 1);
    assert!(findings(core, "use esker_io::sync::atomic::AtomicU64;\nuse esker_format::Address;").is_empty());
}

#[test]
fn a_finding_says_where_and_what_instead() {
    let found = findings("crates/engine/src/seal.rs", "\nuse std::time::Instant;");
    assert_eq!(
        found,
        ["crates/engine/src/seal.rs:2: std::time::Instant is not for crates/engine/src/: \
          std::time::Instant is replaced by World::clock"]
    );
}

#[test]
fn the_simulators_binary_may_look_at_the_clock() {
    assert!(findings("crates/sim/src/bin/sim.rs", "use std::time::Instant;").is_empty());
    assert_eq!(findings("crates/sim/src/executor.rs", "use std::time::Instant;").len(), 1);
    assert!(findings("crates/io/src/clock.rs", "use std::time::Instant;").is_empty());
}
