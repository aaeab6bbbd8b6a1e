//! What nothing reaches leaves the pool, and everything else stays.

use std::fs;

use crate::bench::{Bench, Daemon};

fn stored(bench: &Bench) -> u64 {
    let files = ["pool/segments", "pool/pages"].into_iter().flat_map(|dir| bench.files(dir));
    files.map(|file| fs::metadata(file).unwrap().len()).sum()
}

fn objects(report: &serde_json::Value, class: &str) -> u64 {
    report[class]["objects"].as_u64().unwrap_or_else(|| panic!("{class} in {report}"))
}

/// A volume that stays and one that was deleted.
fn pool_with_garbage() -> Bench {
    let bench = Bench::new();
    let daemon: Daemon = bench.serve(&["--volume", "keep=64M", "--volume", "drop=64M"]);
    bench.write("keep", 1, "0", "8M");
    bench.write("drop", 2, "0", "8M");
    assert_eq!(daemon.stop(), 0);
    bench.ok(&["volume", "delete", "drop", "--yes"]);
    bench
}

#[test]
fn a_deleted_volume_leaves_the_pool_after_the_grace() {
    let bench = pool_with_garbage();
    let before = stored(&bench);
    let look = bench.json(&["reclaim", "--dry-run"]);
    assert!(objects(&look, "live") > 0 && objects(&look, "waiting") > 0, "{look}");
    assert_eq!(objects(&look, "deleted"), 0);
    let first = bench.json(&["reclaim", "--grace", "0s"]);
    assert_eq!((objects(&first, "deleted"), stored(&bench)), (0, before), "the first sight deletes nothing");
    let dead = first["waiting"]["bytes"].as_u64().unwrap();
    // The grace was not over for this one.
    assert_eq!(objects(&bench.json(&["reclaim", "--grace", "1h"]), "deleted"), 0);
    let text = bench.ok(&["reclaim", "--grace", "0s"]);
    assert!(text.contains("deleted"), "{text}");
    assert_eq!(stored(&bench), before - dead);
    let last = bench.json(&["reclaim", "--grace", "0s"]);
    assert_eq!((objects(&last, "waiting"), objects(&last, "due"), objects(&last, "deleted")), (0, 0, 0));
    assert_eq!(bench.json(&["check"])["problems"].as_array().unwrap().len(), 0);
    let daemon = bench.serve(&["--volume", "keep"]);
    bench.read("keep", 1, "0", "8M");
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn a_daemon_reclaims_by_itself_and_when_asked() {
    let bench = pool_with_garbage();
    let before = stored(&bench);
    let daemon = bench.serve(&["--volume", "keep", "--grace", "1s"]);
    for _ in 0..600 {
        if stored(&bench) < before {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    assert!(stored(&bench) < before, "rounds are made in the background");
    let asked = bench.json(&["reclaim"]);
    assert!(objects(&asked, "live") > 0, "{asked}");
    bench.fails(1, &["reclaim", "--grace", "1s"]);
    bench.read("keep", 1, "0", "8M");
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn a_volume_that_crashed_has_to_be_opened_first() {
    let bench = pool_with_garbage();
    let daemon = bench.serve(&["--volume", "keep"]);
    daemon.kill();
    let said = bench.fails(1, &["reclaim", "--grace", "0s"]);
    assert!(said.contains("volume keep was not given back"), "{said}");
    assert_eq!(bench.serve(&["--volume", "keep"]).stop(), 0);
    bench.ok(&["reclaim", "--grace", "0s"]);
}
