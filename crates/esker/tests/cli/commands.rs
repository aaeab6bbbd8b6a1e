//! Commands that make, list, describe and delete, with and without a daemon.

use crate::bench::{Bench, succeeded, tool};

/// What holds whoever is asked.
fn volumes(bench: &Bench, served: bool) {
    let state = if served { "running" } else { "-" };
    let created = bench.ok(&[
        "volume",
        "create",
        "data",
        "1T",
        "--durability",
        "bounded(30)",
        "--compression",
        "zstd:3",
    ]);
    assert_eq!(created.trim(), "created data, 1 TiB");
    let show = bench.ok(&["volume", "show", "data"]);
    for line in ["1 TiB (1099511627776 bytes)", "bounded(30s) (from: volume)", "zstd:3 (from: volume)"] {
        assert!(show.contains(line), "{line}\n{show}");
    }
    let show = bench.json(&["volume", "show", "demo"]);
    assert_eq!(show["stored"]["durability"]["source"], "pool");
    assert_eq!(show["stored"]["durability"]["value"], "ephemeral");
    assert_eq!(show["stored"]["compression"]["source"], "built-in");
    let list = bench.ok(&["volume", "list"]);
    let lines: Vec<&str> = list.lines().collect();
    assert!(lines.len() == 3 && lines[1].starts_with("data ") && lines[2].starts_with("demo "), "{list}");
    assert_eq!(lines[1].split_whitespace().rev().nth(1), Some(state), "{list}");
    let message = bench.fails(1, &["volume", "create", "data", "1G"]);
    assert!(message.contains("data exists already"), "{message}");
    let message = bench.fails(1, &["volume", "create", "d@ta", "1G"]);
    assert!(message.contains("d@ta"), "{message}");
    let message = bench.fails(1, &["volume", "create", "other", "1G", "--durability", "always"]);
    assert!(message.contains("always") && message.contains("bounded"), "{message}");
    bench.fails(1, &["volume", "create", "other", "2P"]);
    bench.fails(2, &["volume", "create", "other", "much"]);
    let message = bench.fails(1, &["volume", "delete", "data"]);
    assert!(message.contains("--yes"), "{message}");
    assert_eq!(bench.ok(&["volume", "delete", "data", "--yes"]).trim(), "deleted data");
    let message = bench.fails(1, &["volume", "show", "data"]);
    assert!(message.contains("data") && message.contains("does not exist"), "{message}");
    bench.fails(1, &["volume", "delete", "data", "--yes"]);
    // A name that is free can be used again, for another volume.
    bench.ok(&["volume", "create", "data", "1M"]);
    bench.ok(&["volume", "delete", "data", "--yes"]);
}

/// The pool of the data directory, with a property of its own.
fn make_pool(bench: &Bench) {
    let url = &format!("file://{}", bench.data().join("pool").display());
    let output = tool(env!("CARGO_BIN_EXE_esker"), &["pool", "create", url, "--durability", "ephemeral"]);
    succeeded("esker", &["pool", "create"], &output);
    let again = tool(env!("CARGO_BIN_EXE_esker"), &["pool", "create", url]);
    assert_eq!(again.status.code(), Some(1));
}

#[test]
fn without_a_daemon() {
    let bench = Bench::new();
    let message = bench.fails(1, &["volume", "list"]);
    assert!(message.contains("there is no pool at file://"), "{message}");
    assert!(!bench.data().exists(), "looking makes nothing");
    make_pool(&bench);
    assert!(bench.ok(&["volume", "list"]).starts_with("no volumes in file://"));
    bench.ok(&["volume", "create", "demo", "1M"]);
    volumes(&bench, false);
    let show = bench.json(&["pool", "show"]);
    assert_eq!(
        (show["volumes"].as_u64(), show["durability"]["value"].as_str()),
        (Some(1), Some("ephemeral"))
    );
    let message = bench.fails(1, &["status"]);
    assert!(message.contains("no daemon answers"), "{message}");
}

#[test]
fn with_a_daemon() {
    let bench = Bench::new();
    make_pool(&bench);
    let daemon = bench.serve(&["--volume", "demo=1M"]);
    volumes(&bench, true);
    bench.ok(&["volume", "create", "more", "4M"]);
    bench.write("more", 3, "1M", "1M");
    let status = bench.json(&["status"]);
    let more = &status["volumes"][1];
    assert_eq!((more["name"].as_str(), more["state"].as_str()), (Some("more"), Some("running")));
    assert!(more["figures"]["dirty_bytes"].as_u64().unwrap() >= 1 << 20, "{more}");
    assert!(status["requests"]["puts"].as_u64().unwrap() > 0);
    let text = bench.ok(&["status"]);
    assert!(text.contains("ready") && text.contains("more "), "{text}");
    assert_eq!(daemon.stop(), 0);
}

fn size(bench: &Bench) -> u64 {
    let info = tool("nbdinfo", &["--size", &bench.uri("demo")]);
    succeeded("nbdinfo", &[], &info).trim().parse().unwrap()
}

#[test]
fn volumes_grow_and_shrink_while_they_are_served() {
    let bench = Bench::new();
    let daemon = bench.serve(&["--volume", "demo=8M"]);
    bench.write("demo", 1, "7M", "1M");
    let text = bench.ok(&["volume", "resize", "demo", "9G"]);
    assert!(text.starts_with("resized demo from 8 MiB to 9 GiB; connections that are open"), "{text}");
    assert_eq!(size(&bench), 9 << 30);
    assert_eq!(bench.json(&["volume", "show", "demo"])["stored"]["size_bytes"], 9_u64 << 30);
    bench.write("demo", 2, "9215M", "1M");
    let message = bench.fails(1, &["volume", "resize", "demo", "4M"]);
    assert!(
        message.contains("at least 1048576 bytes behind that are mapped, the first at 7340032"),
        "{message}"
    );
    assert_eq!(size(&bench), 9 << 30);
    let uri = bench.uri("demo");
    let discard = [
        "-f",
        "raw",
        "--discard=unmap",
        "-c",
        "discard 8M 1G",
        "-c",
        "discard 9215M 1M",
        "-c",
        "flush",
        &uri,
    ];
    succeeded("qemu-io", &discard, &tool("qemu-io", &discard));
    bench.ok(&["volume", "resize", "demo", "8M"]);
    assert_eq!(size(&bench), 8 << 20);
    bench.read("demo", 1, "7M", "1M");
    bench.fails(1, &["volume", "resize", "demo", "5000"]);
    bench.fails(1, &["volume", "resize", "gone", "1G"]);
    daemon.kill();
    let text = bench.ok(&["volume", "resize", "demo", "16M"]);
    assert!(text.contains("from 8 MiB to 16 MiB; no daemon runs here"), "{text}");
    let daemon = bench.serve(&["--volume", "demo=16M"]);
    bench.read("demo", 1, "7M", "1M");
    bench.read("demo", 0, "8M", "8M");
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn help_and_mistakes() {
    let bench = Bench::new();
    bench.fails(2, &["voluem"]);
    bench.fails(2, &["serve", "--cpu-threads", "0"]);
    bench.fails(2, &["serve", "--dirty-bound", "4K"]);
    let message = bench.fails(1, &["volume", "list", "--pool", "ftp://somewhere"]);
    assert!(message.contains("unknown scheme ftp"), "{message}");
    let message = bench.fails(1, &["volume", "list", "--pool", "memory://nothing"]);
    assert!(message.contains("`esker pool create memory://nothing` makes one"), "{message}");
    let message = bench.fails(1, &["serve", "--volume", "demo=1M", "--tcp", "0.0.0.0:0"]);
    assert!(message.contains("other machines"), "{message}");
}
