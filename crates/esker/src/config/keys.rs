//! THE table of settings. What a setting is called, may be, is without being set, and does is said here only: the
//! command line, the environment, the file, its template and the check all ask this table.

use std::path::PathBuf;

use tracing_subscriber::EnvFilter;

use super::{Config, volume};
use crate::{size, time};

/// One setting.
pub(crate) struct Key {
    /// As the file has it; a dot stands between table and key.
    pub(crate) name: &'static str,
    /// As the command line has it, if it does.
    pub(crate) flag: Option<&'static str>,
    pub(super) kind: Kind,
    pub(super) preset: Preset,
    /// What it does, in a sentence.
    pub(crate) help: &'static str,
    /// Takes a value over; `None` where it is not of the kind.
    pub(super) set: fn(&mut Config, &str) -> Option<()>,
}

/// What a value may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A directory.
    Path,
    /// The URL of a pool. What the environment put into it is not shown.
    Url,
    /// A loopback address.
    Address,
    /// Bytes.
    Size,
    /// Bytes, of which fewer than 1 MiB would stop every write.
    Bound,
    /// A time.
    Time,
    /// A number of threads.
    Threads,
    /// US dollars.
    Dollars,
    /// What is logged.
    Filter,
    /// Volumes to serve.
    Volumes,
}

/// What holds when nobody says anything.
#[derive(Debug, Clone, Copy)]
pub(super) enum Preset {
    Value(&'static str),
    /// Nothing: what that means, and a value to show.
    Unset {
        means: &'static str,
        example: &'static str,
    },
}

impl Key {
    /// The variable of the environment that sets it.
    pub(crate) fn variable(&self) -> String {
        format!("ESKER_{}", self.name.replace('.', "_").to_ascii_uppercase())
    }

    /// What holds when nobody says anything, in words.
    pub(crate) fn preset_text(&self) -> &'static str {
        match self.preset {
            Preset::Value(value) => value,
            Preset::Unset { means, .. } => means,
        }
    }
}

impl Kind {
    /// What is expected, with an example.
    pub(super) fn expected(self) -> &'static str {
        match self {
            Kind::Path => "a directory, such as \"./esker-data\"",
            Kind::Url => {
                "a pool: \"file://PATH\", \"s3://BUCKET/PREFIX\", \"gs://BUCKET/PREFIX\", \"az://CONTAINER/PREFIX\" or \"memory://NAME\""
            }
            Kind::Address => "an address and a port, such as \"127.0.0.1:10809\"",
            Kind::Size => "a size: bytes, or a number with K, M, G, T or P, such as \"512M\"",
            Kind::Bound => "a size of at least 1M, such as \"1G\"",
            Kind::Time => "a time: a number with s, m, h or d, such as \"24h\"",
            Kind::Threads => "a number from 1 to 256",
            Kind::Dollars => "a number that is not negative, such as 0.4",
            Kind::Filter => "a level or filter, such as \"info\" or \"warn,esker_engine=debug\"",
            Kind::Volumes => "[[volume]] tables, or in the environment a list such as demo=10G,old:ro",
        }
    }

    /// Whether the file may have a bare number.
    pub(super) fn takes_numbers(self) -> bool {
        matches!(self, Kind::Size | Kind::Bound | Kind::Threads | Kind::Dollars)
    }
}

/// The data directory: the one setting that is known before a file is looked for.
pub(super) const DATA: &str = "data";
pub(super) const POOL: &str = "pool";
pub(super) const LOG: &str = "log";
pub(super) const VOLUME: &str = "volume";

/// Every setting, in the order in which they are shown. Those in tables come last, as TOML wants it.
pub(crate) const KEYS: [Key; 14] = [
    Key {
        name: DATA,
        flag: Some("--data"),
        kind: Kind::Path,
        preset: Preset::Value("./esker-data"),
        help: "The data directory: sockets, logs, and the pool if no other is named",
        set: |config, text| (!text.is_empty()).then(|| config.data = PathBuf::from(text)),
    },
    Key {
        name: POOL,
        flag: Some("--pool"),
        kind: Kind::Url,
        preset: Preset::Unset { means: "that of the data directory", example: "s3://bucket/prefix" },
        help: "The pool: file://PATH, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX or memory://NAME",
        set: |config, text| text.contains("://").then(|| config.pool = Some(text.to_owned())),
    },
    Key {
        name: "tcp",
        flag: Some("--tcp"),
        kind: Kind::Address,
        preset: Preset::Unset { means: "none, only the unix socket", example: "127.0.0.1:10809" },
        help: "Serve NBD on this loopback address too",
        set: |config, text| text.parse().ok().map(|address| config.tcp = Some(address)),
    },
    Key {
        name: "dirty_bound",
        flag: Some("--dirty-bound"),
        kind: Kind::Bound,
        preset: Preset::Value("1G"),
        help: "The most log bytes of a volume that no segment in the store holds yet; at it writes wait",
        set: |config, text| size::parse_bound(text).ok().map(|bytes| config.dirty_bound = bytes),
    },
    Key {
        name: "dirty_bound_total",
        flag: Some("--dirty-bound-total"),
        kind: Kind::Bound,
        preset: Preset::Value("8G"),
        help: "The same for all volumes of this daemon together",
        set: |config, text| size::parse_bound(text).ok().map(|bytes| config.dirty_bound_total = bytes),
    },
    Key {
        name: "cache",
        flag: Some("--cache"),
        kind: Kind::Size,
        preset: Preset::Value("256M"),
        help: "Memory for decoded frames",
        set: |config, text| size::parse(text).ok().map(|bytes| config.cache = bytes),
    },
    Key {
        name: "map_bound",
        flag: Some("--map-bound"),
        kind: Kind::Bound,
        preset: Preset::Value("1G"),
        help: "Memory for the maps of all volumes together; at it, writes that make one grow wait",
        set: |config, text| size::parse_bound(text).ok().map(|bytes| config.map_bound = bytes),
    },
    Key {
        name: "disk_cache",
        flag: Some("--disk-cache"),
        kind: Kind::Size,
        preset: Preset::Unset { means: "4G; 0 where the pool is at file:// or memory://", example: "4G" },
        help: "Space in the data directory for frames as the store has them; 0 for none",
        set: |config, text| size::parse(text).ok().map(|bytes| config.disk_cache = Some(bytes)),
    },
    Key {
        name: "cpu_threads",
        flag: Some("--cpu-threads"),
        kind: Kind::Threads,
        preset: Preset::Value("2"),
        help: "Threads that compress and verify",
        set: |config, text| {
            let threads = text.parse().ok().filter(|threads| (1..=256).contains(threads));
            threads.map(|threads| config.cpu_threads = threads)
        },
    },
    Key {
        name: "grace",
        flag: Some("--grace"),
        kind: Kind::Time,
        preset: Preset::Value("24h"),
        help: "How long what nothing reaches any more stays in the pool",
        set: |config, text| time::parse(text).map(|grace| config.grace = grace),
    },
    Key {
        name: LOG,
        flag: None,
        kind: Kind::Filter,
        preset: Preset::Value("info"),
        help: "How much the daemon says on standard error: error, warn, info, debug or trace, also by part",
        set: |config, text| EnvFilter::try_new(text).ok().map(|_| config.log = text.to_owned()),
    },
    Key {
        name: "prices.put_usd_per_million",
        flag: None,
        kind: Kind::Dollars,
        preset: Preset::Value("5"),
        help: "What the store takes for a million PUT or LIST requests, in US dollars; for metrics only",
        set: |config, text| dollars(text).map(|dollars| config.prices.put = dollars),
    },
    Key {
        name: "prices.get_usd_per_million",
        flag: None,
        kind: Kind::Dollars,
        preset: Preset::Value("0.4"),
        help: "What the store takes for a million GET requests, in US dollars; for metrics only",
        set: |config, text| dollars(text).map(|dollars| config.prices.get = dollars),
    },
    Key {
        name: VOLUME,
        flag: Some("--volume"),
        kind: Kind::Volumes,
        preset: Preset::Unset { means: "every volume of the pool that is free", example: "" },
        help: "A volume to serve, one table each. --volume or --read-only on the command line replace them all",
        set: |config, text| volume::parse_list(text).map(|volumes| config.volumes = volumes),
    },
];

/// The keys of a `[[volume]]` table: name, example, what it does.
pub(super) const VOLUME_KEYS: [(&str, &str, &str); 3] = [
    ("name", "\"demo\"", "Its name: a-z, 0-9, '.', '_' and '-'"),
    ("size", "\"10G\"", "Made with this size if it is missing; a volume of another size is refused"),
    ("read_only", "false", "Serve its last commit for reading, beside whoever writes it"),
];

fn dollars(text: &str) -> Option<f64> {
    text.parse().ok().filter(|dollars: &f64| dollars.is_finite() && *dollars >= 0.0)
}

/// The setting of this name.
///
/// # Panics
/// There is none.
pub(crate) fn key(name: &str) -> &'static Key {
    KEYS.iter().find(|key| key.name == name).unwrap_or_else(|| panic!("{name} is a setting"))
}

/// What `--help` says of a setting.
pub(crate) fn help(name: &str) -> String {
    let key = key(name);
    format!("{} [default: {}]", key.help, key.preset_text())
}

/// Checks a value of the command line.
pub(crate) fn checked(name: &'static str) -> impl Fn(&str) -> Result<String, String> + Clone {
    let key = key(name);
    move |text| match (key.set)(&mut Config::unset(), text) {
        Some(()) => Ok(text.to_owned()),
        None => Err(format!("expected {}", key.kind.expected())),
    }
}
