//! The file: which of its keys are known, and what they say.

use std::{
    fs::File,
    io::{ErrorKind, Read},
    path::Path,
};

use super::{
    Loader, Problem, Source, VolumeArg,
    document::{self, Entry, Value},
    expand::expand,
    keys::{DATA, KEYS, Key, Kind, VOLUME, VOLUME_KEYS},
    nearest::nearest,
    problem::quoted,
    volume,
};
use crate::size;

/// A longer file is no list of settings.
const FILE_BYTES_MAX: u64 = 256 << 10;

/// Whether there is a file, or something in its place.
pub(super) fn exists(path: &Path) -> bool {
    match path.symlink_metadata() {
        Ok(_) => true,
        Err(error) => !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory),
    }
}

/// A `[[volume]]` table as far as it was read.
struct Draft {
    line: usize,
    name: Option<String>,
    size_bytes: Option<u64>,
    read_only: bool,
    /// Something in it was reported.
    wrong: bool,
}

/// The file's way into the settings.
struct Reading<'l, 'a> {
    loader: &'l mut Loader<'a>,
    path: &'l Path,
    /// Whether the command line named it.
    named: bool,
    volumes: Vec<Draft>,
    /// The table that is unknown: its keys are not reported too.
    unknown: Option<String>,
}

impl Loader<'_> {
    /// Takes over what the file says.
    pub(super) fn file(&mut self, path: &Path, named: bool) {
        let text = match read(path) {
            Ok(text) => text,
            Err((expected, found)) => {
                let source = Source::File { file: path.to_owned(), line: 0 };
                return self.problem(source, None, expected, found);
            }
        };
        let document = document::parse(&text);
        let broken: Vec<usize> = document.faults.iter().map(|fault| fault.line).collect();
        let mut reading = Reading { loader: self, path, named, volumes: Vec::new(), unknown: None };
        for fault in document.faults {
            let source = reading.source(fault.line);
            reading.loader.problem(source, None, fault.expected, fault.found);
        }
        for entry in document.entries {
            // What stands in a line that is no TOML was reported with it.
            if broken.binary_search(&entry.line).is_err() {
                reading.entry(&entry);
            }
        }
        reading.finish();
    }
}

fn read(path: &Path) -> Result<String, (String, String)> {
    let expected = |what: &str| format!("{what} with settings");
    let mut bytes = Vec::new();
    let file = File::open(path);
    let read = file.and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
    if let Err(error) = read {
        return Err((expected("a readable file"), error.to_string()));
    }
    if bytes.len() as u64 > FILE_BYTES_MAX {
        let most = size::show(FILE_BYTES_MAX);
        return Err((expected(&format!("a file of at most {most}")), "a longer one".to_owned()));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        (expected("a text in UTF-8"), format!("other bytes, from byte {at} on"))
    })
}

impl Reading<'_, '_> {
    fn source(&self, line: usize) -> Source {
        Source::File { file: self.path.to_owned(), line }
    }

    fn problem(&mut self, line: usize, key: &str, expected: impl Into<String>, found: impl Into<String>) {
        let source = self.source(line);
        self.loader.problem(source, Some(key), expected, found.into());
    }

    fn entry(&mut self, entry: &Entry) {
        let inside = |table: &String| {
            entry.path.strip_prefix(table.as_str()).is_some_and(|rest| rest.starts_with('.'))
        };
        match &entry.value {
            Value::Table | Value::Element => self.table(entry),
            _ if self.unknown.as_ref().is_some_and(inside) => {}
            _ => match (entry.element, entry.path.strip_prefix("volume.")) {
                (Some(_), Some(part)) => self.volume(entry, part),
                (_, part) if part.is_some() || entry.path == VOLUME => {
                    let expected = "[[volume]] above the keys of each volume";
                    self.problem(entry.line, &entry.path, expected, shown(&entry.value));
                }
                _ => match KEYS.iter().find(|key| key.name == entry.path) {
                    Some(key) => self.key(entry, key),
                    None => self.is_unknown(entry, &entry.path),
                },
            },
        }
    }

    /// The head of a table.
    fn table(&mut self, entry: &Entry) {
        self.unknown = None;
        let tables = || KEYS.iter().filter_map(|key| key.name.split_once('.')).map(|(table, _)| table);
        match (&entry.value, entry.path.as_str()) {
            (Value::Element, VOLUME) => self.volumes.push(Draft {
                line: entry.line,
                name: None,
                size_bytes: None,
                read_only: false,
                wrong: false,
            }),
            (Value::Table, VOLUME) => {
                self.problem(entry.line, VOLUME, "[[volume]]", "[volume]");
                self.unknown = Some(VOLUME.to_owned());
            }
            (Value::Table, table) if tables().any(|known| known == table) => {}
            (_, table) => {
                let found = nearest(table, tables().chain([VOLUME]))
                    .map(|near| if near == VOLUME { "[[volume]]".to_owned() } else { format!("[{near}]") });
                self.unknown = Some(table.to_owned());
                self.loader.report(Problem {
                    source: Source::File { file: self.path.to_owned(), line: entry.line },
                    key: None,
                    expected: "a known table".to_owned(),
                    found: quoted(table),
                    nearest: found,
                });
            }
        }
    }

    fn is_unknown(&mut self, entry: &Entry, name: &str) {
        let volume_keys = VOLUME_KEYS.iter().map(|(name, ..)| *name);
        let near = match entry.element {
            Some(_) => nearest(name, volume_keys),
            None => nearest(name, KEYS.iter().map(|key| key.name)),
        };
        let problem = Problem {
            source: self.source(entry.line),
            key: None,
            expected: "a known key".to_owned(),
            found: quoted(name),
            nearest: near.map(str::to_owned),
        };
        self.loader.report(problem);
    }

    fn key(&mut self, entry: &Entry, key: &'static Key) {
        if key.name == DATA && !self.named {
            let expected = "no data directory in the file that lies in it";
            return self.problem(entry.line, DATA, expected, shown(&entry.value));
        }
        let Some(text) = self.text(entry, key.kind.expected(), key.kind.takes_numbers()) else { return };
        let harmless = match (&entry.value, key.kind) {
            // As it stands in the file: what came from the environment may be a password.
            (Value::Text(raw), Kind::Url) => raw.clone(),
            _ => text.clone(),
        };
        let source = self.source(entry.line);
        self.loader.put(key, &text, source, harmless);
    }

    /// The value as text, with what the environment says; `None` when it was reported.
    fn text(&mut self, entry: &Entry, expected: &str, numbers: bool) -> Option<String> {
        match &entry.value {
            Value::Text(raw) => match expand(raw, self.loader.environment) {
                Ok(text) => return Some(text),
                Err(unfit) => self.problem(entry.line, &entry.path, unfit.expected, unfit.found),
            },
            Value::Number(digits) if numbers => return Some(digits.clone()),
            other => self.problem(entry.line, &entry.path, expected, shown(other)),
        }
        None
    }

    /// A key of a `[[volume]]` table.
    fn volume(&mut self, entry: &Entry, part: &str) {
        let before = self.loader.problems.len();
        match part {
            "name" => {
                let expected = "a name: a-z, 0-9, '.', '_' and '-'";
                let name = self.text(entry, expected, false).and_then(|name| {
                    let valid = volume::parse_read_only(&name).is_ok();
                    if !valid {
                        self.problem(entry.line, &entry.path, expected, quoted(&name));
                    }
                    valid.then_some(name)
                });
                self.draft(|draft| draft.name = name);
            }
            "size" => {
                let expected = Kind::Size.expected();
                let size = self.text(entry, expected, true).and_then(|text| {
                    let size = size::parse(&text).ok();
                    if size.is_none() {
                        self.problem(entry.line, &entry.path, expected, quoted(&text));
                    }
                    size
                });
                self.draft(|draft| draft.size_bytes = size);
            }
            "read_only" => match entry.value {
                Value::Boolean(read_only) => self.draft(|draft| draft.read_only = read_only),
                _ => self.problem(entry.line, &entry.path, "true or false", shown(&entry.value)),
            },
            part => self.is_unknown(entry, part),
        }
        if self.loader.problems.len() > before {
            self.draft(|draft| draft.wrong = true);
        }
    }

    fn draft(&mut self, change: impl FnOnce(&mut Draft)) {
        // A table whose head was no TOML has none.
        if let Some(draft) = self.volumes.last_mut() {
            change(draft);
        }
    }

    /// Whole volumes, and what is wrong with them as a whole.
    fn finish(mut self) {
        let Some(first) = self.volumes.first().map(|draft| draft.line) else { return };
        let mut volumes = Vec::<VolumeArg>::new();
        for draft in std::mem::take(&mut self.volumes) {
            let Draft { line, name, size_bytes, read_only, wrong } = draft;
            let Some(name) = name else {
                if !wrong {
                    self.problem(line, VOLUME, "a name in each [[volume]]", "none");
                }
                continue;
            };
            if volumes.iter().any(|before| before.name == name) {
                self.problem(line, VOLUME, "every volume once", format!("{name} again"));
            }
            if read_only && size_bytes.is_some() {
                let expected = "no size where read_only is true, since no volume is made";
                self.problem(line, VOLUME, expected, "one");
            }
            volumes.push(VolumeArg { name, size_bytes, read_only });
        }
        let source = self.source(first);
        self.loader.volumes(volumes, source);
    }
}

/// A value as a message shows it.
fn shown(value: &Value) -> String {
    match value {
        Value::Text(text) => quoted(&esker_io::objects::without_secrets(text)),
        Value::Number(digits) => digits.clone(),
        Value::Boolean(value) => value.to_string(),
        Value::Other(what) => (*what).to_owned(),
        Value::Table | Value::Element => "a table".to_owned(),
    }
}
