//! What of a source belongs to tests.

use super::{
    Scan, SourceFile,
    functions::{body, closing},
    lexer::Token,
};

/// Takes out items behind `#[cfg(test)]` and `#[test]`.
pub(super) fn without_tests(scan: Scan<'_>) -> Scan<'_> {
    let tokens = &scan.tokens;
    let (mut kept, mut lines) = (Vec::new(), scan.lines);
    let mut at = 0;
    while at < tokens.len() {
        if test_attribute(&tokens[at..]) {
            let last = item_end(tokens, at);
            lines -= tokens[last].line - tokens[at].line + 1;
            at = last + 1;
        } else {
            kept.push(tokens[at]);
            at += 1;
        }
    }
    Scan { tokens: kept, lines }
}

/// The modules that a file declares for tests only: their paths without `.rs`.
pub(crate) fn tests_of(file: &SourceFile) -> Vec<String> {
    let scan = Scan::all(&file.text);
    let tokens = &scan.tokens;
    let mut modules = Vec::new();
    for at in 0..tokens.len() {
        if !test_attribute(&tokens[at..]) {
            continue;
        }
        let end = item_end(tokens, at);
        let declared =
            tokens[at..=end].windows(3).find(|three| three[0].is_word("mod") && three[2].is_mark(";"));
        if let Some(three) = declared {
            modules.push(format!("{}/{}", module_directory(&file.path), three[1].text));
        }
    }
    modules
}

/// Where the modules of a file lie.
fn module_directory(path: &str) -> &str {
    let stem = path.trim_end_matches(".rs");
    match stem.rsplit_once('/') {
        Some((directory, "lib" | "main" | "mod")) => directory,
        _ => stem,
    }
}

fn test_attribute(tokens: &[Token<'_>]) -> bool {
    let starts = |wanted: &[&str]| {
        tokens.len() >= wanted.len() && wanted.iter().zip(tokens).all(|(text, token)| *text == token.text)
    };
    starts(&["#", "[", "cfg", "(", "test", ")", "]"]) || starts(&["#", "[", "test", "]"])
}

/// The last token of the item whose attributes begin at `from`.
fn item_end(tokens: &[Token<'_>], from: usize) -> usize {
    let last = tokens.len() - 1;
    match body(tokens, from) {
        Some(open) => closing(tokens, open).unwrap_or(last),
        None => semicolon(tokens, from).unwrap_or(last),
    }
}

/// The semicolon outside parentheses and brackets that ends the item at `from`.
fn semicolon(tokens: &[Token<'_>], from: usize) -> Option<usize> {
    let mut depth = 0_usize;
    tokens.iter().enumerate().skip(from).find_map(|(at, token)| {
        match token.text {
            "(" | "[" => depth += 1,
            ")" | "]" => depth = depth.saturating_sub(1),
            _ => {}
        }
        (depth == 0 && token.is_mark(";")).then_some(at)
    })
}

#[cfg(test)]
mod tests;
