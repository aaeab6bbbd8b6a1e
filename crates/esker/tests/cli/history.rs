//! Going back in a volume's history, and what is too old for that.

use std::{thread, time::Duration};

use esker_frontend::nbd;

use crate::bench::Bench;

/// The numbers of the heads that a volume can go back to.
fn points(bench: &Bench, volume: &str) -> Vec<u64> {
    let history = bench.json(&["volume", "history", volume]);
    let points = history["points"].as_array().unwrap();
    points
        .iter()
        .filter(|point| point["reachable"] == true)
        .map(|point| point["number"].as_u64().unwrap())
        .collect()
}

/// Waits until the store has what was written; the head that says so.
fn committed(bench: &Bench, volume: &str) -> String {
    for _ in 0..300 {
        let shown = bench.json(&["volume", "show", volume]);
        let figures = &shown["served"]["figures"];
        if figures["sequence"] == figures["committed_sequence"] {
            return figures["head"].as_u64().unwrap().to_string();
        }
        thread::sleep(Duration::from_millis(100));
    }
    panic!("the store does not get it")
}

/// A volume of a daemon that is written twice; the head of the first state.
fn written_twice(bench: &Bench) -> String {
    bench.ok(&["volume", "create", "v", "64M", "--durability", "bounded(1s)"]);
    bench.write("v", 1, "0", "2M");
    let first = committed(bench, "v");
    bench.write("v", 2, "1M", "2M");
    committed(bench, "v");
    first
}

fn expect_first(bench: &Bench, volume: &str) {
    bench.read(volume, 1, "0", "2M");
    bench.read(volume, 0, "2M", "1M");
}

fn expect_second(bench: &Bench, volume: &str) {
    bench.read(volume, 1, "0", "1M");
    bench.read(volume, 2, "1M", "2M");
}

#[test]
fn a_daemon_goes_back_in_place_and_as_a_new_volume() {
    let bench = Bench::new();
    let daemon = bench.serve(&[]);
    let first = written_twice(&bench);
    assert!(points(&bench, "v").contains(&first.parse().unwrap()));
    let text = bench.ok(&["volume", "history", "v"]);
    assert!(text.contains("SEQUENCE") && text.contains("history: 1h (from: built-in)"), "{text}");
    // As a new volume: the first stays as it is.
    bench.ok(&["rewind", "v", "--to", &first, "--as", "w"]);
    expect_first(&bench, "w");
    expect_second(&bench, "v");
    let said = bench.fails(1, &["rewind", "v", "--to", &first, "--as", "w"]);
    assert!(said.contains("exists already"), "{said}");
    // In place.
    let said = bench.fails(1, &["rewind", "v", "--to", &first]);
    assert!(said.contains("--yes"), "{said}");
    let rewound = bench.json(&["rewind", "v", "--to", &first, "--yes"]);
    let kept = rewound["kept"].as_str().unwrap().to_owned();
    assert!(kept.starts_with("v@before-rewind-"), "{rewound}");
    expect_first(&bench, "v");
    bench.write("v", 3, "0", "1M");
    // What was there before is a state like any other.
    let snapshot = kept.strip_prefix('v').unwrap();
    let text = bench.ok(&["rewind", "v", "--to", snapshot, "--yes"]);
    assert!(text.contains(&format!("the state of v{snapshot}")), "{text}");
    expect_second(&bench, "v");
    let said = bench.fails(1, &["rewind", "v", "--to", "100000", "--yes"]);
    assert!(said.contains("esker volume history v"), "{said}");
    bench.fails(1, &["rewind", "v", "--to", "yesterday", "--yes"]);
    expect_second(&bench, "v");
    assert_eq!(daemon.stop(), 0);
    assert_eq!(bench.json(&["check"])["problems"].as_array().unwrap().len(), 0);
}

#[test]
fn a_volume_with_a_client_stays_as_it_is() {
    let bench = Bench::new();
    let daemon = bench.serve(&[]);
    let first = written_twice(&bench);
    let client = nbd::Client::connect(&bench.data().join("nbd.sock"), "v").unwrap();
    let said = bench.fails(1, &["rewind", "v", "--to", &first, "--yes"]);
    assert!(said.contains("1 clients are connected to volume v"), "{said}");
    drop(client);
    expect_second(&bench, "v");
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn without_a_daemon() {
    let bench = Bench::new();
    let daemon = bench.serve(&[]);
    let first = written_twice(&bench);
    assert_eq!(daemon.stop(), 0);
    let at = bench.json(&["volume", "history", "v", "--at", &first]);
    let written = at["points"][0]["written"].as_str().unwrap().to_owned();
    let text = bench.ok(&["rewind", "v", "--to", &written, "--yes"]);
    assert!(text.contains(&format!("the state of head {first}")), "{text}");
    let daemon = bench.serve(&["--volume", "v"]);
    expect_first(&bench, "v");
    bench.write("v", 4, "8M", "1M");
    // What the log of a daemon that was killed holds is part of the state that is kept.
    daemon.kill();
    let rewound = bench.json(&["rewind", "v", "--to", &first, "--yes"]);
    let kept = rewound["kept"].as_str().unwrap().strip_prefix('v').unwrap().to_owned();
    let daemon = bench.serve(&["--volume", "v"]);
    bench.read("v", 0, "8M", "1M");
    bench.ok(&["rewind", "v", "--to", &kept, "--yes"]);
    bench.read("v", 4, "8M", "1M");
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn what_is_too_old_goes_and_its_space_comes_back() {
    let bench = Bench::new();
    let daemon = bench.serve(&["--grace", "1s"]);
    bench.ok(&["volume", "create", "v", "64M", "--durability", "bounded(1s)", "--history", "2s"]);
    let shown = bench.json(&["volume", "show", "v"]);
    assert_eq!(shown["stored"]["history"]["value"], "2s", "{shown}");
    for pattern in 1..6 {
        bench.write("v", pattern, "0", "8M");
        committed(&bench, "v");
    }
    for _ in 0..200 {
        if points(&bench, "v").len() == 1 {
            break;
        }
        thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(points(&bench, "v").len(), 1, "an idle volume has only its newest state after its history");
    bench.read("v", 5, "0", "8M");
    assert_eq!(daemon.stop(), 0);
}
