//! A damaged log, and the way out.

use std::{fs, os::unix::fs::FileExt};

use crate::bench::Bench;

/// A volume that was killed with four flushed records in its log, the third of which is damaged.
fn damaged() -> Bench {
    let bench = Bench::new();
    let daemon = bench.serve(&["--volume", "other=1M"]);
    bench.ok(&["volume", "create", "demo", "8M", "--durability", "bounded(3600)"]);
    for block in 1..=4_u8 {
        bench.write("demo", block, &format!("{block}M"), "4K");
    }
    daemon.kill();
    let needle = [3_u8; 4096];
    for chunk in bench.files("local/logs") {
        let bytes = fs::read(&chunk).unwrap();
        if let Some(at) = bytes.windows(needle.len()).position(|window| window == needle) {
            let file = fs::OpenOptions::new().write(true).open(&chunk).unwrap();
            file.write_all_at(&[0], at as u64 + 7).unwrap();
            return bench;
        }
    }
    panic!("the third record is in no chunk");
}

/// The position that a message tells to discard from.
fn position(message: &str) -> String {
    let rest = message.split("--discard-after ").nth(1).unwrap_or_else(|| panic!("{message}"));
    rest.chars().take_while(char::is_ascii_digit).collect()
}

/// What is left: two records, and nothing of what came behind them.
fn recovered(bench: &Bench) {
    bench.read("demo", 1, "1M", "4K");
    bench.read("demo", 2, "2M", "4K");
    bench.read("demo", 0, "3M", "4K");
    bench.read("demo", 0, "4M", "4K");
}

#[test]
fn recover_through_the_daemon() {
    let bench = damaged();
    let daemon = bench.serve(&[]);
    assert!(daemon.ready.ends_with("exports=other failed=demo"), "{}", daemon.ready);
    let status = bench.json(&["status"]);
    let problem = status["volumes"][0]["problem"].as_str().unwrap().to_owned();
    assert!(problem.contains("damaged"), "{problem}");
    let position = position(&problem);
    let message = bench.fails(1, &["recover", "demo", "--discard-after", &position]);
    assert!(message.contains("--yes"), "{message}");
    let said = bench.ok(&["recover", "demo", "--discard-after", &position, "--yes"]);
    assert!(said.contains("with 2 records") && said.contains(&format!("position {position}")), "{said}");
    recovered(&bench);
    let message = bench.fails(1, &["recover", "demo", "--discard-after", &position, "--yes"]);
    assert!(message.contains("open already"), "{message}");
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn recover_without_a_daemon() {
    let bench = damaged();
    let daemon = bench.serve(&[]);
    let problem = bench.json(&["status"])["volumes"][0]["problem"].as_str().unwrap().to_owned();
    // Stopping with a log that could not be read leaves something behind, and says so.
    assert_eq!(daemon.stop(), 3);
    let said = bench.json(&["recover", "demo", "--discard-after", &position(&problem), "--yes"]);
    assert_eq!(said["replayed"], 2, "{said}");
    assert_eq!(bench.json(&["volume", "show", "demo"])["stored"]["kind"], "released");
    let daemon = bench.serve(&[]);
    recovered(&bench);
    assert_eq!(daemon.stop(), 0);
}
