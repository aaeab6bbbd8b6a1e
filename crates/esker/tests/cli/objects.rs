//! Commands that look at what is stored: doctor, check, inspect.

use std::fs;

use crate::bench::{Bench, Daemon, text, tool};

/// A pool with one volume that holds data, pages and all.
fn filled() -> Bench {
    let bench = Bench::new();
    let daemon: Daemon = bench.serve(&["--volume", "demo=64M"]);
    bench.write("demo", 1, "0", "8M");
    bench.write("demo", 0, "16M", "1M");
    assert_eq!(daemon.stop(), 0);
    bench
}

#[test]
fn doctor_shows_a_table() {
    let bench = Bench::new();
    let url = format!("file://{}", bench.path("store").display());
    let output = tool(env!("CARGO_BIN_EXE_esker"), &["doctor", &url]);
    let table = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{table}");
    assert!(table.contains("create-if-absent") && table.ends_with("can hold a pool\n"), "{table}");
    let output = tool(env!("CARGO_BIN_EXE_esker"), &["doctor", &url, "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["passed"], true);
    // A store that fails: a file cannot hold objects.
    fs::remove_dir_all(bench.path("store")).unwrap();
    fs::write(bench.path("store"), "").unwrap();
    assert_eq!(tool(env!("CARGO_BIN_EXE_esker"), &["doctor", &url]).status.code(), Some(1));
}

#[test]
fn check_verifies_and_finds() {
    let bench = filled();
    let report = bench.json(&["check"]);
    assert_eq!(report["problems"].as_array().unwrap().len(), 0, "{report}");
    assert!(
        report["segments"].as_u64().unwrap() >= 1 && report["blocks"].as_u64().unwrap() >= 2048,
        "{report}"
    );
    assert!(bench.ok(&["check", "demo"]).contains("problems  0"));
    bench.fails(1, &["check", "nobody"]);
    // One byte of one segment is another one.
    let segment = bench.files("pool/segments").pop().unwrap();
    let mut bytes = fs::read(&segment).unwrap();
    bytes[200] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let output = bench.esker(&["check", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(report["problems"][0]["object"].as_str().unwrap().starts_with("segments/"), "{report}");
}

#[test]
fn every_kind_of_object_can_be_inspected() {
    let bench = filled();
    let root = bench.data().join("pool");
    let mut kinds = Vec::new();
    for file in bench.files("pool") {
        let name = file.strip_prefix(&root).unwrap().display().to_string();
        if name.starts_with('.') {
            continue;
        }
        let text = bench.ok(&["inspect", &name]);
        assert!(text.starts_with("object"), "{name}: {text}");
        assert!(!text.contains("WRONG"), "{name}: {text}");
        kinds.push(name.split('/').next().unwrap().to_owned());
        // The same as a file, whose name says nothing.
        bench.ok(&["inspect", &file.display().to_string()]);
    }
    for kind in ["pool", "names", "volumes", "writers", "segments"] {
        assert!(kinds.iter().any(|found| found == kind), "{kind}: {kinds:?}");
    }
    let json = bench.json(&["inspect", "pool"]);
    assert_eq!(json["object"], "pool");
    let message = bench.fails(1, &["inspect", "writers/00000099"]);
    assert!(message.contains("writers/00000099"), "{message}");
    bench.fails(1, &["inspect", "no/such/thing"]);
    fs::write(bench.path("junk"), "not an object at all").unwrap();
    let message = bench.fails(1, &["inspect", &bench.path("junk").display().to_string()]);
    assert!(message.contains("magic"), "{message}");
}

#[test]
fn a_log_file_can_be_inspected() {
    let bench = Bench::new();
    let daemon = bench.serve(&["--volume", "demo=8M"]);
    bench.write("demo", 1, "0", "64K");
    daemon.kill();
    let chunks = bench.files("local/logs");
    let described = chunks
        .iter()
        .any(|chunk| bench.esker(&["inspect", &chunk.display().to_string()]).status.code() == Some(0));
    assert!(described, "{chunks:?}");
}
