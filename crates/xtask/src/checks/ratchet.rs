//! Sizes: files of 400 lines and functions of 70, tests left out. What is larger stands in a list with its
//! present size, and may only shrink.

use std::collections::BTreeMap;

use crate::house::{Finding, House};

const LIST: &str = "crates/xtask/ratchet.txt";

/// A unit of code that has a size.
struct Rule {
    word: &'static str,
    lines_max: usize,
    /// The most that the list may allow.
    listed_max: usize,
}

const FILE: Rule = Rule { word: "file", lines_max: 400, listed_max: 600 };
const FUNCTION: Rule = Rule { word: "function", lines_max: 70, listed_max: 100 };

/// Path, or path and function → its lines and where it begins.
type Sizes = BTreeMap<String, (usize, usize)>;

pub(super) fn check(house: &House) -> Vec<Finding> {
    let (files, functions) = measure(house);
    let mut findings = Vec::new();
    let mut listed = Listed::parse(house.text(LIST).unwrap_or_default(), &mut findings);
    for (rule, sizes) in [(&FILE, &files), (&FUNCTION, &functions)] {
        for (name, (lines, begins)) in sizes {
            let entry = listed.take(rule.word, name);
            findings.extend(judge(rule, (name.as_str(), *lines, *begins), entry));
        }
    }
    for ((word, name), entry) in listed.entries {
        findings.push(Finding::new(
            LIST,
            entry.line,
            format!("there is no {word} {name}: take it off the list"),
        ));
    }
    findings
}

fn measure(house: &House) -> (Sizes, Sizes) {
    let (mut files, mut functions) = (Sizes::new(), Sizes::new());
    for (file, scan) in house.production() {
        files.insert(file.path.clone(), (scan.lines, 0));
        for function in scan.functions() {
            let key = format!("{}::{}", file.path, function.name);
            let largest = functions.entry(key).or_default();
            *largest = (*largest).max((function.lines, function.line));
        }
    }
    (files, functions)
}

fn judge(rule: &Rule, (name, lines, begins): (&str, usize, usize), entry: Option<Entry>) -> Option<Finding> {
    let Rule { word, lines_max, listed_max } = rule;
    let path = name.split("::").next().unwrap_or(name);
    let over = |ceiling: usize| {
        Finding::new(path, begins, format!("{word} {name} has {lines} lines, at most {ceiling}: split it"))
    };
    let list = |line: usize, message: String| Some(Finding::new(LIST, line, message));
    match entry {
        None => (lines > *lines_max).then(|| over(*lines_max)),
        Some(Entry { line, .. }) if lines <= *lines_max => {
            list(line, format!("{word} {name} has {lines} lines: take it off the list"))
        }
        Some(Entry { line, ceiling }) if ceiling > *listed_max => {
            list(line, format!("{word} {name}: a ceiling of {ceiling}, at most {listed_max}"))
        }
        Some(Entry { ceiling, .. }) if lines > ceiling => Some(over(ceiling)),
        Some(Entry { line, ceiling }) if lines < ceiling => {
            list(line, format!("{word} {name} has {lines} lines: lower its ceiling of {ceiling}"))
        }
        Some(_) => None,
    }
}

struct Entry {
    line: usize,
    ceiling: usize,
}

struct Listed {
    entries: BTreeMap<(String, String), Entry>,
}

impl Listed {
    fn parse(text: &str, findings: &mut Vec<Finding>) -> Self {
        let mut entries = BTreeMap::new();
        for (line, content) in text.lines().enumerate().map(|(at, content)| (at + 1, content.trim())) {
            if content.is_empty() || content.starts_with('#') {
                continue;
            }
            let parts: Vec<&str> = content.split_whitespace().collect();
            match (parts.as_slice(), parts.last().and_then(|last| last.parse().ok())) {
                ([word, name, _], Some(ceiling)) if [FILE.word, FUNCTION.word].contains(word) => {
                    entries.insert((word.to_string(), name.to_string()), Entry { line, ceiling });
                }
                _ => findings.push(Finding::new(LIST, line, "expected: file|function NAME CEILING")),
            }
        }
        Self { entries }
    }

    fn take(&mut self, word: &str, name: &str) -> Option<Entry> {
        self.entries.remove(&(word.to_string(), name.to_string()))
    }
}

#[cfg(test)]
mod tests;
