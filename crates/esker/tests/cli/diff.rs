//! What changed between two states: as people ask, and as backup tools do.

use serde_json::Value;

use crate::bench::{Bench, succeeded, tool};

const MIB: u64 = 1 << 20;

/// (offset, length, kind) of each range.
fn ranges(diff: &Value) -> Vec<(u64, u64, &str)> {
    let changed = diff["changed"].as_array().unwrap();
    let range = |range: &'_ Value| (range["offset"].as_u64().unwrap(), range["length"].as_u64().unwrap());
    changed.iter().map(|view| (range(view).0, range(view).1, view["kind"].as_str().unwrap())).collect()
}

/// (offset, length, flags) of each line of `nbdinfo --map`.
fn map(bench: &Bench, export: &str, context: &str) -> Vec<(u64, u64, u64)> {
    let (map, uri) = (format!("--map={context}"), bench.uri(export));
    let arguments = [map.as_str(), &uri];
    let lines = succeeded("nbdinfo", &arguments, &tool("nbdinfo", &arguments));
    let line = |line: &str| {
        let mut fields = line.split_whitespace().map(|field| field.parse().unwrap_or(u64::MAX));
        (fields.next().unwrap(), fields.next().unwrap(), fields.next().unwrap())
    };
    lines.lines().map(line).collect()
}

fn qemu_io(bench: &Bench, volume: &str, command: &str) {
    let arguments = ["-f", "raw", "-c", command, &bench.uri(volume)];
    let output = succeeded("qemu-io", &arguments, &tool("qemu-io", &arguments));
    assert!(!output.contains("failed"), "{output}");
}

#[test]
fn ranges_that_differ_are_printed() {
    let bench = Bench::new();
    let daemon = bench.serve(&["--volume", "base=64M"]);
    bench.write("base", 1, "0", "8M");
    bench.ok(&["snapshot", "create", "base@one"]);
    bench.write("base", 2, "1M", "64K");
    bench.write("base", 3, "40M", "4K");
    qemu_io(&bench, "base", "discard 2M 1M");
    bench.ok(&["snapshot", "create", "base@two"]);
    let expected = [(MIB, 64 << 10, "data"), (2 * MIB, MIB, "hole"), (40 * MIB, 4096, "data")];
    let diff = bench.json(&["diff", "base@one", "base@two"]);
    assert_eq!(ranges(&diff), expected);
    assert_eq!(diff["totals"]["data_bytes"], (64 << 10) + 4096);
    assert_eq!((&diff["totals"]["hole_bytes"], &diff["from"]["name"]), (&MIB.into(), &"base@one".into()));
    // The other way round, what was there before.
    let back = bench.json(&["diff", "base@two", "base@one"]);
    let expected = [(MIB, 64 << 10, "data"), (2 * MIB, MIB, "data"), (40 * MIB, 4096, "hole")];
    assert_eq!(ranges(&back), expected);
    let text = bench.ok(&["diff", "base@one", "base@two"]);
    let row: Vec<&str> = text.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row, ["1048576", "65536", "data"], "{text}");
    assert!(text.contains("1.1 MiB of 64 MiB changed in 3 ranges"), "{text}");
    // A fork differs in nothing, whatever its parent does.
    bench.ok(&["fork", "base@two", "copy"]);
    assert!(ranges(&bench.json(&["diff", "base@two", "copy"])).is_empty());
    let head = diff["to"]["head"].as_u64().unwrap();
    assert!(ranges(&bench.json(&["diff", &format!("base@two#{head}"), "copy"])).is_empty());
    for (from, message) in
        [("base@none", "does not exist"), ("base#9999", "does not exist"), ("base#x", "VOLUME#NUMBER")]
    {
        assert!(bench.fails(1, &["diff", from, "base"]).contains(message), "{from}");
    }
    assert_eq!(daemon.stop(), 0);
    // The volume grew, and nobody serves it.
    bench.ok(&["volume", "resize", "base", "128M"]);
    let grown = bench.json(&["diff", "base@two", "base"]);
    assert!(ranges(&grown).is_empty() && grown["to"]["size_bytes"] == 128 * MIB, "{grown}");
}

#[test]
fn backup_tools_see_what_changed() {
    let bench = Bench::new();
    let daemon = bench.serve(&["--volume", "base=8G"]);
    bench.write("base", 1, "0", "2M");
    bench.ok(&["snapshot", "create", "base@one"]);
    bench.write("base", 2, "1M", "64K");
    // What is in the log only counts too, at the moment of the question.
    let now = [(0, MIB, 0), (MIB, 64 << 10, 1), (MIB + (64 << 10), 8192 * MIB - MIB - (64 << 10), 0)];
    for context in ["esker:diff:one", "qemu:dirty-bitmap:one"] {
        assert_eq!(map(&bench, "base", context), now, "{context}");
    }
    bench.ok(&["snapshot", "create", "base@two"]);
    bench.write("base", 3, "5G", "4K");
    assert_eq!(map(&bench, "base@two", "esker:diff:one"), now);
    let since_two = map(&bench, "base", "esker:diff:two");
    assert_eq!(since_two[1], (5 * 1024 * MIB, 4096, 1));
    // They are listed, and several can be asked for at once.
    let info = tool("nbdinfo", &["--json", &bench.uri("base")]);
    let info = succeeded("nbdinfo", &[], &info);
    for context in ["base:allocation", "esker:diff:one", "esker:diff:two", "qemu:dirty-bitmap:two"] {
        assert!(info.contains(&format!("\"{context}\"")), "{context} in {info}");
    }
    let script = format!(
        r#"
import nbd
h = nbd.NBD()
for context in ['base:allocation', 'esker:diff:one', 'esker:diff:none', 'esker:diff:#1']:
    h.add_meta_context(context)
h.connect_uri({:?})
assert h.can_meta_context('esker:diff:one') and not h.can_meta_context('esker:diff:none')
found = {{}}
h.block_status(4 << 20, 0, lambda name, offset, entries, error: found.__setitem__(name, entries))
assert found['base:allocation'] == [2 << 20, 0, 2 << 20, 3], found
assert found['esker:diff:one'] == [1 << 20, 0, 64 << 10, 1, (3 << 20) - (64 << 10), 0], found
assert found['esker:diff:#1'] == [2 << 20, 1, 2 << 20, 0], found
found = []
h.block_status(4 << 20, 0, lambda name, offset, entries, error: found.append(entries), nbd.CMD_FLAG_REQ_ONE)
assert all(len(entries) == 2 for entries in found) and len(found) == 3, found
h.shutdown()
"#,
        bench.uri("base")
    );
    succeeded("python3", &[], &tool("/usr/bin/python3", &["-c", &script]));
    // As qemu reads a bitmap: what is dirty is no data to it.
    let uri = bench.uri("base@two");
    let socket = uri.split("socket=").nth(1).unwrap();
    let options = format!(
        "driver=nbd,server.type=unix,server.path={socket},export=base@two,x-dirty-bitmap=qemu:dirty-bitmap:one"
    );
    let arguments = ["map", "--output=json", "--image-opts", &options];
    let dirty: Value =
        serde_json::from_str(&succeeded("qemu-img", &arguments, &tool("qemu-img", &arguments))).unwrap();
    assert_eq!(
        (&dirty[1]["start"], &dirty[1]["length"], &dirty[1]["data"]),
        (&MIB.into(), &65536.into(), &false.into())
    );
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn several_volumes_at_one_point() {
    let bench = Bench::new();
    let daemon = bench.serve(&["--volume", "a=16M", "--volume", "b=16M"]);
    bench.write("a", 1, "0", "1M");
    bench.write("b", 2, "0", "1M");
    let group = bench.json(&["snapshot", "group", "night", "a", "b", "--label", "job=7"]);
    assert_eq!((&group["name"], group["members"].as_array().unwrap().len()), (&"night".into(), 2));
    bench.write("a", 3, "0", "1M");
    bench.write("b", 4, "0", "1M");
    bench.read("a@night", 1, "0", "1M");
    bench.read("b@night", 2, "0", "1M");
    assert_eq!(bench.json(&["snapshot", "show", "b@night"])["labels"]["job"], "7");
    let message = bench.fails(1, &["snapshot", "group", "night", "a", "b"]);
    assert!(message.contains("exists already"), "{message}");
    assert!(bench.fails(1, &["snapshot", "group", "more", "a", "a"]).contains("named twice"));
    assert!(bench.fails(1, &["snapshot", "group", "more", "a", "c"]).contains("not open for writing"));
    let list = bench.ok(&["snapshot", "groups"]);
    let id = group["id"].as_str().unwrap();
    assert!(list.contains(id) && list.contains("a@night b@night"), "{list}");
    assert!(bench.ok(&["inspect", &format!("groups/{id}")]).contains("group record"));
    assert!(bench.fails(1, &["snapshot", "delete-group", id]).contains("say --yes"));
    bench.ok(&["snapshot", "delete-group", id, "--yes"]);
    assert_eq!(bench.json(&["snapshot", "list"])["snapshots"].as_array().unwrap().len(), 0);
    assert_eq!(bench.json(&["check"])["problems"].as_array().unwrap().len(), 0);
    assert_eq!(daemon.stop(), 0);
}
