//! TOML to a flat list: each key with its whole path, its value and its line. What a key means is not known here.

use std::collections::BTreeMap;

use toml_parser::{
    ErrorSink, ParseError, Source, Span,
    decoder::{IntegerRadix, ScalarKind},
    parser::{Event, EventKind, RecursionGuard, ValidateWhitespace, parse_document},
};

/// Arrays and inline tables in each other: no setting needs one.
const DEPTH_MAX: u32 = 8;
/// Further parts of a key are left out: no setting has as many, so it is unknown all the same.
const PARTS_MAX: usize = 8;

/// What a file says.
#[derive(Debug, Default)]
pub(super) struct Document {
    /// In the order of the file.
    pub(super) entries: Vec<Entry>,
    /// What is not TOML, and keys that are there twice.
    pub(super) faults: Vec<Fault>,
}

/// A key, or the head of a table.
#[derive(Debug, PartialEq)]
pub(super) struct Entry {
    /// The parts of the key joined by dots, table first. A part that needs quotes has them.
    pub(super) path: String,
    /// In which element of an array of tables it stands, from 0.
    pub(super) element: Option<usize>,
    pub(super) line: usize,
    pub(super) value: Value,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Text(String),
    /// A decimal number, as digits.
    Number(String),
    Boolean(bool),
    /// What no setting is: its name in messages.
    Other(&'static str),
    /// The head `[a]`.
    Table,
    /// The head `[[a]]`.
    Element,
}

/// A place that is not TOML.
#[derive(Debug, PartialEq)]
pub(super) struct Fault {
    pub(super) line: usize,
    pub(super) expected: String,
    pub(super) found: String,
}

/// Reads a whole file. Where something is wrong it goes on behind it.
pub(super) fn parse(text: &str) -> Document {
    let source = Source::new(text);
    let tokens = source.lex().into_vec();
    let (mut events, mut errors) = (Vec::<Event>::new(), Vec::<ParseError>::new());
    let mut checked = ValidateWhitespace::new(&mut events, source);
    parse_document(&tokens, &mut RecursionGuard::new(&mut checked, DEPTH_MAX), &mut errors);
    let mut reader = Reader::new(source);
    for event in &events {
        reader.take(event, &mut errors);
    }
    reader.finish(&errors)
}

/// What an inline table or an array is inside of.
enum Nest {
    /// An inline table, and how many parts the path before it has.
    Keys(usize),
    /// An array, or something in it: its contents are skipped.
    Skipped,
}

struct Reader<'t> {
    source: Source<'t>,
    /// Offsets of the line ends.
    lines: Vec<usize>,
    /// The parts of the present table's path.
    prefix: Vec<String>,
    element: Option<usize>,
    /// The parts of the key that is being read.
    key: Vec<String>,
    key_at: usize,
    nest: Vec<Nest>,
    /// How many elements each array of tables has.
    elements: BTreeMap<String, usize>,
    /// Where each key stands, and each table.
    seen: BTreeMap<(String, Option<usize>), usize>,
    tables: BTreeMap<String, usize>,
    document: Document,
}

impl<'t> Reader<'t> {
    fn new(source: Source<'t>) -> Self {
        let ends = source.input().bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Self {
            source,
            lines: ends.map(|(at, _)| at).collect(),
            prefix: Vec::new(),
            element: None,
            key: Vec::new(),
            key_at: 0,
            nest: Vec::new(),
            elements: BTreeMap::new(),
            seen: BTreeMap::new(),
            tables: BTreeMap::new(),
            document: Document::default(),
        }
    }

    fn take(&mut self, event: &Event, errors: &mut dyn ErrorSink) {
        match event.kind() {
            EventKind::StdTableOpen | EventKind::ArrayTableOpen => {
                self.prefix.clear();
                self.key.clear();
                self.nest.clear();
            }
            EventKind::StdTableClose => self.table(),
            EventKind::ArrayTableClose => self.array_of_tables(),
            EventKind::SimpleKey if !self.skips() => self.part(event, errors),
            EventKind::Scalar if !self.skips() => self.scalar(event, errors),
            EventKind::InlineTableOpen if !self.skips() => {
                self.nest.push(Nest::Keys(self.prefix.len()));
                let key = std::mem::take(&mut self.key);
                self.prefix.extend(key);
                self.tables.insert(self.prefix.join("."), self.line(self.key_at));
            }
            EventKind::ArrayOpen | EventKind::InlineTableOpen => {
                if !self.skips() {
                    self.entry(Value::Other("an array"));
                }
                self.nest.push(Nest::Skipped);
            }
            EventKind::ArrayClose | EventKind::InlineTableClose => {
                if let Some(Nest::Keys(parts)) = self.nest.pop() {
                    self.prefix.truncate(parts);
                }
            }
            // A key without a value is reported already.
            EventKind::Newline if self.nest.is_empty() => self.key.clear(),
            _ => {}
        }
    }

    fn skips(&self) -> bool {
        matches!(self.nest.last(), Some(Nest::Skipped))
    }

    fn line(&self, at: usize) -> usize {
        self.lines.partition_point(|end| *end < at) + 1
    }

    /// The head of a table.
    fn table(&mut self) {
        self.prefix = std::mem::take(&mut self.key);
        self.element = None;
        let (path, line) = (self.prefix.join("."), self.line(self.key_at));
        if let Some(before) = self.tables.insert(path.clone(), line) {
            self.twice(line, &format!("[{path}]"), before);
        }
        self.document.entries.push(Entry { path, element: None, line, value: Value::Table });
    }

    fn array_of_tables(&mut self) {
        self.prefix = std::mem::take(&mut self.key);
        let (path, line) = (self.prefix.join("."), self.line(self.key_at));
        let elements = self.elements.entry(path.clone()).or_default();
        self.element = Some(*elements);
        *elements += 1;
        self.document.entries.push(Entry { path, element: self.element, line, value: Value::Element });
    }

    /// One part of a key with dots.
    fn part(&mut self, event: &Event, errors: &mut dyn ErrorSink) {
        if self.key.is_empty() {
            self.key_at = event.span().start();
        }
        let mut part = String::new();
        if let Some(raw) = self.source.get(event) {
            raw.decode_key(&mut part, errors);
        }
        if self.key.len() == PARTS_MAX {
            return;
        }
        let bare = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        let plain = !part.is_empty() && part.bytes().all(bare);
        self.key.push(if plain { part } else { format!("{part:?}") });
    }

    fn scalar(&mut self, event: &Event, errors: &mut dyn ErrorSink) {
        let mut text = String::new();
        let Some(raw) = self.source.get(event) else { return };
        let value = match raw.decode_scalar(&mut text, errors) {
            ScalarKind::String => Value::Text(text),
            ScalarKind::Boolean(value) => Value::Boolean(value),
            ScalarKind::Integer(IntegerRadix::Dec) | ScalarKind::Float => Value::Number(text),
            ScalarKind::Integer(_) => Value::Other("a number that is not decimal"),
            ScalarKind::DateTime => Value::Other("a date or time"),
        };
        self.entry(value);
    }

    /// The key that was read last has this value.
    fn entry(&mut self, value: Value) {
        let key = std::mem::take(&mut self.key);
        let Some((last, before)) = key.split_last() else { return };
        let line = self.line(self.key_at);
        let mut path = self.prefix.clone();
        for part in before {
            path.push(part.clone());
            // A table that dots have made has no head of its own.
            self.tables.entry(path.join(".")).or_insert(line);
        }
        path.push(last.clone());
        let path = path.join(".");
        if let Some(before) = self.seen.insert((path.clone(), self.element), line) {
            self.twice(line, &path, before);
        }
        self.document.entries.push(Entry { path, element: self.element, line, value });
    }

    fn twice(&mut self, line: usize, what: &str, before: usize) {
        let found = format!("{what} again; it is in line {before} already");
        self.document.faults.push(Fault { line, expected: "every key once".to_owned(), found });
    }

    fn finish(mut self, errors: &[ParseError]) -> Document {
        for error in errors {
            let start = |span: Span| span.start();
            let at = error.unexpected().or(error.context()).map_or(0, start);
            let line = self.line(at);
            let found = error.description().to_owned();
            self.document.faults.push(Fault { line, expected: "TOML".to_owned(), found });
        }
        self.document.faults.sort_by_key(|fault| fault.line);
        self.document
    }
}

#[cfg(test)]
mod tests;
