//! Who wins, what is refused, and that the documents say the same as the table.

use std::{env::VarError, fs, path::Path};

use super::*;

const GIB: u64 = 1 << 30;

/// Settings from a file in a directory of their own, and an environment.
fn loaded(text: &[u8], environment: &[(&str, &str)], flags: &[(&'static str, &str)]) -> Loaded {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("f.toml");
    fs::write(&file, text).unwrap();
    let asked = |name: &str| {
        let found = environment.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned()).ok_or(VarError::NotPresent)
    };
    let flags = flags.iter().map(|(key, text)| (*key, (*text).to_owned())).collect();
    load(Given { file: Some(file), data: None, flags, volumes: Vec::new(), environment: &asked })
}

fn good(text: &str, environment: &[(&str, &str)], flags: &[(&'static str, &str)]) -> Loaded {
    let loaded = loaded(text.as_bytes(), environment, flags);
    assert_eq!(loaded.problems, [], "{text}");
    loaded
}

/// The problems, each with the name of the file without its directory.
fn problems(text: &[u8], environment: &[(&str, &str)]) -> Vec<String> {
    let loaded = loaded(text, environment, &[]);
    let directory = loaded.file.as_ref().unwrap().parent().unwrap().display().to_string();
    let problems: Vec<String> = loaded.problems.iter().map(ToString::to_string).collect();
    assert!(!problems.is_empty(), "{}", String::from_utf8_lossy(text));
    assert!(loaded.config().is_err());
    problems.iter().map(|problem| problem.replace(&format!("{directory}/"), "")).collect()
}

fn setting<'l>(loaded: &'l Loaded, key: &str) -> (&'l str, String) {
    let setting = loaded.settings.iter().find(|setting| setting.key == key).unwrap();
    let source = match &setting.source {
        Source::File { line, .. } => format!("line {line}"),
        source => source.to_string(),
    };
    (setting.value.as_deref().unwrap_or("-"), source)
}

#[test]
fn without_a_word_the_defaults_hold() {
    let loaded = good("", &[], &[]);
    assert_eq!(setting(&loaded, "cache"), ("256M", "default".into()));
    assert_eq!(setting(&loaded, "tcp"), ("-", "default".into()));
    let config = loaded.config().unwrap();
    assert_eq!((config.dirty_bound, config.dirty_bound_total, config.cache), (GIB, 8 * GIB, GIB / 4));
    assert_eq!((config.cpu_threads, config.log.as_str(), config.pool), (2, "info", None));
    assert_eq!((config.prices.put, config.prices.get), (5.0, 0.4));
    assert_eq!((config.data.as_path(), config.volumes.len()), (Path::new("./esker-data"), 0));
}

#[test]
fn the_command_line_wins_then_the_environment_then_the_file() {
    let file = "cache = '1G'\ndirty_bound = 2097152\ncpu_threads = 3\ntcp = '127.0.0.1:1'\n";
    let environment = [("ESKER_CACHE", "2G"), ("ESKER_CPU_THREADS", "4"), ("ESKER_TCP", "")];
    let loaded = good(file, &environment, &[("cache", "3G")]);
    assert_eq!(setting(&loaded, "cache"), ("3G", "command line".into()));
    assert_eq!(setting(&loaded, "cpu_threads"), ("4", "environment ESKER_CPU_THREADS".into()));
    assert_eq!(setting(&loaded, "dirty_bound"), ("2097152", "line 2".into()));
    assert_eq!(setting(&loaded, "tcp"), ("127.0.0.1:1", "line 4".into()), "an empty variable says nothing");
    let config = loaded.config().unwrap();
    assert_eq!((config.cache, config.cpu_threads, config.dirty_bound), (3 * GIB, 4, 2 << 20));
}

#[test]
fn every_setting_can_come_from_everywhere() {
    for key in &KEYS {
        let text = match key.kind {
            Kind::Path => "./d",
            Kind::Url => "memory://x",
            Kind::Address => "127.0.0.1:7",
            Kind::Size | Kind::Bound => "7M",
            Kind::Threads | Kind::Dollars => "7",
            Kind::Time => "7h",
            Kind::Filter => "debug",
            Kind::Volumes => "a=7M,b:ro,c",
        };
        let file = match key.kind {
            Kind::Volumes => {
                "[[volume]]\nname='a'\nsize='7M'\n[[volume]]\nname='b'\nread_only=true\n[[volume]]\nname='c'"
                    .to_owned()
            }
            _ => format!("{} = '{text}'", key.name),
        };
        let from_file = good(&file, &[], &[]).config().unwrap();
        let variable = key.variable();
        let from_environment = good("", &[(variable.as_str(), text)], &[]).config().unwrap();
        assert_eq!(from_file, from_environment, "{}", key.name);
        assert_ne!(from_file, good("", &[], &[]).config().unwrap(), "{}", key.name);
    }
}

#[test]
fn the_environment_is_put_into_texts() {
    let file = "cache = '${SIZE:-1G}'\ncpu_threads = '${THREADS}'\n[[volume]]\nname = '${NAME}-a'";
    let config = good(file, &[("THREADS", "5"), ("NAME", "x")], &[]).config().unwrap();
    assert_eq!((config.cache, config.cpu_threads, config.volumes[0].name.as_str()), (GIB, 5, "x-a"));
    let said = problems(file.as_bytes(), &[("NAME", "X")]);
    assert_eq!(
        said,
        [
            "f.toml:2: cpu_threads: expected the environment variable THREADS, or ${THREADS:-default}, found that it is \
             not set",
            "f.toml:4: volume.name: expected a name: a-z, 0-9, '.', '_' and '-', found \"X-a\"",
        ]
    );
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let file = "dirty-bound = '1G'\ncache = 'lots'\ncpu_threads = 300\nlog = 7\ntcp = ['a']\n[price]\nput = 1\n[prices]\n\
                put_usd_per_million = -1\nget = 2\n[[volume]]\nsize = '1G'\n[[volume]]\nname = 'a'\nread_only = 'yes'\n\
                sice = 1\n[[volume]]\nname = 'a'\nsize = 1\nread_only = true\n[volume]\n[[volumes]]\n";
    assert_eq!(
        problems(file.as_bytes(), &[("ESKER_DIRTY_BOUND", "4K")]),
        [
            "f.toml:1: expected a known key, found \"dirty-bound\"; did you mean dirty_bound?",
            "f.toml:2: cache: expected a size: bytes, or a number with K, M, G, T or P, such as \"512M\", found \"lots\"",
            "f.toml:3: cpu_threads: expected a number from 1 to 256, found \"300\"",
            "f.toml:4: log: expected a level or filter, such as \"info\" or \"warn,esker_engine=debug\", found 7",
            "f.toml:5: tcp: expected an address and a port, such as \"127.0.0.1:10809\", found an array",
            "f.toml:6: expected a known table, found \"price\"; did you mean [prices]?",
            "f.toml:9: prices.put_usd_per_million: expected a number that is not negative, such as 0.4, found \"-1\"",
            "f.toml:10: expected a known key, found \"prices.get\"",
            "f.toml:15: volume.read_only: expected true or false, found \"yes\"",
            "f.toml:16: expected a known key, found \"sice\"; did you mean size?",
            "f.toml:21: volume: expected [[volume]], found [volume]",
            "f.toml:22: expected a known table, found \"volumes\"; did you mean [[volume]]?",
            "f.toml:11: volume: expected a name in each [[volume]], found none",
            "f.toml:17: volume: expected every volume once, found a again",
            "f.toml:17: volume: expected no size where read_only is true, since no volume is made, found one",
            "environment ESKER_DIRTY_BOUND: dirty_bound: expected a size of at least 1M, such as \"1G\", found \"4K\"",
        ]
    );
}

#[test]
fn a_password_is_not_shown() {
    let environment = [("SECRET", "hunter2"), ("ESKER_POOL", "")];
    let file = "pool = 's3://me:word@${SECRET}/x?key=word'";
    let shown = good(file, &environment, &[]);
    assert_eq!(setting(&shown, "pool").0, "s3://…@${SECRET}/x?…");
    assert_eq!(shown.config().unwrap().pool.as_deref(), Some("s3://me:word@hunter2/x?key=word"));
    let from_environment = good("", &[("ESKER_POOL", "s3://hunter2")], &[]);
    assert_eq!(setting(&from_environment, "pool"), ("…", "environment ESKER_POOL".into()));
    for (file, environment) in [
        ("pool = '${SECRET}'", [("SECRET", "hunter2"), ("A", "")]),
        ("pool = 'me:hunter2@x'", [("B", ""), ("A", "")]),
        ("pool = 'me:hunter2@${'", [("B", ""), ("A", "")]),
        ("pool.x = 'me:hunter2@x'\n[[volume]]\nname = 's3://hunter2@x'", [("B", ""), ("A", "")]),
        ("", [("ESKER_POOL", "hunter2"), ("A", "")]),
    ] {
        let said = problems(file.as_bytes(), &environment);
        let told = said.iter().any(|problem| problem.contains("hunter2"));
        assert!(!told || file.contains("volume"), "{said:?}");
    }
}

#[test]
fn a_file_in_the_data_directory_is_read_and_cannot_name_another() {
    let directory = tempfile::tempdir().unwrap();
    let nothing = |_: &str| Err(VarError::NotPresent);
    let load_here = || {
        let data = Some(directory.path().to_owned());
        load(Given { file: None, data, flags: Vec::new(), volumes: Vec::new(), environment: &nothing })
    };
    let without = load_here();
    assert_eq!((&without.file, setting(&without, "data").1), (&None, "command line".into()));
    fs::write(file_in(directory.path()), "cache = 1").unwrap();
    assert_eq!(load_here().config().unwrap().cache, 1);
    fs::write(file_in(directory.path()), "data = 'x'").unwrap();
    assert!(load_here().problems[0].expected.starts_with("no data directory"));
}

#[test]
fn hostile_files_are_refused() {
    let said = |text: &[u8]| problems(text, &[]).join("\n");
    assert!(said(b"cache = '1G'\xff\xfe").contains("UTF-8"));
    assert!(said(&[0; 1000]).contains("TOML"));
    assert!(said(&vec![b'#'; 1 << 20]).contains("at most 256 KiB"));
    assert!(said(format!("cache = {}", "[".repeat(100_000)).as_bytes()).contains("TOML"));
    assert!(said(b"cache = 1\ncache = 2").contains("f.toml:2: expected every key once"));
    assert_eq!(problems("x = 1\n".repeat(30_000).as_bytes(), &[]).len(), PROBLEMS_MAX);
    let many: String = (0..10_000).map(|number| format!("[[volume]]\nb={number}\n")).collect();
    assert_eq!(problems(many.as_bytes(), &[]).len(), PROBLEMS_MAX);
    let nothing = |_: &str| Err(VarError::NotPresent);
    for file in ["/", "/dev/zero", "/no/such/file", "Cargo.toml/x"] {
        let file = Some(PathBuf::from(file));
        let given = Given { file, data: None, flags: Vec::new(), volumes: Vec::new(), environment: &nothing };
        assert_eq!(load(given).problems.len(), 1);
    }
}

/// The template is a file that sets nothing; with its comments taken off, one that sets everything.
#[test]
fn the_template_holds_every_setting() {
    let text = template();
    let plain = good(&text, &[], &[]);
    assert!(plain.settings.iter().all(|setting| setting.source == Source::Default));
    let bare = |line: &str| line.starts_with('#') && !line.starts_with("# ") && line.len() > 1;
    let uncomment = |line: &str| if bare(line) { line[1..].to_owned() } else { line.to_owned() };
    let all: Vec<String> = text.lines().map(uncomment).collect();
    let loaded = good(&all.join("\n"), &[], &[]);
    for setting in &loaded.settings {
        assert!(matches!(setting.source, Source::File { .. }), "{setting:?}");
    }
    assert_eq!(loaded.config().unwrap().volumes, [parse_volume("demo=10G").unwrap()]);
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
}

#[test]
fn the_document_has_the_table() {
    let document = include_str!("../../../../docs/configuration.md");
    let rows: Vec<&str> = document.lines().filter(|line| line.starts_with("| `")).collect();
    let expected = KEYS.iter().map(|key| {
        let flag = key.flag.map_or_else(|| "-".to_owned(), |flag| format!("`{flag}`"));
        let preset = match key.preset {
            Preset::Value(value) => format!("`{value}`"),
            Preset::Unset { means, .. } => means.to_owned(),
        };
        format!("| `{}` | {flag} | `{}` | {preset} | {} |", key.name, key.variable(), key.help)
    });
    assert_eq!(rows, expected.collect::<Vec<_>>());
}
