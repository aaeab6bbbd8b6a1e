//! The file of settings: written, checked, and served from.

use std::{fs, os::unix::fs::symlink};

use crate::bench::{Bench, text, tool};

#[test]
fn a_file_is_written_checked_and_served_from() {
    let bench = Bench::new();
    let said = bench.ok(&["config", "init"]);
    let path = bench.data().join("esker.toml");
    assert!(said.contains(&path.display().to_string()), "{said}");
    let message = bench.fails(1, &["config", "init"]);
    assert!(message.contains("exists and was left as it is"), "{message}");
    assert!(bench.ok(&["config", "check"]).starts_with("OK: "));
    let template = fs::read_to_string(&path).unwrap();
    let volumes = "[[volume]]\nname = \"demo\"\nsize = \"8M\"\n[[volume]]\nname = \"more\"\nsize = 1048576\n";
    fs::write(&path, format!("{template}\n{volumes}").replace("#cache = \"256M\"", "cache = \"32M\""))
        .unwrap();
    let checked = bench.json(&["config", "check"]);
    assert_eq!(checked["ok"], true);
    let cache =
        checked["settings"].as_array().unwrap().iter().find(|setting| setting["key"] == "cache").unwrap();
    assert_eq!((cache["value"].as_str(), cache["source"]["kind"].as_str()), (Some("32M"), Some("file")));
    let daemon = bench.serve(&[]);
    assert!(daemon.ready.ends_with("exports=demo,more"), "{}", daemon.ready);
    bench.write("demo", 1, "1M", "1M");
    bench.read("demo", 1, "1M", "1M");
    assert_eq!(daemon.stop(), 0);
    // Volumes of the command line stand instead of those of the file.
    let daemon = bench.serve(&["--read-only", "more"]);
    assert!(daemon.ready.ends_with("exports=more"), "{}", daemon.ready);
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn a_named_file_says_where_things_are() {
    let bench = Bench::new();
    let (here, pool) = (bench.path("here"), bench.path("pool"));
    let file = bench.path("settings.toml");
    let settings =
        "data = '${PLACE}/here'\npool = 'file://${PLACE}/pool'\n[[volume]]\nname = 'demo'\nsize = '1M'\n";
    fs::write(&file, settings).unwrap();
    let file = file.display().to_string();
    let shell = format!("PLACE='{}' exec \"$1\" serve --config '{file}'", here.parent().unwrap().display());
    let daemon = bench.serve_from(&shell, &[]);
    assert!(daemon.ready.contains(&format!("pool=file://{}", pool.display())), "{}", daemon.ready);
    assert!(here.join("control.sock").exists() && !bench.data().exists());
    assert_eq!(daemon.stop(), 0);
    let message = bench.fails(1, &["serve", "--config", &file]);
    assert!(
        message.contains(&format!("{file}:1: data: expected the environment variable PLACE")),
        "{message}"
    );
    assert!(
        message.contains(&format!("{file}:2: pool: expected the environment variable PLACE")),
        "{message}"
    );
}

#[test]
fn the_environment_says_it_too() {
    let bench = Bench::new();
    let shell = format!("ESKER_VOLUME=demo=1M ESKER_DATA='{}' exec \"$1\" serve", bench.data().display());
    let daemon = bench.serve_from(&shell, &[]);
    assert!(daemon.ready.ends_with("exports=demo"), "{}", daemon.ready);
    let run = format!("ESKER_DATA='{}' '{}' status", bench.data().display(), env!("CARGO_BIN_EXE_esker"));
    let status = tool("sh", &["-c", &run]);
    assert!(text(&status.stdout).contains("demo"), "{}", text(&status.stderr));
    assert_eq!(daemon.stop(), 0);
    let run = format!("ESKER_CACHE=lots '{}' serve", env!("CARGO_BIN_EXE_esker"));
    let refused = tool("sh", &["-c", &run]);
    assert_eq!(refused.status.code(), Some(1));
    let message = text(&refused.stderr);
    assert!(message.contains("environment ESKER_CACHE: cache: expected a size"), "{message}");
}

#[test]
fn what_is_wrong_is_told_with_lines() {
    let bench = Bench::new();
    let file = bench.path("bad.toml");
    fs::write(&file, "cahce = '1G'\ntcp = 5\n[[volume]]\nname = 'Demo'\n").unwrap();
    let path = file.display().to_string();
    let output = bench.esker(&["config", "check", &path]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stdout);
    for line in [
        "1: expected a known key, found \"cahce\"; did you mean cache?",
        "2: tcp: expected",
        "4: volume.name",
    ] {
        assert!(said.contains(&format!("{path}:{line}")), "{line}: {said}");
    }
    let output = bench.esker(&["config", "check", &path, "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&json["ok"], &json["problems"][0]["nearest"]), (&false.into(), &"cache".into()));
    assert_eq!(json["problems"][1]["source"]["line"], 2);
    let message = bench.fails(1, &["serve", "--config", &path]);
    assert!(message.contains("did you mean cache?") && message.contains("volume.name"), "{message}");
    assert!(!bench.data().exists(), "a daemon that is set wrongly makes nothing");
    // Something else than a file in its place is not passed over.
    fs::create_dir_all(bench.data()).unwrap();
    symlink("gone", bench.data().join("esker.toml")).unwrap();
    bench.fails(1, &["serve"]);
    let output = bench.esker(&["config", "check", "--config", &path]);
    assert_eq!(output.status.code(), Some(2));
}
