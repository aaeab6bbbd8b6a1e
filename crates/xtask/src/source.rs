//! Rust sources without a compiler: tokens, paths, functions, and what belongs to tests.

mod functions;
mod lexer;
mod paths;
mod production;

pub(crate) use functions::Function;
pub(crate) use lexer::{Kind, Token};
pub(crate) use paths::Path;
pub(crate) use production::tests_of;

/// A file of the repository.
pub(crate) struct SourceFile {
    /// The path from the root, with `/` between parts.
    pub(crate) path: String,
    /// Its contents; empty where they are not text.
    pub(crate) text: String,
}

impl SourceFile {
    /// Whether it holds Rust.
    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }
}

/// The tokens of one file.
pub(crate) struct Scan<'a> {
    /// The tokens, comments left out.
    pub(crate) tokens: Vec<Token<'a>>,
    /// Lines of the file, those of tests inside it left out.
    pub(crate) lines: usize,
}

impl<'a> Scan<'a> {
    /// All of a file.
    pub(crate) fn all(text: &'a str) -> Self {
        Self { tokens: lexer::tokens(text), lines: text.lines().count() }
    }

    /// A file without its `#[cfg(test)]` and `#[test]` items.
    pub(crate) fn production(text: &'a str) -> Self {
        production::without_tests(Self::all(text))
    }

    /// The paths it names, imports spelled out.
    pub(crate) fn paths(&self) -> Vec<Path> {
        paths::paths(&self.tokens)
    }

    /// Its functions with their lengths.
    pub(crate) fn functions(&self) -> Vec<Function> {
        functions::functions(&self.tokens)
    }
}
