//! Text → tokens. Knows just enough of Rust not to take a string or a comment for code.

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A name or keyword, a raw one without its `r#`.
    Word,
    /// A string, character or number.
    Literal,
    /// A lifetime or label.
    Lifetime,
    /// One character of punctuation.
    Mark,
}

/// A piece of code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token<'a> {
    /// What it is.
    pub(crate) kind: Kind,
    /// Its text.
    pub(crate) text: &'a str,
    /// The line it begins on, from 1.
    pub(crate) line: usize,
}

impl Token<'_> {
    /// Whether it is this word.
    pub(crate) fn is_word(&self, word: &str) -> bool {
        self.kind == Kind::Word && self.text == word
    }

    /// Whether it is this punctuation.
    pub(crate) fn is_mark(&self, mark: &str) -> bool {
        self.kind == Kind::Mark && self.text == mark
    }
}

/// Splits a source text, leaving out comments.
pub(crate) fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut lexer = Lexer { text, at: 0, line: 1 };
    let mut tokens = Vec::new();
    while let Some(token) = lexer.next() {
        tokens.push(token);
    }
    tokens
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    line: usize,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn next(&mut self) -> Option<Token<'a>> {
        self.skip_space_and_comments();
        let rest = self.rest();
        let first = rest.chars().next()?;
        let (kind, bytes) = if let Some(bytes) = string(rest) {
            (Kind::Literal, bytes)
        } else if first == '\'' {
            quote(rest)
        } else if first.is_ascii_digit() {
            (Kind::Literal, number(rest))
        } else if word_start(first) {
            (Kind::Word, word(rest))
        } else {
            (Kind::Mark, first.len_utf8())
        };
        let text = &rest[..bytes];
        let token = Token {
            kind,
            text: text.strip_prefix("r#").filter(|_| kind == Kind::Word).unwrap_or(text),
            line: self.line,
        };
        self.advance(bytes);
        Some(token)
    }

    fn advance(&mut self, bytes: usize) {
        self.line += self.rest()[..bytes].matches('\n').count();
        self.at += bytes;
    }

    fn skip_space_and_comments(&mut self) {
        loop {
            let rest = self.rest();
            let bytes = if rest.starts_with("//") {
                rest.find('\n').unwrap_or(rest.len())
            } else if rest.starts_with("/*") {
                block_comment(rest)
            } else {
                rest.len() - rest.trim_start().len()
            };
            if bytes == 0 {
                return;
            }
            self.advance(bytes);
        }
    }
}

/// The length of a block comment; they nest.
fn block_comment(rest: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// The length of a string with its prefix, quotes and hashes, if one begins here.
fn string(rest: &str) -> Option<usize> {
    let prefix = ["br", "cr", "r", "b", "c", ""].into_iter().find(|prefix| {
        let after = rest.strip_prefix(prefix).map(|rest| rest.trim_start_matches('#'));
        after.is_some_and(|after| after.starts_with('"'))
    })?;
    let hashes = rest[prefix.len()..].find('"').expect("the prefix was found before a quote");
    let raw = prefix.ends_with('r');
    if hashes > 0 && !raw {
        return None;
    }
    let open = prefix.len() + hashes + 1;
    if raw {
        let close = format!("\"{}", "#".repeat(hashes));
        return Some(rest[open..].find(&close).map_or(rest.len(), |at| open + at + close.len()));
    }
    Some(escaped(rest, open, '"'))
}

/// The end of a literal with escapes whose contents begin at `open`.
fn escaped(rest: &str, open: usize, close: char) -> usize {
    let mut characters = rest[open..].char_indices();
    while let Some((at, character)) = characters.next() {
        if character == '\\' {
            characters.next();
        } else if character == close {
            return open + at + character.len_utf8();
        }
    }
    rest.len()
}

/// A character or a lifetime.
fn quote(rest: &str) -> (Kind, usize) {
    let mut after = rest[1..].chars();
    match (after.next(), after.next()) {
        (Some('\\'), _) => (Kind::Literal, escaped(rest, 1, '\'')),
        (Some(character), Some('\'')) => (Kind::Literal, character.len_utf8() + 2),
        _ => (Kind::Lifetime, 1 + word(&rest[1..])),
    }
}

fn number(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let fraction = bytes[at] == b'.' && bytes.get(at + 1).is_some_and(u8::is_ascii_digit);
        if !(bytes[at].is_ascii_alphanumeric() || bytes[at] == b'_' || fraction) {
            break;
        }
        at += 1;
    }
    at
}

fn word_start(character: char) -> bool {
    character == '_' || character.is_alphabetic()
}

fn word(rest: &str) -> usize {
    let raw = if rest.starts_with("r#") { 2 } else { 0 };
    let end = rest[raw..].find(|character: char| !(character == '_' || character.is_alphanumeric()));
    end.map_or(rest.len(), |end| raw + end)
}

#[cfg(test)]
mod tests;
