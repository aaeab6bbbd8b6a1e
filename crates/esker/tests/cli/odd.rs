//! What somebody types by mistake, or on purpose: every command says what is wrong, and does nothing.

use crate::bench::Bench;

/// Names that nothing can have.
fn odd_names() -> Vec<String> {
    let mut names: Vec<String> =
        ["", "@", "a@", "@b", "a@b@c", "..", "-", "ä", "x\u{1b}[2Jy", "x\ny", "a/b", "A"]
            .map(Into::into)
            .into();
    names.extend([128, 255, 256].map(|bytes| format!("{}@b", "a".repeat(bytes))));
    names
}

#[test]
fn no_command_takes_a_name_that_nothing_can_have() {
    let bench = Bench::new();
    let daemon = bench.serve(&["--volume", "base=16M"]);
    bench.ok(&["snapshot", "create", "base@one"]);
    let named = |name: &str| format!("--label={name}");
    for name in odd_names() {
        // A name of 128 bytes is one; no such volume exists.
        let name = name.as_str();
        for arguments in [
            &["snapshot", "create", name][..],
            &["snapshot", "show", name],
            &["snapshot", "label", name, "a=b"],
            &["snapshot", "delete", "--yes", name],
            &["snapshot", "group", name, "base"],
            &["snapshot", "create", "base@two", &named(name)],
            &["fork", "base", name],
            &["fork", name, "new"],
            &["rewind", "--to", "1", "--yes", name],
            &["rewind", "base", "--to", "1", "--as", name],
            &["volume", "history", name],
            &["volume", "set", name, "history=1d"],
            &["volume", "delete", "--yes", name],
            &["quarantine", name],
            &["diff", name, "base"],
        ] {
            let output = bench.esker(arguments);
            let message = String::from_utf8(output.stderr).unwrap();
            assert!(matches!(output.status.code(), Some(1 | 2)), "{arguments:?}: {message}");
            assert!(
                message.starts_with("error: ") && !message.contains('\u{1b}'),
                "{arguments:?}: {message:?}"
            );
        }
    }
    let volumes = bench.json(&["volume", "list"]);
    assert_eq!(volumes["volumes"].as_array().unwrap().len(), 1, "{volumes}");
    let snapshots = bench.json(&["snapshot", "list"]);
    assert_eq!(snapshots["snapshots"].as_array().unwrap().len(), 1, "{snapshots}");
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn what_is_not_there_is_named_as_what_it_is() {
    let bench = Bench::new();
    let daemon = bench.serve(&["--volume", "base=16M", "--volume", "other=16M"]);
    bench.ok(&["snapshot", "create", "base@one"]);
    for (arguments, said) in [
        (&["quarantine", "base@two"][..], "snapshot base@two does not exist"),
        (&["quarantine", "gone"], "volume gone does not exist"),
        (&["diff", "base@two", "base"], "snapshot base@two does not exist"),
        (&["diff", "base#77", "base"], "head 77 in the history of base does not exist"),
        (&["rewind", "base", "--to", "77", "--yes"], "head 77 of volume base ("),
        (&["rewind", "base", "--to", "18446744073709551615", "--yes"], "head 18446744073709551615 of volume"),
        (&["rewind", "base", "--to", "1970-01-01T00:00:00Z", "--yes"], "a head of volume base from then ("),
        (&["rewind", "base", "--to", "10000-01-01T00:00:00Z", "--yes"], "expected a head's number"),
        (&["rewind", "base", "--to=-1", "--yes"], "expected a head's number"),
        (&["snapshot", "label", "base@one", "-"], "label: key: expected 1 to 64 of"),
        (&["snapshot", "list", "base@one"], "volume name: text: expected"),
        (&["snapshot", "delete", "base", "--yes"], "\"base\" is no name of a snapshot"),
        (&["volume", "delete", "base@one", "--yes"], "esker snapshot delete deletes snapshots"),
        (&["snapshot", "delete-group", "nope", "--yes"], "there is no group nope"),
    ] {
        let message = bench.fails(1, arguments);
        assert!(message.contains(said), "{arguments:?}: {message}");
    }
    assert!(bench.ok(&["snapshot", "list", "gone"]).starts_with("no snapshots of volume gone in "));
    let group = bench.json(&["snapshot", "group", "night", "base", "other"]);
    let message = bench.fails(1, &["snapshot", "delete-group", group["id"].as_str().unwrap()]);
    assert!(
        message.contains("Snapshots base@night, other@night of group") && message.contains("say --yes"),
        "{message}"
    );
    assert_eq!(bench.json(&["snapshot", "list"])["snapshots"].as_array().unwrap().len(), 3);
    assert_eq!(daemon.stop(), 0);
}
