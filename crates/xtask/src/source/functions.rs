//! Tokens → functions with their lengths.

use super::lexer::{Kind, Token};

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function {
    /// Its name.
    pub(crate) name: String,
    /// The line of its `fn`.
    pub(crate) line: usize,
    /// Lines from its `fn` to its closing brace.
    pub(crate) lines: usize,
}

/// All functions, nested ones too.
pub(super) fn functions(tokens: &[Token<'_>]) -> Vec<Function> {
    let mut found = Vec::new();
    for (at, pair) in tokens.windows(2).enumerate() {
        // A `fn` without a name is a pointer's type.
        if !pair[0].is_word("fn") || pair[1].kind != Kind::Word {
            continue;
        }
        if let Some(end) = body(tokens, at).and_then(|open| closing(tokens, open)) {
            let (line, name) = (pair[0].line, pair[1].text.to_string());
            found.push(Function { name, line, lines: tokens[end].line - line + 1 });
        }
    }
    found
}

/// The brace that opens the body of the item at `from`; none when it ends with a semicolon.
pub(super) fn body(tokens: &[Token<'_>], from: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(from) {
        match token.text {
            "(" | "[" if token.kind == Kind::Mark => depth += 1,
            ")" | "]" if token.kind == Kind::Mark => depth = depth.saturating_sub(1),
            "{" if depth == 0 && token.kind == Kind::Mark => return Some(at),
            ";" if depth == 0 && token.kind == Kind::Mark => return None,
            _ => {}
        }
    }
    None
}

/// The brace that closes the one at `open`.
pub(super) fn closing(tokens: &[Token<'_>], open: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        if token.is_mark("{") {
            depth += 1;
        } else if token.is_mark("}") {
            depth -= 1;
            if depth == 0 {
                return Some(at);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests;
