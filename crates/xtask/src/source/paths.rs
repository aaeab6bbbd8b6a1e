//! Tokens → the paths they name: `use a::{b, c::d}` names `a::b` and `a::c::d`.

use super::lexer::{Kind, Token};

/// A path somewhere in the code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Path {
    /// Its parts joined with `::`; a glob ends with `*`.
    pub(crate) text: String,
    /// Its line.
    pub(crate) line: usize,
    /// Whether a `use` names it.
    pub(crate) import: bool,
}

impl Path {
    /// Whether it names `target` or something inside it, or imports a module through which `target` can be
    /// reached unseen.
    pub(crate) fn reaches(&self, target: &str) -> bool {
        let path = self.text.trim_end_matches("::*");
        within(path, target) || (self.import && within(target, path))
    }
}

fn within(path: &str, module: &str) -> bool {
    path.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// All paths, single words among them only where a `use` names them.
pub(super) fn paths(tokens: &[Token<'_>]) -> Vec<Path> {
    let mut reader = Reader { tokens, at: 0, found: Vec::new() };
    while reader.at < tokens.len() {
        let token = tokens[reader.at];
        if token.is_word("use") {
            reader.at += 1;
            reader.tree("");
        } else if token.kind == Kind::Word {
            reader.expression();
        } else {
            reader.at += 1;
        }
    }
    reader.found
}

struct Reader<'a> {
    tokens: &'a [Token<'a>],
    at: usize,
    found: Vec<Path>,
}

impl Reader<'_> {
    fn colons(&self) -> bool {
        let mark = |at: usize| self.tokens.get(at).is_some_and(|token| token.is_mark(":"));
        mark(self.at) && mark(self.at + 1)
    }

    fn mark(&self, mark: &str) -> bool {
        self.tokens.get(self.at).is_some_and(|token| token.is_mark(mark))
    }

    fn expression(&mut self) {
        let first = self.tokens[self.at];
        let mut text = first.text.to_string();
        self.at += 1;
        while self.colons() && self.tokens.get(self.at + 2).is_some_and(|token| token.kind == Kind::Word) {
            text = format!("{text}::{}", self.tokens[self.at + 2].text);
            self.at += 3;
        }
        if text.contains("::") {
            self.found.push(Path { text, line: first.line, import: false });
        }
    }

    /// One branch of a `use`; `prefix` ends with `::` or is empty.
    fn tree(&mut self, prefix: &str) {
        let mut path = prefix.to_string();
        if self.colons() {
            self.at += 2;
        }
        while let Some(token) = self.tokens.get(self.at).copied() {
            if token.is_mark("{") {
                self.at += 1;
                return self.branches(&path);
            }
            let part = token.text;
            self.at += 1;
            if self.colons() {
                path = format!("{path}{part}::");
                self.at += 2;
                continue;
            }
            let text = if part == "self" {
                path.trim_end_matches("::").to_string()
            } else {
                format!("{path}{part}")
            };
            self.found.push(Path { text, line: token.line, import: true });
            if self.tokens.get(self.at).is_some_and(|token| token.is_word("as")) {
                self.at += 2;
            }
            return;
        }
    }

    fn branches(&mut self, prefix: &str) {
        while self.at < self.tokens.len() && !self.mark("}") {
            self.tree(prefix);
            if self.mark(",") {
                self.at += 1;
            }
        }
        self.at += 1;
    }
}

#[cfg(test)]
mod tests;
