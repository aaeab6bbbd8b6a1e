//! Snapshots and forks, as people make and use them.

use std::fs;

use crate::bench::{Bench, succeeded, tool};

fn export(bench: &Bench, name: &str, file: &str) -> Vec<u8> {
    let path = bench.path(file).display().to_string();
    bench.ok(&["export", name, &path]);
    fs::read(path).unwrap()
}

fn bytes(pattern: u8, count: usize) -> Vec<u8> {
    vec![pattern; count]
}

#[test]
fn snapshots_are_made_read_and_deleted_beside_a_daemon() {
    let bench = Bench::new();
    let daemon = bench.serve(&["--volume", "base=16M"]);
    bench.write("base", 1, "0", "1M");
    let made = bench.json(&["snapshot", "create", "base@one", "--label", "os=12", "--label", "a="]);
    assert_eq!(
        (&made["name"], &made["state"], &made["labels"]["os"]),
        (&"base@one".into(), &"frozen".into(), &"12".into())
    );
    bench.write("base", 2, "0", "512K");
    bench.read("base@one", 1, "0", "1M");
    bench.read("base", 2, "0", "512K");
    let info = tool("nbdinfo", &["--json", &bench.uri("base@one")]);
    let info = succeeded("nbdinfo", &[], &info);
    assert!(info.contains("\"is_read_only\": true"), "{info}");
    let unnamed = bench.json(&["snapshot", "create", "base"]);
    let unnamed = unnamed["name"].as_str().unwrap();
    assert!(unnamed.starts_with("base@2"), "{unnamed}");
    assert!(bench.fails(1, &["snapshot", "create", "base@one"]).contains("snapshot base@one exists already"));
    assert!(bench.fails(1, &["snapshot", "create", "gone@one"]).contains("volume gone does not exist"));
    assert_eq!(bench.ok(&["snapshot", "label", "base@one", "os=13", "a-"]).trim(), "base@one: os=13");
    bench.ok(&["fork", "base@one", "copy"]);
    let list = bench.ok(&["snapshot", "list", "base"]);
    assert!(list.contains("  @one") && list.contains("os=13") && list.contains("    -> copy"), "{list}");
    assert!(bench.ok(&["snapshot", "list", "other"]).starts_with("no snapshots"));
    let show = bench.ok(&["snapshot", "show", "base@one"]);
    assert!(show.contains("made from  base, head"), "{show}");
    let measured = bench.json(&["snapshot", "list", "--space"]);
    let one = measured["snapshots"].as_array().unwrap().iter().find(|one| one["name"] == "base@one").unwrap();
    // Its fork reaches all of it.
    assert!(one["space"]["shared_bytes"].as_u64() > Some(0), "{one}");
    assert_eq!(one["space"]["exclusive_bytes"], 0, "{one}");
    // Volumes are volumes, and say where they come from.
    let volumes = bench.json(&["volume", "list"]);
    let names: Vec<_> = volumes["volumes"].as_array().unwrap().iter().map(|volume| &volume["name"]).collect();
    assert_eq!(names, ["base", "copy"]);
    assert!(bench.ok(&["volume", "list"]).contains("base@one"), "what copy was forked from");
    for refused in [
        &["volume", "open", "base@one"][..],
        &["volume", "resize", "base@one", "32M"],
        &["volume", "create", "base@two", "16M"],
    ] {
        bench.fails(1, refused);
    }
    assert!(bench.fails(1, &["snapshot", "delete", "base@one"]).contains("say --yes"));
    bench.ok(&["snapshot", "delete", unnamed, "--yes"]);
    assert_eq!(bench.json(&["snapshot", "list"])["snapshots"].as_array().unwrap().len(), 1);
    bench.ok(&["volume", "open", "copy"]);
    bench.write("copy", 7, "0", "64K");
    bench.read("base@one", 1, "0", "1M");
    bench.ok(&["volume", "delete", "base", "--yes"]);
    bench.read("base@one", 1, "0", "1M");
    bench.read("copy", 7, "0", "64K");
    assert_eq!(daemon.stop(), 0);
    assert_eq!(export(&bench, "base@one", "one.raw")[..1 << 20], bytes(1, 1 << 20));
    assert_eq!(bench.json(&["check"])["problems"].as_array().unwrap().len(), 0);
    let daemon = bench.serve(&["--read-only", "base@one"]);
    assert!(daemon.ready.contains("exports=base@one"), "{}", daemon.ready);
    bench.read("base@one", 1, "0", "1M");
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn without_a_daemon_what_is_in_the_log_is_in_the_snapshot() {
    let bench = Bench::new();
    let daemon = bench.serve(&["--volume", "base=16M"]);
    bench.write("base", 1, "0", "1M");
    daemon.kill();
    bench.ok(&["snapshot", "create", "base@one"]);
    bench.ok(&["fork", "base", "copy"]);
    let daemon = bench.serve(&[]);
    bench.write("base", 2, "0", "1M");
    bench.read("copy", 1, "0", "1M");
    bench.read("base@one", 1, "0", "1M");
    assert_eq!(daemon.stop(), 0);
    bench.ok(&["volume", "delete", "base", "--yes"]);
    bench.ok(&["volume", "delete", "copy", "--yes"]);
    for _ in 0..2 {
        bench.ok(&["reclaim", "--grace", "0s", "--force"]);
    }
    assert_eq!(export(&bench, "base@one", "one.raw")[..1 << 20], bytes(1, 1 << 20));
    bench.ok(&["fork", "base@one", "base"]);
    bench.ok(&["snapshot", "delete", "base@one", "--yes"]);
    assert_eq!(export(&bench, "base", "base.raw")[..1 << 20], bytes(1, 1 << 20));
}

#[test]
fn a_fork_takes_five_requests() {
    let bench = Bench::new();
    let daemon = bench.serve(&["--volume", "base=64M"]);
    bench.write("base", 1, "0", "8M");
    bench.ok(&["snapshot", "create", "base@one"]);
    let requests = || {
        let requests = bench.json(&["status"])["requests"].clone();
        ["puts", "gets", "lists", "deletes"].map(|kind| requests[kind].as_u64().unwrap())
    };
    for (source, name) in [("base@one", "a"), ("base", "b")] {
        let before = requests();
        bench.ok(&["fork", source, name]);
        let took: Vec<u64> = requests().iter().zip(before).map(|(now, before)| now - before).collect();
        assert_eq!(took, [3, 0, 2, 0], "PUT, GET, LIST, DELETE of a fork of {source}");
    }
    assert_eq!(daemon.stop(), 0);
}
