//! The text forms, of the golden files.

use super::golden::fixture;
use super::samples;
use crate::{describe, names};

fn lines(name: &str, file: &str, expected: &[&str]) {
    let text = describe(name, &fixture(file)).unwrap();
    for line in expected {
        assert!(text.contains(line), "{line:?} is missing in\n{text}");
    }
    assert!(!text.contains("WRONG"), "{text}");
    assert_eq!(describe("somewhere/on/disk", &fixture(file)).unwrap(), text, "by magic");
}

#[test]
fn every_kind_has_a_text() {
    lines("pool", "pool.v1", &["pool record", "11111111", "2026-11-21T23:59:59.999Z", "ephemeral", "zstd:3"]);
    lines(&names::name("web-1.root", 3), "name.v1", &["name record", "web-1.root", "22222222"]);
    lines(&names::writer(7), "writer.v1", &["writer record", "number:          7"]);
    lines(
        &names::table(70),
        "table.v1",
        &["segment table", "counts from:     65", "000007-000009: 1048576 bytes"],
    );
    lines(&names::quarantine(samples::VOLUME), "quarantine.v1", &["quarantine", "000009-000000"]);
    lines(&names::round(12), "round.v1", &["round of reclaim", "000008-000000", "65497 slots: 1–1 40–65535"]);
    let bundle = describe(&names::bundle(samples::BUNDLE), &fixture("segment-raw.v2")).unwrap();
    for line in ["images:          1", "left:            2 slots: 0–0 2–2", "places 0 to 1", "sealed:"] {
        assert!(bundle.contains(line), "{line:?} is missing in\n{bundle}");
    }
    let head = names::head(samples::VOLUME, 41);
    lines(
        &head,
        "head.v1",
        &["epoch:           38", "10.0 GiB", "sequences 501 to 600", "bounded(5s)", "inherited"],
    );
    lines(
        &names::head(samples::VOLUME, 2),
        "head.v3",
        &["frozen", "volume 23232323232323232323232323232323 head 77", "bbbb", "team=früh"],
    );
    let segment = names::segment(samples::segment_id());
    lines(
        &segment,
        "segment-lz4.v1",
        &["slots 0 to 1: ", "good", "7 blocks from", "at 000003-000005/65530", "hole"],
    );
    lines(
        &names::pack(samples::PACK),
        "pack.v1",
        &["level 0 index 1025: 3 runs", "2 children, 1 of them zero"],
    );
    lines(
        "log/0001",
        "chunk.v1",
        &["901 at 4096: write 2 blocks from 77", "903 at ", "zero 1 blocks from 5"],
    );
}

#[test]
fn a_wrong_place_is_said() {
    let other = names::head(samples::VOLUME, 42);
    let text = describe(&other, &fixture("head.v1")).unwrap();
    assert!(text.contains("WRONG: head: number: expected 42, found 41"), "{text}");
    let mut spoilt = fixture("segment-raw.v1");
    spoilt[1000] ^= 1;
    let text = describe(&names::segment(samples::segment_id()), &spoilt).unwrap();
    assert!(text.contains("WRONG: segment frame: tag"), "{text}");
}
