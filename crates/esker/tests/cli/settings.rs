//! `esker volume set`, with a daemon and without.

use std::{fs, thread, time::Duration};

use crate::bench::Bench;

fn stored(bench: &Bench, volume: &str, key: &str) -> (String, String) {
    let shown = bench.json(&["volume", "show", volume]);
    let setting = &shown["stored"][key];
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    (text(&setting["value"]), text(&setting["source"]))
}

fn figure(bench: &Bench, key: &str) -> serde_json::Value {
    bench.json(&["volume", "show", "demo"])["served"]["figures"][key].clone()
}

fn pair(value: &str, source: &str) -> (String, String) {
    (value.to_owned(), source.to_owned())
}

#[test]
fn properties_change_while_the_volume_is_served_and_stay() {
    let bench = Bench::new();
    let daemon = bench.serve(&["--volume", "demo=64M"]);
    bench.ok(&["volume", "set", "demo", "durability=ephemeral"]);
    bench.write("demo", 1, "0", "1M");
    assert!(figure(&bench, "committed_sequence").as_u64() < figure(&bench, "sequence").as_u64());
    // What is promised is true when the command returns.
    let text = bench.ok(&["volume", "set", "demo", "durability=sync", "history=7d", "on_lag=stall"]);
    assert!(
        text.starts_with("demo: durability=sync (from: volume), compression=lz4 (from: built-in)"),
        "{text}"
    );
    assert_eq!(figure(&bench, "committed_sequence"), figure(&bench, "sequence"));
    assert_eq!(figure(&bench, "durability"), "sync");
    bench.write("demo", 2, "1M", "64K");
    assert_eq!(
        figure(&bench, "committed_sequence"),
        figure(&bench, "sequence"),
        "a FLUSH waits for the store"
    );
    let shown = bench.json(&["volume", "set", "demo", "on_lag-", "compression=zstd:3"]);
    assert_eq!(shown["stored"]["on_lag"]["source"], "built-in");
    daemon.kill();
    for (key, value, source) in [
        ("durability", "sync", "volume"),
        ("compression", "zstd:3", "volume"),
        ("on_lag", "alarm", "built-in"),
    ] {
        assert_eq!(stored(&bench, "demo", key), pair(value, source));
    }
    // Without a daemon, as a resize does.
    bench.ok(&["volume", "set", "demo", "durability-", "history=0s"]);
    assert_eq!(stored(&bench, "demo", "durability"), pair("bounded(5s)", "built-in"));
    let daemon = bench.serve(&[]);
    assert_eq!(
        (figure(&bench, "durability"), figure(&bench, "history")),
        ("bounded(5s)".into(), "0s".into())
    );
    bench.read("demo", 1, "0", "1M");
    bench.read("demo", 2, "1M", "64K");
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn what_cannot_be_set_is_refused_and_changes_nothing() {
    let bench = Bench::new();
    let daemon = bench.serve(&["--volume", "demo=64M"]);
    bench.ok(&["snapshot", "create", "demo@one"]);
    let head = || bench.json(&["volume", "show", "demo"])["stored"]["head"].as_u64();
    let before = head();
    for (code, arguments, said) in [
        (1, &["demo@one", "history=1d"][..], "demo@one is a snapshot, which never changes; fork it"),
        (1, &["gone", "history=1d"], "volume gone does not exist"),
        (1, &["demo", "history"], "expected KEY=VALUE or KEY-, found \"history\""),
        (1, &["demo", "histroy=1d"], "did you mean history?"),
        (1, &["demo", "history=1d", "history-"], "expected one of these"),
        (1, &["demo", "history=1d", "history=2d"], "expected each one once"),
        (1, &["demo", "durability=bounded(0s)"], "N from 1 to 86400"),
        (1, &["demo", "compression=zstd:99"], "N from 1 to 19"),
        (2, &["demo"], "required"),
    ] {
        let message = bench.fails(code, &[&["volume", "set"], arguments].concat());
        assert!(message.contains(said), "{message}");
    }
    assert_eq!(head(), before);
    // What holds already is no commit.
    bench.ok(&["volume", "set", "demo", "history-"]);
    assert_eq!(head(), before);
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn those_who_set_at_once_are_all_heard_while_the_volume_is_written() {
    let bench = Bench::new();
    let daemon = bench.serve(&["--volume", "demo=64M"]);
    thread::scope(|scope| {
        scope.spawn(|| (0..4).for_each(|at| bench.write("demo", 1, &format!("{at}M"), "1M")));
        for change in ["durability=sync", "compression=off", "on_lag=stall", "history=3d"] {
            let bench = &bench;
            scope.spawn(move || bench.ok(&["volume", "set", "demo", change]));
        }
    });
    for (key, value) in
        [("durability", "sync"), ("compression", "off"), ("on_lag", "stall"), ("history", "3d")]
    {
        assert_eq!(stored(&bench, "demo", key), pair(value, "volume"));
        assert_eq!(figure(&bench, key), value);
    }
    assert_eq!(daemon.stop(), 0);
}

/// Stored bytes of all segments.
fn segment_bytes(bench: &Bench) -> u64 {
    bench.files("pool/segments").iter().map(|path| fs::metadata(path).unwrap().len()).sum()
}

#[test]
fn later_segments_are_compressed_as_was_set_and_heads_go_as_was_set() {
    let bench = Bench::new();
    let daemon = bench.serve(&["--volume", "demo=64M"]);
    bench.write("demo", 1, "0", "4M");
    bench.ok(&["snapshot", "create", "demo@one"]);
    let compressed = segment_bytes(&bench);
    assert!((1..1 << 20).contains(&compressed), "{compressed}");
    bench.ok(&["volume", "set", "demo", "compression=off"]);
    bench.write("demo", 2, "0", "4M");
    bench.ok(&["snapshot", "create", "demo@two"]);
    assert!(segment_bytes(&bench) > compressed + (4 << 20));
    let states = || bench.json(&["volume", "history", "demo"])["points"].as_array().unwrap().len();
    assert!(states() > 3);
    bench.ok(&["volume", "set", "demo", "history=0s"]);
    // The owner thins them beside; how soon is not promised.
    let thinned = (0..100).any(|_| {
        thread::sleep(Duration::from_millis(50));
        states() <= 2
    });
    assert!(thinned, "{} states", states());
    assert_eq!(daemon.stop(), 0);
}
