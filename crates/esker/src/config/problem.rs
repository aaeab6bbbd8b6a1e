//! What is wrong with settings: where, what was expected, what was found.

use std::{fmt, path::PathBuf};

use serde::Serialize;

/// The longest piece of a value that is shown.
const FOUND_CHARS_MAX: usize = 80;

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(crate) enum Source {
    /// Nobody says anything.
    Default,
    /// The file.
    File {
        /// Its path.
        file: PathBuf,
        /// The line, from 1; 0 speaks of the whole file.
        line: usize,
    },
    /// A variable of the environment.
    Environment {
        /// Its name.
        variable: String,
    },
    /// The command line.
    Flag,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Default => f.write_str("default"),
            Source::File { file, line: 0 } => write!(f, "{}", file.display()),
            Source::File { file, line } => write!(f, "{}:{line}", file.display()),
            Source::Environment { variable } => write!(f, "environment {variable}"),
            Source::Flag => f.write_str("command line"),
        }
    }
}

/// Something that cannot be a setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Problem {
    /// Where.
    pub(crate) source: Source,
    /// The key, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
    pub(crate) expected: String,
    pub(crate) found: String,
    /// The known key that was meant, most likely.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) nearest: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.source)?;
        if let Some(key) = &self.key {
            write!(f, "{key}: ")?;
        }
        write!(f, "expected {}, found {}", self.expected, self.found)?;
        match &self.nearest {
            Some(nearest) => write!(f, "; did you mean {nearest}?"),
            None => Ok(()),
        }
    }
}

/// A piece of a file or of the environment, made fit for a message.
pub(super) fn quoted(text: &str) -> String {
    let mut short: String = text.chars().take(FOUND_CHARS_MAX).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("{short:?}")
}
