//! The settings of the daemon: from the command line, the environment, a file, or the program, in this order.
//!
//! ```text
//! file ──document──▶ keys, values, lines ─┐
//! environment ────────────────────────────┼──▶ keys (THE table) ──▶ Config, and who said what
//! command line ───────────────────────────┘                    └──▶ problems, all of them
//! ```

mod document;
mod expand;
mod file;
mod keys;
mod nearest;
mod problem;
mod template;
mod volume;

use std::{
    collections::BTreeMap,
    env::VarError,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Serialize;

pub(crate) use expand::Environment;
pub(crate) use keys::{checked, help};
pub(crate) use nearest::nearest;
pub(crate) use problem::{Problem, Source};
pub(crate) use template::template;
pub(crate) use volume::{VolumeArg, parse as parse_volume, parse_read_only};

use keys::{DATA, KEYS, Key, Kind, LOG, POOL, Preset, VOLUME};
use problem::quoted;

/// The file in the data directory that is read when no other is named.
const FILE: &str = "esker.toml";
/// What is shown instead of what may be a password.
const HIDDEN: &str = "…";
/// More problems are not told: the first ones are enough to begin with.
const PROBLEMS_MAX: usize = 100;

/// Every setting of a daemon.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Config {
    pub(crate) data: PathBuf,
    /// Absent: that of the data directory.
    pub(crate) pool: Option<String>,
    pub(crate) tcp: Option<SocketAddr>,
    pub(crate) dirty_bound: u64,
    pub(crate) dirty_bound_total: u64,
    pub(crate) cache: u64,
    pub(crate) map_bound: u64,
    /// Absent: by the kind of the store.
    pub(crate) disk_cache: Option<u64>,
    pub(crate) cpu_threads: u16,
    pub(crate) grace: Duration,
    pub(crate) log: String,
    pub(crate) prices: Prices,
    /// Empty: all that are free.
    pub(crate) volumes: Vec<VolumeArg>,
}

/// US dollars for a million requests.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Prices {
    /// PUT and LIST.
    pub(crate) put: f64,
    pub(crate) get: f64,
}

impl Config {
    /// Before anybody said anything.
    fn unset() -> Config {
        Config {
            data: PathBuf::new(),
            pool: None,
            tcp: None,
            dirty_bound: 0,
            dirty_bound_total: 0,
            cache: 0,
            map_bound: 0,
            disk_cache: None,
            cpu_threads: 0,
            grace: Duration::ZERO,
            log: String::new(),
            prices: Prices::default(),
            volumes: Vec::new(),
        }
    }
}

/// What a command was told.
pub(crate) struct Given<'a> {
    /// The file, if one is named.
    pub(crate) file: Option<PathBuf>,
    /// The data directory, if one is named.
    pub(crate) data: Option<PathBuf>,
    /// Other settings of the command line, by their keys.
    pub(crate) flags: Vec<(&'static str, String)>,
    /// The volumes of the command line.
    pub(crate) volumes: Vec<VolumeArg>,
    pub(crate) environment: Environment<'a>,
}

/// What holds, and what is wrong.
#[derive(Debug)]
pub(crate) struct Loaded {
    config: Config,
    /// The file that was read.
    pub(crate) file: Option<PathBuf>,
    /// In the order of the table.
    pub(crate) settings: Vec<Setting>,
    pub(crate) problems: Vec<Problem>,
}

/// A setting as it is shown.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Setting {
    pub(crate) key: &'static str,
    /// What holds; absent when that is nothing.
    pub(crate) value: Option<String>,
    /// Who says so.
    pub(crate) source: Source,
}

impl Loaded {
    /// The settings, or all that is wrong with them.
    pub(crate) fn config(self) -> anyhow::Result<Config> {
        if self.problems.is_empty() {
            return Ok(self.config);
        }
        let problems: Vec<String> = self.problems.iter().map(ToString::to_string).collect();
        anyhow::bail!("the settings are wrong:\n{}", problems.join("\n"))
    }
}

/// The data directory that holds without a file.
pub(crate) fn data_dir(flag: Option<&Path>, environment: Environment<'_>) -> PathBuf {
    match (flag, environment(&keys::key(DATA).variable())) {
        (Some(path), _) => path.to_owned(),
        (None, Ok(path)) if !path.is_empty() => PathBuf::from(path),
        // A path need not be a text.
        (None, Err(VarError::NotUnicode(path))) => PathBuf::from(path),
        (None, _) => PathBuf::from(keys::key(DATA).preset_text()),
    }
}

/// The pool that is named without a file.
pub(crate) fn pool_url(flag: Option<&str>, environment: Environment<'_>) -> Option<String> {
    flag.map(str::to_owned).or_else(|| variable(keys::key(POOL), environment))
}

/// How much a command logs, if the environment says so.
pub(crate) fn log_filter(environment: Environment<'_>) -> Option<String> {
    variable(keys::key(LOG), environment)
}

/// Where the file of a data directory is.
pub(crate) fn file_in(data: &Path) -> PathBuf {
    data.join(FILE)
}

/// What the environment says; what is empty or no text is nothing here, and [`load`] reports the latter.
fn variable(key: &Key, environment: Environment<'_>) -> Option<String> {
    environment(&key.variable()).ok().filter(|value| !value.is_empty())
}

/// Brings everything together. What is wrong is in the result.
pub(crate) fn load(given: Given<'_>) -> Loaded {
    let environment = given.environment;
    let mut loader = Loader::new(environment);
    let inside = file_in(&data_dir(given.data.as_deref(), environment));
    let named = given.file.is_some();
    let path = given.file.or_else(|| file::exists(&inside).then_some(inside));
    if let Some(path) = &path {
        loader.file(path, named);
    }
    loader.environment();
    for (name, text) in given.flags {
        loader.put(keys::key(name), &text, Source::Flag, text.clone());
    }
    if let Some(data) = given.data {
        loader.shown.insert(DATA, (Some(data.display().to_string()), Source::Flag));
        loader.config.data = data;
    }
    if !given.volumes.is_empty() {
        loader.volumes(given.volumes, Source::Flag);
    }
    loader.finish(path)
}

/// What was said so far.
struct Loader<'a> {
    environment: Environment<'a>,
    config: Config,
    /// What each key is, and who says so; the last who spoke.
    shown: BTreeMap<&'static str, (Option<String>, Source)>,
    problems: Vec<Problem>,
}

impl<'a> Loader<'a> {
    fn new(environment: Environment<'a>) -> Self {
        let mut config = Config::unset();
        let mut shown = BTreeMap::new();
        for key in &KEYS {
            let value = match key.preset {
                Preset::Value(value) => Some(value),
                Preset::Unset { .. } => None,
            };
            if let Some(value) = value {
                (key.set)(&mut config, value).expect("what a setting is without being set is of its kind");
            }
            shown.insert(key.name, (value.map(str::to_owned), Source::Default));
        }
        Loader { environment, config, shown, problems: Vec::new() }
    }

    /// Takes a value over. `harmless` is the value as it may be shown.
    fn put(&mut self, key: &'static Key, text: &str, source: Source, harmless: String) {
        let harmless =
            if key.kind == Kind::Url { esker_io::objects::without_secrets(&harmless) } else { harmless };
        if (key.set)(&mut self.config, text).is_some() {
            self.shown.insert(key.name, (Some(harmless), source));
        } else {
            let expected = key.kind.expected();
            self.problem(source, Some(key.name), expected, quoted(&harmless));
        }
    }

    fn volumes(&mut self, volumes: Vec<VolumeArg>, source: Source) {
        self.shown.insert(VOLUME, (Some(volume::show_list(&volumes)), source));
        self.config.volumes = volumes;
    }

    fn environment(&mut self) {
        for key in &KEYS {
            let variable = key.variable();
            let value = (self.environment)(&variable);
            let source = Source::Environment { variable };
            match value {
                // As if it were not there: that is how a variable is taken away for one command.
                Ok(text) if text.is_empty() => {}
                Ok(text) if key.kind == Kind::Url => self.put(key, &text, source, HIDDEN.to_owned()),
                Ok(text) => self.put(key, &text, source, text.clone()),
                Err(VarError::NotPresent) => {}
                Err(VarError::NotUnicode(_)) => {
                    let found = "bytes that are not UTF-8".to_owned();
                    self.problem(source, Some(key.name), key.kind.expected(), found);
                }
            }
        }
    }

    fn problem(&mut self, source: Source, key: Option<&str>, expected: impl Into<String>, found: String) {
        self.report(Problem {
            source,
            key: key.map(str::to_owned),
            expected: expected.into(),
            found,
            nearest: None,
        });
    }

    fn report(&mut self, problem: Problem) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(problem);
        }
    }

    fn finish(mut self, file: Option<PathBuf>) -> Loaded {
        let setting = |key: &Key| {
            let (value, source) = self.shown.remove(key.name).expect("every setting has a value or none");
            Setting { key: key.name, value, source }
        };
        let settings = KEYS.iter().map(setting).collect();
        Loaded { config: self.config, file, settings, problems: self.problems }
    }
}

#[cfg(test)]
mod tests;
