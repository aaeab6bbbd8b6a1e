//! What a pool takes, whose that is, and why its segments stay.

use std::fs;

use serde_json::Value;

use crate::bench::Bench;

fn number(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap_or_else(|| panic!("{key} in {value}"))
}

/// Every byte of the pool is in one line; returns all of them.
fn adds_up(space: &Value) -> u64 {
    let lines = ["exclusive_bytes", "shared_bytes", "dead_bytes", "index_bytes"];
    let classes = ["pages", "in_flight", "waiting", "due", "records"];
    let lines = lines.iter().map(|line| number(space, line));
    let all: u64 = lines.chain(classes.iter().map(|class| number(&space[class], "bytes"))).sum();
    assert_eq!(all, number(&space["stored"], "bytes"), "{space}");
    let volumes = space["volumes"].as_array().unwrap();
    let exclusive: u64 = volumes.iter().map(|volume| number(volume, "exclusive_bytes")).sum();
    assert_eq!(exclusive, number(space, "exclusive_bytes"), "{space}");
    all
}

fn stored(bench: &Bench) -> u64 {
    bench.files("pool").into_iter().map(|file| fs::metadata(file).unwrap().len()).sum()
}

fn volume<'a>(space: &'a Value, name: &str) -> &'a Value {
    let volumes = space["volumes"].as_array().unwrap();
    volumes.iter().find(|volume| volume["name"] == name).unwrap_or_else(|| panic!("{name} in {space}"))
}

#[test]
fn what_a_pool_takes_adds_up() {
    let bench = Bench::new();
    let daemon = bench.serve(&["--volume", "keep=64M", "--volume", "drop=64M"]);
    let disk = bench.random_file("disk.raw", 8 << 20);
    for name in ["web", "mail"] {
        bench.ok(&["import", "raw", &disk, name]);
    }
    bench.write("keep", 1, "0", "8M");
    adds_up(&bench.json(&["du"]));
    assert_eq!(daemon.stop(), 0);

    let all = bench.json(&["du"]);
    assert_eq!(adds_up(&all), stored(&bench));
    for name in ["web", "mail"] {
        let found = volume(&all, name);
        assert_eq!((number(found, "mapped_bytes"), number(found, "shared_bytes")), (8 << 20, 0));
        assert!(number(found, "exclusive_bytes") >= 8 << 20, "{found}");
    }
    bench.ok(&["volume", "delete", "mail", "--yes"]);
    let left = bench.json(&["du"]);
    assert_eq!(adds_up(&left), stored(&bench));
    // All that it held alone comes back.
    let freed = number(&left["waiting"], "bytes") - number(&all["waiting"], "bytes");
    assert!(freed >= number(volume(&all, "mail"), "exclusive_bytes"), "{freed} of {all}");
    // A daemon knows since when it is dead.
    let daemon = bench.serve(&["--volume", "keep", "--grace", "0s"]);
    bench.json(&["reclaim"]);
    let due = bench.json(&["du"]);
    adds_up(&due);
    assert!(number(&due["due"], "bytes") >= freed, "{due}");
    assert!(bench.ok(&["du"]).contains("reclaimable"));
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn a_look_says_why_every_segment_stays() {
    let bench = Bench::new();
    let daemon = bench.serve(&["--volume", "v=64M"]);
    let disk = bench.random_file("disk.raw", 8 << 20);
    for name in ["web", "mail"] {
        bench.ok(&["import", "raw", &disk, name]);
    }
    assert_eq!(daemon.stop(), 0);
    bench.ok(&["volume", "delete", "mail", "--yes"]);
    let daemon = bench.serve(&["--volume", "v"]);
    let look = bench.json(&["reclaim", "--dry-run"]);
    let segments = look["why"]["segments"].as_array().unwrap();
    assert_eq!(segments.len(), bench.files("pool/segments").len());
    let reasons = look["why"]["reasons"].as_array().unwrap();
    let counted: u64 = reasons.iter().map(|sum| number(&sum["segments"], "objects")).sum();
    assert_eq!(counted, segments.len() as u64);
    assert!(segments.iter().any(|segment| segment["reason"] == "dead"), "{look}");
    assert!(segments.iter().any(|segment| number(segment, "live") > 0), "{look}");
    let text = bench.ok(&["reclaim", "--dry-run"]);
    assert!(text.contains("dead: nothing reaches it") && text.contains("live share"), "{text}");
    assert_eq!(daemon.stop(), 0);
    // A round that deletes does not explain.
    assert!(bench.json(&["reclaim"])["why"].is_null());
}
